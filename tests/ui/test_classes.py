"""What is asked of the tables about classes and rounds."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from cleaner.run.answers import Answers
from cleaner.run.finished import read_summary
from cleaner.tables import ANSWER_LOG
from ui.access import look_at
from ui.queries.classes import classes, confusion_of
from ui.queries.rounds import rounds
from ui.queries.samples import DOUBTFUL_FIRST, ORDERS, Filter, Samples


@pytest.fixture(scope="module")
def look(finished):
    return look_at(finished)


@pytest.fixture(scope="module")
def samples(look):
    return Samples(look.tables())


def test_classes_add_up_to_the_summary(look, samples):
    table, summary = classes(samples), read_summary(look.folder)
    assert table["images"].sum() == summary["samples"]
    assert table["dropped"].sum() == summary["dropped"]
    assert table["relabelled away"].sum() == table["gained"].sum() == summary["relabelled"]
    assert table["left to train on"].sum() == summary["kept"] + summary["relabelled"]
    assert table["wrong, estimated"].between(0, 1).all()


def test_rounds_say_what_the_summary_says(look, samples):
    table = rounds(look, samples).set_index(["stage", "round"])
    told = {(entry["stage"], entry["round"]): entry for entry in look.summary["stages"] if entry["judged"]}
    assert set(table.index) == set(told)
    for key, row in table.iterrows():
        assert row["judged"] == told[key]["judged"]
        assert row["kept"] == told[key]["positives"]
        if key[0] in ("coarse", "fine"):
            assert (row["taken back"], row["pushed out"]) == (told[key]["new_positives"], told[key]["lost_positives"])
            assert 0.5 < row["accuracy"] < 1


@pytest.mark.parametrize("most", [3, 10])
def test_blocks_of_the_confusion_add_up_to_all_images_that_were_judged(samples, most):
    found = confusion_of(samples)
    whole = (0, len(found.names)) * 2
    cells = found.blocks(whole[:2], whole[2:], most)
    judged = samples.ask("SELECT count(guess) AS n FROM kept.samples")["n"][0].as_py()
    assert cells["images"].sum() == found.counts.sum() == judged
    assert len(cells) <= most * most
    assert cells.groupby("given")["share"].sum().round(6).eq(1).all()


def test_the_pairs_that_are_confused_most_come_first(samples):
    top = confusion_of(samples).top(5)
    assert (top["given"] != top["looks like"]).all()
    assert top["images"].is_monotonic_decreasing
    first = top.iloc[0]
    assert samples.count(Filter(label=first["given"], guess=first["looks like"])) == first["images"]


def test_every_filter_lets_through_what_it_says(samples):
    everything = samples.page(Filter(), DOUBTFUL_FIRST, start=0, count=10_000).to_pylist()
    wanted = {
        Filter(action=("drop", "relabel")): lambda s: s["action"] != "keep",
        Filter(stage=("duplicates",)): lambda s: s["stage"] == "duplicates",
        Filter(label="two", guess="three"): lambda s: (s["label"], s["guess"]) == ("two", "three"),
        Filter(low=0.1, high=0.9): lambda s: s["score"] is not None and 0.1 <= s["score"] <= 0.9,
        Filter(copies=True): lambda s: s["group"] is not None,
        Filter(path="WEB-"): lambda s: "web-" in s["path"],
        Filter(rows=(3, 5)): lambda s: s["row"] in (3, 5),
        Filter(reviewed=False, action=("drop",)): lambda s: s["action"] == "drop",
    }
    for asked, meets in wanted.items():
        expected = [sample["row"] for sample in everything if meets(sample)]
        assert expected, asked
        for order in ORDERS:
            found = samples.page(asked, order, start=0, count=10_000)["row"].to_pylist()
            assert sorted(found) == sorted(expected), (asked, order)
        assert samples.count(asked) == len(expected)


def test_a_filter_finds_reasons_and_no_sql_in_a_text(samples):
    assert samples.count(Filter(reason="RANKS 1st")) > 400
    assert samples.count(Filter(path="' OR 1=1 --")) == 0
    assert samples.count(Filter(label="'; DROP TABLE kept.samples; --")) == 0


@pytest.mark.parametrize("order", ORDERS)
def test_pages_one_after_the_other_are_all_images_in_their_order(samples, order):
    pages = [samples.page(Filter(), order, start=start, count=100).to_pylist() for start in range(0, 700, 100)]
    whole = samples.ask(f"SELECT * FROM kept.samples ORDER BY {ORDERS[order]}").to_pylist()
    assert [line for page in pages for line in page] == whole


def test_many_sessions_at_once_learn_of_each_answer(look, samples, tmp_path):
    """The tables are one for all sessions; each makes them know what people have said before it asks them."""
    answers = Answers(tmp_path)
    hashes = samples.ask("SELECT content_hash FROM kept.samples WHERE row < 40").column(0).to_pylist()
    known = samples.ask("SELECT content_hash, count(*) AS images FROM kept.samples GROUP BY 1").to_pylist()
    images = {line["content_hash"]: line["images"] for line in known}

    def session(number):
        for content_hash in hashes[number::4]:
            word = {"content_hash": content_hash, "answer": "right", "by": f"person {number}", "batch": "b"}
            answers.append(pa.Table.from_pylist([word], ANSWER_LOG))
            samples.remember_reviewed(answers)
            found = samples.ask("SELECT count(*) AS n FROM kept.reviewed JOIN kept.samples USING (row)")["n"][0].as_py()
            assert found >= images[content_hash]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(session, range(4)))
    samples.remember_reviewed(answers)
    assert samples.count(Filter(reviewed=True)) == sum(images[content_hash] for content_hash in set(hashes))
