"""What may pass by itself is tried again, a person's mistake is not."""

import errno
from types import SimpleNamespace

import pytest
from prefect.states import Completed

from cleaner.errors import ServerError, SourceError, StorageError
from flows.prefect import attempts


@pytest.fixture
def by_itself(monkeypatch):
    """As in a flow run that a schedule made; what it logs."""
    said: list[str] = []
    run = SimpleNamespace(deployment=SimpleNamespace(id="it"), flow_run=SimpleNamespace(run_count=1))
    monkeypatch.setattr(attempts, "runtime", run)
    monkeypatch.setattr(attempts, "get_run_logger", lambda: SimpleNamespace(warning=said.append))
    return said


def failing(*errors):
    """Work that fails so, one time after the other, and is done then."""
    left = list(errors)

    def work():
        if left:
            raise left.pop(0)
        return Completed(message="done")

    return work


def away(number):
    error = StorageError("the disk")
    error.__cause__ = OSError(number, "away")
    return error


def test_a_server_or_a_disk_that_is_away_for_a_while_is_tried_again(by_itself):
    work = failing(ServerError("Label Studio is down"), away(errno.EIO))
    assert attempts.attempt(work, (0, 0), of_all=False).message == "done"
    assert by_itself == ["Label Studio is down; trying again in 0.0 s", "the disk; trying again in 0.0 s"]


@pytest.mark.parametrize("error", [SourceError("no such folder"), away(errno.ENOSPC)])
def test_what_does_not_pass_by_itself_ends_it_at_once_in_one_line(by_itself, error):
    state = attempts.attempt(failing(error), (0, 0), of_all=False)
    assert state.is_failed() and state.message == str(error)
    assert by_itself == []


def test_after_the_last_time_it_fails(by_itself):
    state = attempts.attempt(failing(*[ServerError("down")] * 3), (0, 0), of_all=False)
    assert state.is_failed() and state.message == "down"


def test_a_run_whose_process_is_killed_again_and_again_is_left_to_people(by_itself):
    attempts.runtime.flow_run.run_count = 6
    state = attempts.attempt(failing(), of_all=False)
    assert state.is_failed() and "its process was ended 5 times" in state.message
