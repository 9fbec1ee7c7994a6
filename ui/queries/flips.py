"""What differs between what stands and what stood before, or stands in another run over the same images."""

import pandas as pd

from cleaner.stages import title
from ui.access import Look
from ui.queries.samples import Samples

_BOTH = """
FROM kept.samples AS now JOIN (SELECT path, action, new_label FROM read_parquet(?)) AS was USING (path)
"""
_DIFFERS = "(was.action != now.action OR was.new_label IS DISTINCT FROM now.new_label)"


def versions(look: Look) -> dict[str, str]:
    """The states that a run went through, the end and then the oldest first: in words, and the file of each."""
    found = {"the end": look.names.standing} if look.names.standing else {}
    for judged in look.names.rounds:
        if judged.before and judged.before not in found.values():
            found[f"before {title(judged.stage)}, round {judged.round}"] = judged.before
    return {words: str(look.store.table(name)) for words, name in found.items()}


def counts(samples: Samples, was: str) -> pd.DataFrame:
    """How many images the file `was` and this run have in common, by the action that stood and stands: `was`, `now`,
    `images`, and `changed`, of how many of them the action or the new label is another."""
    question = f"""SELECT was.action AS was, now.action AS now, count(*) AS images,
        count(*) FILTER ({_DIFFERS}) AS changed {_BOTH} GROUP BY ALL ORDER BY ALL"""
    return samples.ask(question, [was]).to_pandas()


def flips(samples: Samples, was: str, pair: tuple[str, str] | None, *, start: int, count: int) -> list[int]:
    """The rows of images that changed, those believed least first: all, or those of one `pair` of actions."""
    which, parameters = (" AND was.action = ? AND now.action = ?", [*pair]) if pair else ("", [])
    order = f"ORDER BY now.score ASC NULLS LAST, now.row LIMIT {int(count)} OFFSET {int(start)}"
    question = f"SELECT now.row {_BOTH} WHERE {_DIFFERS}{which} {order}"
    rows: list[int] = samples.ask(question, [was, *parameters])["row"].to_pylist()
    return rows
