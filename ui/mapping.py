"""Draws the map of the run in a directory: `python -m ui.mapping DIR`, which the page starts."""

import sys
from pathlib import Path

from cleaner.evidence.map import map_step
from cleaner.run.steps import Step, perform
from ui.access import Look, look_at


def step_of(look: Look) -> Step:
    """What draws the map of what stands now."""
    return map_step(look.names.manifest, look.names.features, seed=look.origin.config.seed)


if __name__ == "__main__":
    run = look_at(Path(sys.argv[1]))
    perform(run.store, step_of(run))
