"""Who counts in the survey of wrong labels, and for how many."""

import numpy as np
import pyarrow as pa
import pytest

from cleaner.people.review import strata
from cleaner.people.survey import survey, surveyed
from cleaner.run.ledger import fold
from cleaner.stages.prevalence import draw
from cleaner.tables import SAID, VERDICTS, array

LABELS = ("apple", "pear", "plum", "fig")


class Surveyed:
    """A data set of 400 images, its last 40 copies of the 40 before, of which every tenth has a wrong label."""

    def __init__(self, judged, images=400, copies=40) -> None:
        rows = np.arange(images)
        self.wrong = rows % 10 == 0
        content = [f"content-{row if row < images - copies else row - copies}" for row in rows]
        label = np.array(LABELS)[rows % 4]
        columns = {"sample_id": [f"s{row}" for row in rows], "content_hash": content, "label": label.tolist()}
        empty = pa.Table.from_pylist([{}] * images, judged.manifest.schema)
        self.manifest = empty
        for name, values in columns.items():
            self.manifest = self.manifest.set_column(self.manifest.column_names.index(name), name, pa.array(values))
        score = pa.array(np.random.default_rng(0).uniform(0.3, 1, images).astype(np.float32))
        standing = fold(self.manifest, [])
        self.standing = standing.set_column(standing.column_names.index("score"), "score", score)
        self.evidence = pa.table({"row": rows.astype(np.int32)})
        self.strata = strata(self.manifest, self.standing, self.evidence, VERDICTS.empty_table(), count=40)
        doubt = array(self.strata, "doubt").astype(float)
        place = draw(array(self.strata, "stratum"), doubt, 40, seed=0)
        self.drawn = array(self.strata, "row")[place]

    def contents(self, rows):
        return tuple(self.manifest.column("content_hash").take(pa.array(rows, pa.int64())).to_pylist())

    def said(self, rows, answer=""):
        known = [
            {
                "content_hash": content,
                "label": LABELS[row % 4],
                "answer": answer or ("another" if self.wrong[row] else "right"),
                "new_label": LABELS[(row + 1) % 4] if self.wrong[row] and not answer else None,
                "by": "ana",
            }
            for row, content in zip(rows, self.contents(rows), strict=True)
        ]
        return pa.Table.from_pylist(known, SAID)

    def survey(self, said, asked=(), manifest=None):
        now = self.manifest if manifest is None else manifest
        tables = now, self.standing.take(pa.array(range(len(now)))), self.evidence, said, self.manifest, self.strata
        return survey(*tables, drawn=self.contents(self.drawn), asked=self.contents(list(asked)))


@pytest.fixture
def data(judged):
    return Surveyed(judged)


def test_one_content_is_one_answer_and_one_label_however_many_copies_there_are(data):
    found = data.survey(data.said(data.drawn))
    assert found.labels == found.sizes.sum() == 360
    assert (found.answers.sum(), found.wrong.sum()) == (len(data.drawn), data.wrong[data.drawn].sum())


def test_what_was_asked_about_for_its_own_sake_leaves_its_stratum(data):
    doubted = [row for row in range(0, 360, 10) if row not in set(data.drawn)]
    found = data.survey(data.said([*data.drawn, *doubted]), asked=doubted)
    assert (found.certain, found.certain_wrong) == (len(doubted), len(doubted))
    assert found.labels == 360 and found.sizes.sum() == 360 - len(doubted)
    assert found.answers.sum() == len(data.drawn)


def test_a_drawn_one_that_is_asked_about_for_its_doubt_too_stands_for_itself(data):
    found = data.survey(data.said(data.drawn), asked=data.drawn[:5])
    assert (found.certain, found.answers.sum()) == (5, len(data.drawn) - 5)


def test_what_people_look_up_by_themselves_after_the_draw_changes_nothing(data):
    looked_up = [row for row in range(0, 360, 10) if row not in set(data.drawn)]
    one, other = data.survey(data.said(data.drawn)), data.survey(data.said([*data.drawn, *looked_up]))
    assert all(np.array_equal(vars(one)[name], vars(other)[name]) for name in vars(one))


def test_junk_has_no_wrong_label_and_who_cannot_tell_leaves_it_open(data):
    junk, unsure, rest = data.drawn[:4], data.drawn[4:7], data.drawn[7:]
    words = [data.said(junk, "junk"), data.said(unsure, "unsure"), data.said(rest)]
    found = data.survey(pa.concat_tables(words))
    assert found.answers.sum() == len(data.drawn) and found.untold.sum() == 3
    assert found.wrong.sum() == data.wrong[rest].sum()


def test_who_has_not_answered_yet_counts_as_not_drawn(data):
    assert data.survey(data.said(data.drawn[:10])).answers.sum() == 10


def test_images_that_came_later_are_a_stratum_of_which_nothing_is_known(data):
    fewer = data.manifest.slice(0, 300)
    before = Surveyed.__new__(Surveyed)
    vars(before).update(vars(data))
    before.manifest, count = fewer, 300
    before.strata = strata(
        fewer, data.standing.slice(0, count), data.evidence.slice(0, count), VERDICTS.empty_table(), count=30
    )
    before.drawn = array(before.strata, "row")[:20]
    found = before.survey(before.said(before.drawn), manifest=data.manifest)
    assert found.labels == 360 and found.sizes[-1] == 60 and found.answers[-1] == 0
    models = pa.table({"noise": [0.1], "low": [0.1], "high": [0.1]})
    tables = models, data.manifest, data.standing, data.evidence, before.said(before.drawn), fewer, before.strata
    (told,) = surveyed(*tables, drawn=before.contents(before.drawn), asked=()).to_pylist()
    assert told["answers"] == 20 and told["high"] > 60 / 360


def test_images_that_are_gone_count_no_more(data):
    found = data.survey(data.said(data.drawn), manifest=data.manifest.slice(0, 200))
    assert found.labels == 200 and found.answers.sum() == (data.drawn < 200).sum()


def test_without_answers_on_drawn_images_it_is_as_the_models_put_it(data):
    models = pa.table({"noise": [0.2], "low": [0.1], "high": [0.3]})
    tables = models, data.manifest, data.standing, data.evidence, data.said(range(50)), data.manifest, data.strata
    (told,) = surveyed(*tables, drawn=(), asked=data.contents(range(50))).to_pylist()
    assert told == {"noise": 0.2, "low": 0.1, "high": 0.3, "answers": 0}
