"""What reaches a person or a program is what stands in the data set, whatever the terminal can show."""

import json
import os
import shlex
import subprocess

import pytest
from command import CLEANER, clean_locally, here
from PIL import Image

from cleaner.words import percent

NAMES = ("ratio 1:100:1", "[bold]räksmörgås[bold]", "**:smile:**")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set whose names mean something to consoles, and its run."""
    place = tmp_path_factory.mktemp("named")
    for number, name in enumerate(NAMES):
        (place / "photos" / name).mkdir(parents=True)
        for i in range(8):
            Image.new("RGB", (12, 12), (80 * number, 9 * i, 0)).save(place / "photos" / name / f"{i}:100:.png")
    (place / "photos" / NAMES[0] / "broken.png").write_bytes(b"no image")
    fast = ("--set", "features.backbone=pixels", "--set", "coarse.max_rounds=1", "--set", "fine.max_rounds=1")
    clean_locally(place / "photos", place / "run", *fast)
    return place


@pytest.mark.parametrize("name", NAMES)
def test_names_are_told_as_they_are(data, name):
    path = f"{name}/3:100:.png"
    assert f"{path} (" in here("why", data / "run", path).stdout
    said = json.loads(here("why", data / "run", path, "--json").stdout)["sample"]
    assert (data / "photos" / said["path"]).is_file() and said["label"] == name


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_few_letters_is_no_bug(data, encoding):
    path = f"{NAMES[1]}/3:100:.png"
    said = subprocess.run(
        [CLEANER, "why", data / "run", path, "--json"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    ).stdout
    assert json.loads(said.decode(encoding))["sample"]["path"] == path
    for words in (("why", data / "run", path), ("status", data / "run"), ("doctor",), ("review", data / "run")):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run([CLEANER, *words], env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [("clean", "{bytes}", "--run", "x"), ("status", "{bytes}"), ("ui", "{bytes}")])
def test_a_name_that_is_no_text_is_refused_in_one_line(tmp_path, words):
    name = b"caf\xe9"
    (tmp_path / os.fsdecode(name) / "a").mkdir(parents=True)
    command = [name if word == "{bytes}" else word.encode() for word in words]
    done = subprocess.run([CLEANER.encode(), *command], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1 and rb"caf\udce9: byte 3 of it is no UTF-8" in done.stderr
    within = subprocess.run(
        [CLEANER, "status", "run"], cwd=os.fsencode(tmp_path) + b"/" + name, capture_output=True, check=False
    )
    assert within.returncode == 2 and b"no UTF-8; rename" in within.stderr


def test_a_folder_that_is_gone_is_told_in_one_line(tmp_path):
    gone, command = shlex.quote(f"{tmp_path}/gone"), shlex.quote(str(CLEANER))
    script = f"mkdir {gone}; cd {gone}; rmdir {gone}; {command} status run"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    # Where the command is a shell's script, as pip makes one of a long path, the shell has a word to say too.
    said = [line for line in done.stderr.splitlines() if "getcwd" not in line]
    assert done.returncode == 2 and len(said) == 1 and "is there no more" in said[0]


@pytest.mark.parametrize(
    ("share", "said"),
    [(1, "100"), (0.9951, "100"), (0.9949, "99"), (0.094, "9.4"), (0, "0"), (0.00001, "0.001"), (1e-9, "0")],
)
def test_a_share_is_told_in_two_digits_and_never_in_powers_of_ten(share, said):
    assert percent(share) == said
