"""Which round comes next: by what was predicted, compared and judged before."""

import pytest

from cleaner.plan.label_rounds import NOTHING_NEW, Compare, Judge, Predict, label_rounds
from cleaner.plan.so_far import End
from cleaner.plan.stages.coarse import Coarse


def course(split, *, gains=(), new=(), first=None, settled=None):
    """All that is wanted in turn, and the end, where predictions gain, and judgements take back, so much in turn."""
    rounds, gains, new = label_rounds(split, first, settled), iter(gains), iter(new)
    wanted, found = next(rounds), []
    while True:
        found.append(wanted)
        match wanted:
            case Predict():
                answer = f"evidence {wanted.number}"
            case Compare():
                answer = next(gains)
            case Judge():
                answer = next(new)
        try:
            wanted = rounds.send(answer)
        except StopIteration as end:
            return found, end.value


BELIEF, RECIPE = Coarse(max_rounds=4), Coarse(max_rounds=4, policy="accv")


def test_a_round_that_explains_no_more_is_refused_and_the_one_before_stands():
    found, end = course(BELIEF, gains=[0.1, 0.001], new=[0, 3])
    judged = [wanted for wanted in found if isinstance(wanted, Judge)]
    assert judged == [Judge(1, "evidence 1"), Judge(2, "evidence 2")]
    assert found[-1] == Compare("evidence 3")
    assert (end.converged, end.rounds, end.refused) == (True, 2, True)


def test_by_the_recipe_rounds_go_on_until_nothing_comes_back():
    found, end = course(RECIPE, new=[0, 5, 0])
    assert not any(isinstance(wanted, Compare) for wanted in found)
    assert end == End(True, 3, "nothing was taken back any more")


@pytest.mark.parametrize(("split", "gains"), [(BELIEF, [1, 1, 1]), (RECIPE, [])])
def test_no_more_rounds_than_are_allowed(split, gains):
    found, end = course(split, gains=gains, new=[0, 5, 4, 3])
    assert sum(isinstance(wanted, Judge) for wanted in found) == 4
    assert (end.converged, end.why) == (False, "stopped at the most rounds allowed, 4; the last still took 3 back")


def test_what_was_predicted_before_is_judged_first_and_alone_where_no_more_is_to_be_had():
    found, _ = course(BELIEF, gains=[0], new=[0], first="before")
    assert found == [Judge(1, "before"), Predict(2), Compare("evidence 2")]
    found, end = course(BELIEF, new=[7], first="before", settled=End(True, 3, "round 4 refused"))
    assert found == [Judge(1, "before")]
    assert (end.converged, end.rounds, end.why) == (True, 1, NOTHING_NEW)
