import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from cleaner.errors import RunError, RunLocked, StorageError
from cleaner.run.files import TEMPORARY, digest, own, sweep, write_atomically, write_bytes, write_text
from cleaner.run.steps import Step, makes, perform
from cleaner.run.store import Store


def test_tables_and_arrays_come_back_as_they_were_written(tmp_path):
    store = Store(tmp_path)
    table, array = pa.table({"row": [1, 2]}), np.arange(6, dtype=np.float16).reshape(2, 3)
    store.write("numbers", table)
    store.write("matrix", array)
    assert store.read("numbers").equals(table)
    assert np.array_equal(store.read("matrix"), array)
    assert store.rows("numbers") == 2


def test_an_array_is_read_as_a_view_of_the_file(tmp_path):
    store = Store(tmp_path)
    store.write("matrix", np.zeros((4, 4)))
    assert isinstance(store.read("matrix"), np.memmap)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError, match="no step output nothing"):
        Store(tmp_path).read("nothing")


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    file = write_text(tmp_path / "a.txt", "old")

    def fail(out):
        out.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="the disk is full"):
        write_atomically(file, fail)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_told_in_one_line(tmp_path):
    """The kernel itself refuses: the process may not write files over 1,000 bytes."""
    program = (
        "import resource, signal, sys; from pathlib import Path; from cleaner.run.files import write_text\n"
        "from cleaner.errors import StorageError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: write_text(Path(sys.argv[1]), 'x' * 5000)\n"
        "except StorageError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "big")], capture_output=True, text=True, check=True
    )
    assert "the disk is full" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_two_holders_of_one_run_are_not_possible(tmp_path):
    with Store(tmp_path).locked(), pytest.raises(RunLocked, match="another command"), Store(tmp_path).locked():
        pass


def test_the_lock_goes_with_a_killed_holder(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from cleaner.run.store import Store\n"
        "with Store(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunLocked), Store(tmp_path).locked():
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with Store(tmp_path).locked():
        pass


def test_half_written_files_of_dead_writers_are_swept_when_the_run_is_held_again(tmp_path):
    (tmp_path / "steps").mkdir()
    for name in ("dead", "living", "young"):
        (tmp_path / "steps" / f".{name}.tmp").write_bytes(b"half")
    for name in ("dead", "living"):
        os.utime(tmp_path / "steps" / f".{name}.tmp", (0, 0))
    training = tmp_path / "training" / "small" / ".0a.tmp"
    training.parent.mkdir(parents=True)
    training.write_bytes(b"half, and being written")
    os.utime(training, (0, 0))
    with (tmp_path / "steps" / ".living.tmp").open("r+b") as file:
        own(file)
        with Store(tmp_path).locked():
            assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == [".living.tmp", ".young.tmp"]
            assert training.exists()


def test_a_file_that_is_being_written_survives_a_sweep_however_long_it_takes(tmp_path):
    def slow(file):
        file.write(b"whole")
        file.flush()
        (left,) = tmp_path.glob(TEMPORARY)
        os.utime(left, (0, 0))
        sweep(tmp_path.glob(TEMPORARY))

    assert write_atomically(tmp_path / "a", slow).read_bytes() == b"whole"


def test_threads_that_write_one_file_tear_nothing(tmp_path):
    contents = [bytes([number]) * 200_000 for number in range(8)]

    def write(content):
        for _ in range(20):
            write_bytes(tmp_path / "a", content)
            assert (tmp_path / "a").read_bytes() in contents

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@makes("numbers", version=1)
def count_up(*, start: int) -> pa.Table:
    with Path(os.environ["CALLS"]).open("a") as calls:
        calls.write("x")
    return pa.table({"row": list(range(start))})


def test_a_step_whose_output_is_there_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    store, step = Store(tmp_path / "run"), Step("count", count_up, settings={"start": 3})
    assert perform(store, step) == perform(store, step) == step.output
    assert (tmp_path / "calls").read_text() == "x"
    assert store.read(step.output).num_rows == 3


def test_a_steps_name_follows_its_settings_and_inputs_and_nothing_else():
    one = Step("count", count_up, ("a",), {"start": 3})
    assert one.output == Step("count", count_up, ("a",), {"start": 3}, {"workers": 7}).output
    assert one.output != Step("count", count_up, ("a",), {"start": 4}).output
    assert one.output != Step("count", count_up, ("b",), {"start": 3}).output


def test_a_steps_name_follows_its_methods_version_and_not_where_the_method_stands():
    def made(kind, version):
        @makes(kind, version=version)
        def elsewhere(*, start):
            return count_up(start=start)

        return Step("count", elsewhere, ("a",), {"start": 3}).output

    here = Step("count", count_up, ("a",), {"start": 3}).output
    assert made("numbers", 1) == here
    assert made("numbers", 2) != here != made("letters", 1)


def test_a_steps_name_follows_the_version_of_the_part_in_its_settings():
    def made(raised):
        @dataclass(frozen=True)
        class Part:
            version: ClassVar[int] = raised
            depth: int = 3

        return Step("count", count_up, (), {"part": Part()}).output

    assert made(1) == made(1) != made(2)


def test_a_steps_name_follows_what_its_method_finds_out_by_itself():
    one, other = (Step("count", count_up, cache_key={"engine": name}).output for name in ("torch", "openvino"))
    assert one != other != Step("count", count_up).output


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
