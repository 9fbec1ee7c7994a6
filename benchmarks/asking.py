"""What batches promise, and what comes of it: people who know the truth answer three batches.

python -m benchmarks.asking --data shared/data
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.label_noise import SEED, Noisy, cifar, features_of, grocery
from benchmarks.label_rounds import Round, manifest_of, rounds
from cleaner.config import Config
from cleaner.methods.prevalence import prevalence
from cleaner.people import meaning, selection
from cleaner.people.survey import survey
from cleaner.people.worth import Worth, worth
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, Action, Answer, HowAsked, array

BATCHES = 3
MOST = 300
HEAD = """# What batches promise, and what comes of it

`python -m benchmarks.asking`, 2 cores, features of a default run. People who know the truth answer a first batch and
two later ones (of 300 at most). Of each: images asked about; answers that were to change something, and that did; which
part of what is kept is wrong before and after it, as the models see it and in truth, in %. Last, how many labels are
wrong, in %: by the survey after all answers, and in truth.

| set | first | changes | wrong | second | changes | wrong | third | changes | wrong | survey | truth |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def said_of(data: Noisy, rows: np.ndarray) -> pa.Table:
    """ANSWER_LOG: the true answers on these rows."""
    right = (data.given == data.true)[rows]
    names = [str(row) for row in rows.tolist()]
    true, given = ([f"{labels[row]:05d}" for row in rows.tolist()] for labels in (data.true, data.given))
    known = {"sample_id": names, "content_hash": names, "label": given, "by": ["truth"] * len(rows)}
    known["answer"] = [Answer.RIGHT.value if yes else Answer.ANOTHER.value for yes in right]
    known["new_label"] = [None if yes else label for yes, label in zip(right, true, strict=True)]
    known |= {"asked": [HowAsked.ONCE.value] * len(rows), "at": ["2026"] * len(rows)}
    return pa.table([known.get(part.name, pa.nulls(len(rows), part.type)) for part in ANSWER_LOG], ANSWER_LOG)


def batches(data: Noisy) -> Iterator[str]:
    """The cells of a line."""
    manifest, none = manifest_of(data.given), image_candidates()
    asked, worths = np.zeros(0, np.int64), list[Worth]()
    before: tuple[pa.Table, ...] = ()
    drawn: tuple[str, ...] = ()
    for number in range(BATCHES):
        said = said_of(data, asked)
        *_, last = rounds(data.features, data.given, policy="belief", seed=SEED, said=said)
        people, standing = meaning.verdicts(manifest, said), standing_of(manifest, said, last)
        known = last.before, last.evidence, said, last.fit, last.first
        gains = selection.gains(manifest, standing, *known[1:], junk_of(manifest), people, policy="belief")
        factors = selection.factors([each.by_why for each in worths])
        settings = {"count": MOST if number else Config().review.first, "factors": factors}
        least = Config().review.least_gain
        strata = selection.strata(manifest, gains, none, *before, least=least, drawn=drawn, **settings)
        places, at_random = selection.chosen(gains, strata, first=not before, seed=SEED, **settings)
        rows = array(gains, "row")[places]
        batch = gains.take(pa.array(places)).append_column("drawn", pa.array(at_random))
        batch = batch.append_column("sample_id", pa.array([str(row) for row in rows.tolist()], pa.string()))
        batch = batch.append_column("known", pa.nulls(len(rows), pa.string()))
        promise = selection.promise(gains, batch, factors=factors).to_pylist()[0]
        found = worth(batch, said_of(data, rows).to_pylist())
        assert found is not None
        kept = array(standing, "action") == Action.KEEP
        wrong = kept & data.wrong & ~np.isin(np.arange(len(kept)), asked)
        left = wrong & ~np.isin(np.arange(len(kept)), rows)
        thought = f"{100 * promise['before']:.1f} to {100 * promise['after']:.1f}"
        true = f"{100 * wrong.sum() / kept.sum():.1f} to {100 * left.sum() / kept.sum():.1f}"
        yield f"{len(rows)} | {promise['changes']:.0f}, {found.changes} | {thought}, {true}"
        asked, worths, before = np.concatenate([asked, rows]), [*worths, found], (manifest, strata)
        drawn = tuple(sorted({*drawn, *(str(row) for row in rows[at_random].tolist())}))
    said = said_of(data, asked)
    told = prevalence(survey(manifest, standing, last.evidence, said, *before, drawn=drawn))
    assert told is not None
    yield f"{100 * told.estimate:.1f} ({100 * told.low:.1f} to {100 * told.high:.1f})"
    yield f"{100 * data.wrong.mean():.1f}"


def standing_of(manifest: pa.Table, said: pa.Table, last: Round) -> pa.Table:
    people = meaning.verdicts(manifest, said)
    return fold(manifest, [last.verdicts, people] if len(people) else [last.verdicts])


def junk_of(manifest: pa.Table) -> pa.Table:
    """None of these images is junk."""
    n = len(manifest)
    return pa.table({"row": np.arange(n, dtype=np.int32), "prob": np.zeros(n), "marked": np.zeros(n, bool)})


def image_candidates() -> pa.Table:
    return pa.table({"row": pa.array([], pa.int32()), "asked_because": pa.array([], pa.string())})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    data = parser.parse_args().data
    print(HEAD, flush=True)
    for source, file, most in ((cifar, "cifar10n_train", 5_000), (grocery, "grocery", None)):
        features = features_of(data / f"{file}.parquet", most)
        for noisy in source(data, features, SEED):
            if "20,000" not in noisy.name:
                print(f"| {noisy.name} | {' | '.join(batches(noisy))} |", flush=True)


if __name__ == "__main__":
    main()
