"""Cleanings that come by themselves share the machine's GPUs; a stand-in says how many there are."""

import os
import threading

import pytest
from prefect_api import wait_until

from cleaner.errors import RunLocked
from flows.prefect.devices import VISIBLE, a_device, gpus


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine of its own, on which nobody has said which GPUs are to be used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(VISIBLE, "")
    monkeypatch.delenv(VISIBLE)


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    stand_in = tmp_path / "bin" / "nvidia-smi"
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\necho GPU-a\necho GPU-b\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")


def visible(monkeypatch):
    """The GPU that torch would see; and let another process find all of them again."""
    name = os.environ[VISIBLE]
    monkeypatch.delenv(VISIBLE)
    return name


def test_each_cleaning_has_a_gpu_of_its_own_and_the_third_waits_until_one_is_free(two_gpus, tmp_path, monkeypatch):
    said: list[str] = []
    works = threading.Event()

    def third():
        with a_device(tmp_path / "three", said.append):
            works.set()

    with a_device(tmp_path / "two", said.append):
        first = visible(monkeypatch)
        with a_device(tmp_path / "one", said.append):
            second = visible(monkeypatch)
            thread = threading.Thread(target=third)
            thread.start()
            wait_until(lambda: any("other cleanings have its 2 GPUs" in line for line in said))
            assert not works.is_set()
        thread.join(60)
    assert works.is_set()
    assert {first, second} == {"GPU-a", "GPU-b"}


def test_a_worker_that_was_given_a_gpu_keeps_to_it(two_gpus, tmp_path, monkeypatch):
    monkeypatch.setenv(VISIBLE, "1")
    with a_device(tmp_path / "one", print):
        assert os.environ[VISIBLE] == "1"
    monkeypatch.setenv(VISIBLE, "-1")
    assert gpus() == []


def test_a_second_cleaning_of_the_same_run_does_not_wait(two_gpus, tmp_path):
    one = tmp_path / "one"
    with a_device(one, print), pytest.raises(RunLocked, match="another cleaning of it"), a_device(one, print):
        pass


def test_without_a_gpu_cleanings_have_the_machine_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv(VISIBLE, "")
    said: list[str] = []
    works = threading.Event()

    def second():
        with a_device(tmp_path / "two", said.append):
            works.set()

    with a_device(tmp_path / "one", said.append):
        thread = threading.Thread(target=second)
        thread.start()
        wait_until(lambda: said == ["waits: other cleanings have the machine"])
        assert not works.is_set()
    thread.join(60)
    assert works.is_set()
