import pyarrow as pa

from cleaner.methods.small_classes import asked_about, class_counts, small_classes, verdicts
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, SMALL_CLASSES


def test_counts_add_up_for_every_class(judged):
    for entry in class_counts(judged.manifest, judged.standing).to_pylist():
        assert entry["kept"] + entry["relabelled"] + entry["dropped"] == entry["given"] == 20
        assert entry["images"] == entry["kept"] + entry["gained"]


def said(**answers):
    return pa.Table.from_pylist([{"label": name, "answer": answers[name], "by": "ana"} for name in answers], ANSWER_LOG)


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
    judged_so = verdicts(judged.manifest, judged.standing, words)
    before = {e["label"]: e["images"] for e in asked.to_pylist()}
    assert len(judged_so) == before["with space"]
    assert set(judged_so.column("by").to_pylist()) == {"person:ana"}
    after = class_counts(judged.manifest, fold(judged.manifest, [judged_so])).to_pylist()
    assert {e["label"]: e["kept"] for e in after}["=cmd()"] == 20


def merged(**into):
    words = [{"label": name, "answer": "merge", "new_label": into[name], "by": "ana"} for name in into]
    return pa.Table.from_pylist(words, ANSWER_LOG)


def test_a_merged_class_gives_its_images_to_the_other_and_those_that_came_from_there_back(judged):
    words = merged(**{"with space": "=cmd()"})
    verdict = {v["row"]: v for v in verdicts(judged.manifest, judged.standing, words).to_pylist()}
    for row, sample in enumerate(judged.standing.to_pylist()):
        stands_for = sample["new_label"] or sample["label"]
        if sample["action"] == "drop" or stands_for != "with space":
            assert row not in verdict
        elif sample["label"] == "=cmd()":
            assert verdict[row]["action"] == "keep"
        else:
            assert (verdict[row]["action"], verdict[row]["new_label"]) == ("relabel", "=cmd()")


def test_merged_classes_hand_on_what_they_take_and_a_circle_changes_nothing(judged):
    first, second, third = judged.classes[:3]
    chain = verdicts(judged.manifest, judged.standing, merged(**{first: second, second: third})).to_pylist()
    assert {v["new_label"] for v in chain} <= {third, None}
    assert len(verdicts(judged.manifest, judged.standing, merged(**{first: second, second: first}))) == 0
    assert len(verdicts(judged.manifest, judged.standing, merged(**{first: "no class"}))) == 0
    gone = pa.concat_tables([merged(**{first: second}), said(**{second: "remove"})])
    assert {v["action"] for v in verdicts(judged.manifest, judged.standing, gone).to_pylist()} == {"drop"}


def test_without_answers_nothing_is_dropped(judged):
    assert len(verdicts(judged.manifest, judged.standing, said())) == 0
