"""The demo: the main job on the digits, and what it found of the noise that was planted."""

from pathlib import Path

from rich.table import Table

from cleaner.config import Config
from cleaner.demo import SEEDS, measure, write_demo
from cleaner.runners.execute import CleanRequest
from flows.console import console, say

SEED = 0


def demo_request(folder: Path) -> CleanRequest:
    """Write the demo's images into `folder` unless they are there, and say how they are cleaned."""
    images = folder / "images"
    if not (folder / "seeds.csv").exists():
        images = write_demo(folder, seed=SEED)
    return CleanRequest(images, folder / "run", Config.model_validate({"image_noise": {"seeds": folder / "seeds.csv"}}))


def show_findings(folder: Path) -> None:
    """Print what the run in `folder` found, beside what was planted."""
    table = Table("planted", "", "found", "recall", "flagged in error", "precision", box=None, pad_edge=False)
    for kind, (found, planted, wrong) in measure(folder, folder / "run").items():
        recall, precision = _percent(found, planted), _percent(found, found + wrong)
        table.add_row(kind, str(planted), str(found), recall, str(wrong), precision)
    out = console()
    marked = f"{SEEDS} junk images and {SEEDS} others were marked beforehand, as people would"
    say(out, f"{marked}: {folder / 'seeds.csv'}\n")
    out.print(table)
    say(out, f"\nthe clean data set  {folder / 'run' / 'clean.csv'}")
    say(out, f"every verdict       {folder / 'run' / 'verdicts.parquet'}")
    say(out, f"open the report     xdg-open {folder / 'run' / 'report.html'}")
    say(out, f"look around         cleaner ui {folder / 'run'}")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
