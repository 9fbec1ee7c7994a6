"""People are told what a cleaning came to, once."""

import json

import pytest
from command import clean_locally
from prefect.logging import disable_run_logger
from prefect.states import Completed, Failed
from webhook import Team

from cleaner.errors import ConfigError, ServerError
from flows.prefect.attempts import WAITS
from flows.prefect.notify import tell_news
from flows.prefect.schedule import Notice

ALL = Notice(to="TEST_TEAM")


@pytest.fixture
def team(monkeypatch):
    team = Team()
    monkeypatch.setenv("TEST_TEAM", team.address)
    with disable_run_logger():
        yield team
    team.shutdown()


def test_that_a_cleaning_could_not_begin_is_told_once_and_it_can_begin_later(team, demo, tmp_path):
    run = tmp_path / "run"
    for _ in range(2):
        tell_news(Failed(message="photos: No such file"), run, [ALL], None, None)
    assert team.about("run: the cleaning failed") == ["photos: No such file"]
    clean_locally(demo / "images", run)
    tell_news(Completed(), run, [ALL], 0.01, "http://there")
    (told,) = team.about("run: cleaned")
    images = len(list((demo / "images").rglob("*.*")))
    assert told.startswith(f"{images:,} images, ") and told.endswith("\nhttp://there")
    assert len(team.about("run: more labels are wrong than they may be")) == 1
    tell_news(Completed(), run, [ALL], 0.01, None)
    assert len(team.told) == 3


def test_who_wants_to_hear_of_something_hears_of_nothing_else(team, tmp_path):
    about_people = Notice(to="TEST_TEAM", about=["people"])
    tell_news(Failed(message="no"), tmp_path, [about_people], None, None)
    tell_news(Completed(name=WAITS, message="4 answers are missing"), tmp_path, [about_people], None, None)
    assert [told["message"] for told in team.told] == ["4 answers are missing"]


def test_an_address_that_is_missing_or_takes_nothing_is_named_without_saying_it(team, tmp_path, monkeypatch):
    monkeypatch.delenv("TEST_TEAM")
    with pytest.raises(ConfigError, match="TEST_TEAM: the environment of this process holds no address"):
        tell_news(Failed(message="no"), tmp_path, [ALL], None, None)
    monkeypatch.setenv("TEST_TEAM", "json://127.0.0.1:9/a-secret")
    with pytest.raises(ServerError, match="TEST_TEAM") as error:
        tell_news(Failed(message="no"), tmp_path, [ALL], None, None)
    assert "a-secret" not in str(error.value)
    monkeypatch.setenv("TEST_TEAM", team.address)
    tell_news(Failed(message="no"), tmp_path, [ALL], None, None)
    assert team.about(f"{tmp_path.name}: the cleaning failed") == ["no"]


def test_nobody_is_told_twice_because_another_could_not_be_told(team, tmp_path, monkeypatch):
    monkeypatch.setenv("AWAY", "json://127.0.0.1:9/another-secret")
    both = [Notice(to="AWAY"), Notice(to="TEST_TEAM"), Notice(to="TEST_TEAM", about=["failed"])]
    for _ in range(3):
        with pytest.raises(ServerError, match="AWAY"):
            tell_news(Failed(message="no"), tmp_path, both, None, None)
    assert team.about(f"{tmp_path.name}: the cleaning failed") == ["no"]
    monkeypatch.setenv("AWAY", team.address)
    tell_news(Failed(message="no"), tmp_path, both, None, None)
    assert len(team.told) == 2
    # What has been otherwise meanwhile is news again.
    tell_news(Completed(name=WAITS, message="4 answers are missing"), tmp_path, both, None, None)
    tell_news(Failed(message="no"), tmp_path, both, None, None)
    assert len(team.told) == 6


@pytest.mark.parametrize(("low", "alerts"), [(0.02, 0), (0.04, 1)])
def test_that_too_many_labels_are_wrong_is_told_where_it_is_so_however_little_is_known(team, tmp_path, low, alerts):
    summary = {"versions": {"standing": "one"}, "samples": 100, "kept": 90, "relabelled": 5, "dropped": 5}
    summary["label_noise"] = {"noise": 0.05, "low": low, "high": 0.1, "answers": 0}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    tell_news(Completed(), tmp_path, [ALL], 0.03, None)
    assert len(team.about(f"{tmp_path.name}: more labels are wrong than they may be")) == alerts
