"""The file of `cleaner serve`: everything that is wrong is told at once, and what is right means one thing."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from prefect.server.schemas.schedules import CronSchedule
from pydantic import ValidationError

from cleaner.errors import ConfigError
from flows.prefect.schedule import Times, after, plain_cron, read_schedule

FIELDS = (
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day", 1, 31, ""),
    ("month", 1, 12, "jan|Oct"),
    ("week", 0, 7, "sun|FRI"),
)


def items(low, high, names):
    number = st.one_of(st.integers(low, high).map(str), *[st.just(name) for name in names.split("|") if name])
    step = st.integers(0, 70).map(lambda n: f"/{n}")
    ranged = st.tuples(number, number).map("-".join)
    one = st.one_of(st.just("*"), step.map("*".__add__), number, ranged, st.tuples(ranged, step).map("".join))
    odd = st.sampled_from(["L", "LW", "W", "?", "1#2", "99", "", "1/5", "H", "@daily", "-1"])
    return st.lists(st.one_of(one, one, one, odd) | one, min_size=1, max_size=2).map(",".join)


CRONS = st.tuples(*(items(low, high, names) for _, low, high, names in FIELDS)).map(" ".join)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(CRONS)
def test_a_cron_that_is_taken_means_the_same_to_prefect_and_to_us(when):
    try:
        Times(clean=when)
    except ValidationError:
        return
    moment, ours = datetime(2026, 3, 27, 12, 7, tzinfo=UTC), []
    for _ in range(4):
        ours.append(after(ours[-1] if ours else moment, when, ZoneInfo("UTC")))
    cron, day_or = plain_cron(when)
    prefects = CronSchedule(cron=cron, timezone="UTC", day_or=day_or)
    theirs = asyncio.run(prefects.get_dates(n=4, start=moment + timedelta(seconds=1)))
    assert ours == [one.astimezone(UTC) for one in theirs], (when, cron, day_or)


@pytest.mark.parametrize(
    "when",
    [
        "every 99999999999999 days", "every 400 days", "every 0 days", "every -1 hours", "every day", "each 5 minutes",
        "LW", "0 2 LW * *", "0 2 * * 5L", "0 0 30 2 *", "*/0 * * * *", "60 * * * *", "0 0 2 * * *", "0 2 * *", "@daily",
        "", "0 2 * * *\n", "０ 2 * * *", "*/5 * * * * *", "0 2 ? * *", "0 25 * * *", "5-1 * * * *",
    ],
)  # fmt: skip
def test_a_time_that_says_nothing_or_two_things_is_refused_in_words(when, data):
    line = refused(data, f'[data.one]\nsource = "photos"\nrun = "runs/one"\ntimes.clean = {when!r}\n'.replace("'", '"'))
    assert line.count("\n") == 0 and "data.one.times.clean = " in line


@pytest.mark.parametrize("zone", ["Europe", "Nowhere/Land", "", "../etc/passwd", "/etc/localtime", "a\\u0000b", "."])
def test_a_time_zone_that_is_none_is_refused_in_words(zone, data):
    line = refused(data, f'timezone = "{zone}"\n[data.one]\nsource = "photos"\nrun = "runs/one"\n')
    assert "timezone = " in line and "no time zone; for example Europe/Berlin" in line


@pytest.fixture
def data(tmp_path):
    """A folder with a data set, for a schedule to lie in."""
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path


def refused(folder, text):
    file = folder / "cleaner.toml"
    file.write_text(text)
    before = sorted(folder.rglob("*"))
    with pytest.raises(ConfigError) as error:
        read_schedule(file)
    assert sorted(folder.rglob("*")) == before
    return str(error.value)


def test_all_mistakes_are_told_at_once_each_in_words(data):
    line = refused(
        data,
        """
        paralel = 3
        timezone = "Europe"
        port = 70000
        [data.one]
        source = "nowhere"
        run = "runs/one"
        [data.two]
        source = "photos"
        run = "runs/x/../two"
        reviewer = "shet"
        [data.three]
        source = "photos"
        run = "runs/two"
        [data.four]
        source = "photos"
        run = "runs/four"
        times.clean = "LW"
        config.fine.kk = 2
        [data.five]
        source = "photos"
        [data.Six]
        source = "photos"
        run = "runs/six"
        [[notify]]
        to = "NOBODY_SET_THIS"
        data = ["seven"]
        [[notify]]
        about = ["everything"]
        """,
    )
    for part in (
        "paralel", "timezone = 'Europe'", "port = 70000", "data.one: ", "nowhere", "did you mean sheet?",
        "data.three: it has the same run as two", "data.four.times.clean = 'LW'", "config.fine.kk (did you mean k?)",
        "data.five.run is missing", "data.Six", "NOBODY_SET_THIS is not set", "no data set seven",
        "notify.1.to is missing", "notify.1.about",
    ):  # fmt: skip
        assert part in line, part
    assert "{" not in line, "no raw values of tables"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data = 3",
        "data = []",
        "[data]",
        "data.one = 3",
        "data.one = []",
        "[[data]]",
        "notify = 3",
        "notify = [3]",
        "[data.one]",
        'data.one.source = 3\ndata.one.run = "x"',
        'data.one.source = ""\ndata.one.run = ""',
        "data.one.times = 4",
        "data.one.config = 5",
        "data.one.limits = []",
        "data.one.run.x = 3",
        '"" = 3',
        "data.one.config.fine = []",
        "x",
        "port = true",
    ],
)
def test_what_has_the_wrong_shape_is_told_in_words(data, text):
    line = refused(data, text)
    assert "\n" not in line and "{" not in line and "Input should" not in line


def test_paths_are_meant_from_the_file_and_what_leads_round_about_is_one_run(data):
    (data / "link").symlink_to(data, target_is_directory=True)
    file = data / "cleaner.toml"
    file.write_text('[data.one]\nsource = "link/../photos"\nrun = "runs/x/../one"\n'.replace("link/../", ""))
    read = read_schedule(file).data["one"]
    assert (read.source, read.run) == (data / "photos", data / "runs" / "one")
    twice = '[data.one]\nsource = "photos"\nrun = "runs/one"\n[data.two]\nsource = "photos"\nrun = "link/runs/one"\n'
    assert "it has the same run as one" in refused(data, twice)
