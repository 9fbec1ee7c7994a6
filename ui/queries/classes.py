"""The classes, and which of them are taken for which others."""

import numpy as np
import pandas as pd

from cleaner.methods.confusion import Confusion
from ui.queries.samples import Samples

_CLASSES = """
WITH gained AS (SELECT new_label AS label, count(*) AS gained FROM kept.samples WHERE action = 'relabel' GROUP BY 1)
SELECT label AS class, count(*) AS images, avg(1 - score) AS "wrong, estimated",
    count(*) FILTER (action = 'drop') AS dropped, count(*) FILTER (action = 'relabel') AS "relabelled away",
    any_value(coalesce(gained, 0)) AS gained,
    count(*) FILTER (action = 'keep') + any_value(coalesce(gained, 0)) AS "left to train on",
    count(reviewed.row) AS "reviewed", avg((given_rank = 0)::INTEGER) AS "models agree"
FROM kept.samples LEFT JOIN gained USING (label) LEFT JOIN kept.reviewed USING (row)
WHERE label IS NOT NULL GROUP BY label ORDER BY "wrong, estimated" DESC NULLS LAST, label
"""
_PAIRS = """
SELECT label AS given, guess AS "looks like", count(*) AS images, count(*) FILTER (action != 'keep') AS "not kept"
FROM kept.samples WHERE guess IS NOT NULL AND label IS NOT NULL GROUP BY 1, 2
"""


def classes(samples: Samples) -> pd.DataFrame:
    """A row a class, that with the most wrong labels first."""
    return samples.ask(_CLASSES).to_pandas()


def confusion_of(samples: Samples) -> Confusion:
    """Of all images that models judged."""
    pairs = samples.ask(_PAIRS).to_pandas()
    names = pd.Index(np.array(samples.classes, object))
    given, like = (names.get_indexer(pairs[column]) for column in ("given", "looks like"))
    return Confusion.of(samples.classes, given, like, pairs["images"].to_numpy())
