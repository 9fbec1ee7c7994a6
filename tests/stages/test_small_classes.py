import pyarrow as pa

from cleaner.run.ledger import fold
from cleaner.stages.small_classes import asked_about, class_counts, removals, small_classes
from cleaner.tables import SAID, SMALL_CLASSES


def test_counts_add_up_for_every_class(judged):
    for entry in class_counts(judged.manifest, judged.standing).to_pylist():
        assert entry["kept"] + entry["relabelled"] + entry["dropped"] == entry["given"] == 20
        assert entry["images"] == entry["kept"] + entry["gained"]


def said(**answers):
    return pa.Table.from_pylist([{"label": name, "answer": answers[name], "by": "ana"} for name in answers], SAID)


def test_the_smallest_classes_are_asked_about_once_and_not_more_than_people_look_at(judged):
    small = small_classes(judged.manifest, judged.standing, min_images=1000)
    assert asked_about(small, said(), most=2) == small.slice(0, 2)
    assert asked_about(small, said(), most=100) == small
    first = small.column("label")[0].as_py()
    assert asked_about(small, said(**{first: "keep"}), most=2) == small.slice(1, 2)


def test_only_classes_with_too_few_images_are_listed_the_smallest_first(judged):
    counts = {entry["label"]: entry["images"] for entry in class_counts(judged.manifest, judged.standing).to_pylist()}
    least = min(counts.values())
    assert len(small_classes(judged.manifest, judged.standing, min_images=least)) == 0
    small = small_classes(judged.manifest, judged.standing, min_images=1000)
    assert small.schema == SMALL_CLASSES
    assert small.column("images").to_pylist() == sorted(counts.values())


def test_examples_are_the_surest_kept_samples_of_the_class(judged):
    standing = judged.standing.to_pylist()
    for entry in small_classes(judged.manifest, judged.standing, min_images=1000).to_pylist():
        shown = [standing[row] for row in entry["examples"]]
        assert {(s["label"], s["action"]) for s in shown} == {(entry["label"], "keep")}
        assert [s["score"] for s in shown] == sorted((s["score"] for s in shown), reverse=True)


def test_a_removed_class_takes_all_that_stands_for_it_and_a_kept_one_nothing(judged):
    asked = small_classes(judged.manifest, judged.standing, min_images=1000)
    words = said(**{"with space": "remove", "=cmd()": "keep"})
    verdicts = removals(judged.manifest, judged.standing, words)
    before = {e["label"]: e["images"] for e in asked.to_pylist()}
    assert len(verdicts) == before["with space"]
    assert set(verdicts.column("by").to_pylist()) == {"person:ana"}
    after = class_counts(judged.manifest, fold(judged.manifest, [verdicts])).to_pylist()
    assert {e["label"]: e["kept"] for e in after}["=cmd()"] == 20


def test_without_answers_nothing_is_dropped(judged):
    assert len(removals(judged.manifest, judged.standing, said())) == 0
