"""Are labels as right as they are believed? A diagram for each set of `benchmarks.label_noise`: the share of right
labels by the score of the last round, without answers of people.

    python -m benchmarks.reliability [--data DIR]    # writes benchmarks/reliability.svg

DIR is that of `benchmarks.label_noise`.
"""

import argparse
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from benchmarks.label_noise import SEED, Noisy, cifar, features_of, grocery
from benchmarks.label_rounds import rounds
from cleaner.run.files import write_bytes
from cleaner.tables import array
from cleaner.words import TONES

OUT = Path(__file__).with_suffix(".svg")
_CUTS = np.linspace(0.1, 0.9, 9)
_FEWEST = 20
_COLUMNS, _SIDE = 4, 170


def ranges(data: Noisy) -> pd.DataFrame:
    """Of each tenth of the scores in which there are enough samples: how many, their mean score, and the share of right
    labels among them with two standard errors."""
    *_, last = rounds(data.features, data.given, policy="belief", seed=SEED)
    score = array(last.verdicts, "score").astype(float)
    table = pd.DataFrame({"range": np.digitize(score, _CUTS), "score": score, "right": ~data.wrong})
    found = table.groupby("range").agg(samples=("score", "size"), believed=("score", "mean"), right=("right", "mean"))
    found = found[found.samples >= _FEWEST]
    spread = 2 * np.sqrt(found.right * (1 - found.right) / found.samples)
    bounds = {"low": (found.right - spread).clip(0, 1), "high": (found.right + spread).clip(0, 1)}
    return found.assign(set=data.name, **bounds)


def diagram(found: pd.DataFrame) -> alt.FacetChart:
    """A panel for each set: on the line is what is as right as it is believed."""
    scale = alt.Scale(domain=[0, 1])
    told = alt.Chart(found).encode(x=alt.X("believed:Q", title="score", scale=scale))
    points = told.mark_circle(color=TONES["kept"], opacity=1).encode(
        y=alt.Y("right:Q", title="right labels", scale=scale),
        size=alt.Size("samples:Q", scale=alt.Scale(type="log", range=[20, 200]), legend=None),
    )
    bars = told.mark_rule(color=TONES["kept"]).encode(y="low:Q", y2="high:Q")
    line = alt.Chart(found).mark_line(color="#9aa3b2", strokeDash=[4, 4], strokeWidth=1)
    line = line.encode(x="believed:Q", y="believed:Q")
    panel = (line + bars + points).properties(width=_SIDE, height=_SIDE)
    return panel.facet(alt.Facet("set:N", title=None, sort=None), columns=_COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    data = parser.parse_args().data
    found = []
    for source, file, most in ((cifar, "cifar10n_train", 20_000), (grocery, "grocery", None)):
        for noisy in source(data, features_of(data / f"{file}.parquet", most), SEED):
            found.append(ranges(noisy))
            print(f"{noisy.name}: {found[-1].samples.to_list()}", flush=True)
    write_bytes(OUT, vl_convert.vegalite_to_svg(diagram(pd.concat(found).reset_index()).to_json()).encode())


if __name__ == "__main__":
    main()
