"""What each round did."""

import pandas as pd

from cleaner.run.state import Judged
from cleaner.tables import Action
from ui.access import Look
from ui.queries.samples import Samples

_COUNTS = """
SELECT count(*) AS judged, count(*) FILTER (now.action = 'keep') AS kept,
    count(*) FILTER (now.action = 'keep' AND was.action != 'keep') AS "taken back",
    count(*) FILTER (now.action != 'keep' AND was.action = 'keep') AS "pushed out",
    count(*) FILTER (now.action = 'relabel') AS relabelled, count(*) FILTER (now.action = 'drop') AS dropped
FROM read_parquet(?) AS now
LEFT JOIN (SELECT file_row_number AS row, action FROM read_parquet(?, file_row_number = true)) AS was USING (row)
"""
_ACCURACY = "SELECT avg((given_rank = 0)::INTEGER) AS share FROM read_parquet(?)"
_AGREEMENT = """
SELECT avg((now.top_classes[1] = was.top_classes[1])::INTEGER) AS share
FROM read_parquet(?) AS now JOIN read_parquet(?) AS was USING (row)
"""
assert {"keep", "relabel", "drop"} == {action.value for action in Action}


def rounds(look: Look, samples: Samples) -> pd.DataFrame:
    """A row a round in which anything was judged: `stage`, `round`, counts, and, where models judged, `accuracy`, the
    share of given labels that models which had not seen them find likeliest, and `agreement`, the share of images of
    which the models of the round before thought the same, both in [0, 1]."""
    found, last = [], ""
    for judged in look.names.rounds:
        counts = _counts(look, samples, judged)
        if not counts["judged"]:
            continue
        row = {"stage": judged.stage, "round": judged.round, **counts, "accuracy": None, "agreement": None}
        if judged.evidence:
            now = str(look.store.table(judged.evidence))
            row["accuracy"] = samples.ask(_ACCURACY, [now])["share"][0].as_py()
            if last and last != now:
                row["agreement"] = samples.ask(_AGREEMENT, [now, last])["share"][0].as_py()
            last = now
        found.append(row)
    columns = ["stage", "round", "judged", "kept", "taken back", "pushed out", "relabelled", "dropped"]
    return pd.DataFrame(found, columns=[*columns, "accuracy", "agreement"])


def _counts(look: Look, samples: Samples, judged: Judged) -> dict[str, int]:
    before = judged.before or look.names.standing
    files = [str(look.store.table(name)) for name in (judged.verdicts, before)]
    found: dict[str, int] = samples.ask(_COUNTS, files).to_pylist()[0]
    if not judged.before:
        # Before what is judged first everything was kept.
        found |= {"taken back": 0, "pushed out": found["dropped"] + found["relabelled"]}
    return found
