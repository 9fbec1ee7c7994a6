"""Who counts in the survey of wrong labels, and for how many."""

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.surveys import calibrated, half_seen, useless
from cleaner.methods.prevalence import prevalence
from cleaner.people.batch import one_a_file
from cleaner.people.selection import chosen, strata
from cleaner.people.survey import survey, surveyed
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, GAINS, array

NO_CANDIDATES = pa.table({"row": pa.array([], pa.int32()), "asked_because": pa.array([], pa.string())})
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
        self.strata, self.drawn = self.cut(images, 80)

    def cut(self, images, count):
        """The strata of the first so many images, none asked about for its own sake; and the rows that are drawn."""
        manifest = self.manifest.slice(0, images)
        rows = np.flatnonzero(one_a_file(manifest, np.ones(images, bool)))
        doubt = 1 - array(self.standing, "score")[rows]
        columns = {"row": rows.astype(np.int32), "why": ["kept"] * len(rows), "gain": np.zeros(len(rows), np.float32)}
        gains = pa.table({**columns, "doubt": doubt, "spoken": np.zeros(len(rows), bool)}, GAINS)
        settings = {"count": count, "factors": {}}
        found = strata(manifest, gains, NO_CANDIDATES, least=0.2, drawn=(), **settings)
        place, drawn = chosen(gains, found, first=True, seed=0, **settings)
        assert drawn.all()
        return found, rows[place]

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
        return pa.Table.from_pylist(known, ANSWER_LOG)

    def survey(self, said, asked=(), manifest=None):
        """With what was `asked` about for its own sake since."""
        now = self.manifest if manifest is None else manifest
        stratum = array(self.strata, "stratum").copy()
        stratum[np.isin(array(self.strata, "row"), asked)] = -1
        strata = self.strata.set_column(1, "stratum", pa.array(stratum, pa.int8()))
        tables = now, self.standing.take(pa.array(range(len(now)))), self.evidence, said, self.manifest, strata
        return survey(*tables, drawn=self.contents(self.drawn))


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
    before.strata, before.drawn = data.cut(300, 60)
    before.manifest, before.drawn = fewer, before.drawn[:12]
    found = before.survey(before.said(before.drawn), manifest=data.manifest)
    assert found.labels == 360 and found.sizes[-1] == 60 and found.answers[-1] == 0
    models = pa.table({"noise": [0.1], "low": [0.1], "high": [0.1]})
    tables = models, data.manifest, data.standing, data.evidence, before.said(before.drawn), fewer, before.strata
    (told,) = surveyed(*tables, drawn=before.contents(before.drawn)).to_pylist()
    assert told["answers"] == 12 and told["high"] > 60 / 360


def test_images_that_are_gone_count_no_more(data):
    found = data.survey(data.said(data.drawn), manifest=data.manifest.slice(0, 200))
    assert found.labels == 200 and found.answers.sum() == (data.drawn < 200).sum()


def test_without_answers_on_drawn_images_it_is_as_the_models_put_it(data):
    models = pa.table({"noise": [0.2], "low": [0.1], "high": [0.3]})
    tables = models, data.manifest, data.standing, data.evidence, data.said(range(50)), data.manifest, data.strata
    (told,) = surveyed(*tables, drawn=()).to_pylist()
    assert told == {"noise": 0.2, "low": 0.1, "high": 0.3, "answers": 0}


def test_what_was_picked_and_nobody_has_answered_on_may_be_either(data):
    found = data.survey(data.said(data.drawn), asked=[row for row in range(1, 360, 10) if row not in set(data.drawn)])
    assert found.certain == found.certain_untold > 0 and found.certain_wrong == 0


@pytest.mark.parametrize("kind", [calibrated, half_seen, useless], ids=lambda kind: kind.__name__)
def test_the_interval_holds_the_truth_whatever_later_batches_ask_about(judged, kind):
    """After each of three batches, of which later ones ask about what is most likely wrong, among those drawn too."""
    images, held = 1500, np.zeros((60, 3), bool)
    data = Surveyed(judged, images, copies=0)
    for seed in range(len(held)):
        doubt, data.wrong = kind(np.random.default_rng(seed), images, 0.15)
        settings = {"count": 100, "factors": {}}
        spoken, drawn, before = np.zeros(images, bool), np.zeros(0, int), ()
        for number in range(3):
            columns = {"row": np.arange(images, dtype=np.int32), "why": ["kept"] * images, "gain": doubt}
            gains = pa.table({**columns, "doubt": doubt, "spoken": spoken}, GAINS)
            known = data.manifest, gains, NO_CANDIDATES, *before
            found = strata(*known, least=0.2, drawn=data.contents(drawn), **settings)
            asked, at_random = chosen(gains, found, first=not before, seed=seed, **settings)
            spoken[asked], drawn, before = True, np.concatenate([drawn, asked[at_random]]), (data.manifest, found)
            tables = data.manifest, data.standing, data.evidence, data.said(np.flatnonzero(spoken)), *before
            told = prevalence(survey(*tables, drawn=data.contents(drawn)))
            held[seed, number] = told.low <= data.wrong.mean() <= told.high
    assert held.mean(0).min() >= 0.85, held.mean(0)
