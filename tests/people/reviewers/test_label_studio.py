"""The reviewer against a real server."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import clean_locally, here
from conftest import NASTY, pages_of
from faults import before
from label_studio import EMAIL, PASSWORD, TOKEN, Server, part, running
from needs import CHROMIUM, needs_chromium

from cleaner.data.sources import open_source
from cleaner.errors import ConfigError, ServerError
from cleaner.methods.small_classes import small_classes
from cleaner.people.reviewers import ReviewBatch
from cleaner.people.reviewers.label_studio import LabelStudio
from cleaner.people.reviewers.label_studio.page import class_key, classes_page, samples_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    with running(request.config.cache.mkdir("label-studio"), tmp_path_factory.mktemp("label-studio")) as found:
        yield found


@pytest.fixture(autouse=True)
def environment(server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def asked(judged) -> pa.Table:
    return judged.batch(count=15)


def push(judged, asked, folder) -> int:
    """Returns the project."""
    LabelStudio().push(judged.asking(asked, folder), judged.source)
    return json.loads((folder / "fine-1.label_studio.json").read_text())["project"]


def pull(judged, asked, folder, say=print) -> dict[str, dict]:
    found = LabelStudio().pull(judged.asking(asked, folder), say).to_pylist()
    return {answer["sample_id"]: answer for answer in found}


def test_every_answer_of_the_page_comes_back_as_what_it_means(judged, asked, server, tmp_path):
    assert EMAIL in LabelStudio().check(judged.source.listing())
    tasks = server.tasks(push(judged, asked, tmp_path))
    samples = asked.to_pylist()
    assert set(tasks) == {sample["sample_id"] for sample in samples}
    assert pull(judged, asked, tmp_path) == {}
    guess = samples[1]["guesses"][0]
    other = next(name for name in (NASTY, "=cmd()") if name != samples[2]["label"])
    says = [
        (("right",), ("right", None)),
        ((f"guess_{class_key(guess)}",), ("another", guess)),
        (("another", class_key(other)), ("another", other)),
        (("another", class_key(samples[3]["label"])), ("right", None)),
        (("junk",), ("junk", None)),
        (("unsure",), ("unsure", None)),
    ]
    for sample, (said, _) in zip(samples, says, strict=False):
        server.annotate(tasks[sample["sample_id"]], *said)
    server.annotate(tasks[samples[6]["sample_id"]], None, was_cancelled=True)
    found = pull(judged, asked, tmp_path)
    for sample, (_, means) in zip(samples, says, strict=False):
        answer = found[sample["sample_id"]]
        assert (answer["answer"], answer["new_label"], answer["by"]) == (*means, EMAIL)
        assert answer["seconds"] == 2.5 and answer["at"].endswith("+00:00")
    assert found[samples[6]["sample_id"]]["answer"] == "unsure"
    assert len(found) == 7


@pytest.mark.parametrize(
    ("answer", "chosen", "complaint"),
    [
        (None, None, "no answer was chosen"),
        ("maybe", None, "'maybe' is no answer"),
        ("another", None, "but not which"),
        ("another", "400", "'400' is no class"),
        ("guess_x", None, "'x' is no class"),
    ],
)
def test_what_is_no_answer_is_told_by_its_sample_and_loses_nothing(
    judged, asked, server, tmp_path, answer, chosen, complaint
):
    tasks = server.tasks(push(judged, asked, tmp_path))
    first, second = asked.column("sample_id").to_pylist()[:2]
    server.annotate(tasks[first], answer, chosen)
    server.annotate(tasks[second], "junk")
    lines = []
    assert list(pull(judged, asked, tmp_path, lines.append)) == [second]
    (line,) = lines
    assert complaint in line and asked.column("path")[0].as_py() in line


def test_who_skips_what_another_answered_has_not_spoken_against_it(judged, asked, server, tmp_path):
    tasks = server.tasks(push(judged, asked, tmp_path))
    first = asked.column("sample_id")[0].as_py()
    server.annotate(tasks[first], "junk")
    server.annotate(tasks[first], None, was_cancelled=True)
    assert pull(judged, asked, tmp_path)[first]["answer"] == "junk"


BO, CY = "bo@example.com", "cy@example.com"


def asked_twice(batch: pa.Table, count: int) -> pa.Table:
    people = [2 if place < count else 1 for place in range(len(batch))]
    return batch.set_column(batch.column_names.index("people"), "people", pa.array(people, pa.int32()))


def test_a_sample_that_two_are_asked_about_is_two_tasks_and_a_third_comes_when_it_is_wanted(
    judged, asked, server, tmp_path
):
    asked = asked_twice(asked, 2)
    first, second = asked.column("sample_id").to_pylist()[:2]
    project = push(judged, asked, tmp_path)
    tasks = server.tasks(project)
    assert set(tasks) == {*asked.column("sample_id").to_pylist(), f"{first} 2", f"{second} 2"}
    assert abs(tasks[first] - tasks[f"{first} 2"]) > len(asked) // 3
    server.annotate(tasks[first], "right")
    server.annotate(tasks[f"{first} 2"], "junk", completed_by=server.person(BO))
    found = LabelStudio().pull(judged.asking(asked, tmp_path), print).to_pylist()
    assert {(f["sample_id"], f["answer"], f["by"]) for f in found} == {(first, "right", EMAIL), (first, "junk", BO)}
    third = asked.set_column(asked.column_names.index("people"), "people", pa.array([3] + [2] + [1] * (len(asked) - 2)))
    assert push(judged, third, tmp_path) == project
    assert set(server.tasks(project)) == {*tasks, f"{first} 3"}


def test_a_later_pull_fetches_what_has_changed_since(judged, asked, server, tmp_path):
    project = push(judged, asked, tmp_path)
    first, second, third = list(server.tasks(project).items())[:3]
    server.annotate(first[1], "right")
    server.annotate(second[1], "junk")
    before = max(datetime.fromisoformat(answer["at"]) for answer in pull(judged, asked, tmp_path).values())
    (edited,) = server.client.annotations.list(id=second[1])
    server.client.annotations.update(id=edited.id, result=[part("answer", "choices", ["unsure"])])
    server.annotate(third[1], "right")
    since = before + timedelta(milliseconds=200)
    found = LabelStudio().pull(judged.asking(asked, tmp_path), print, since=since).to_pylist()
    assert {answer["sample_id"]: answer["answer"] for answer in found} == {second[0]: "unsure", third[0]: "right"}
    assert "at most 0 more" in server.client.projects.get(id=project).expert_instruction


def test_a_page_of_many_is_one_task_and_what_is_not_marked_on_it_is_right(judged, asked, server, tmp_path):
    paged = pages_of(judged, asked)
    twice = paged.set_column(paged.column_names.index("people"), "people", pa.array([2] * len(paged), pa.int32()))
    project = push(judged, twice, tmp_path)
    tasks = server.tasks(project)
    first, second = (
        ",".join(sample["sample_id"] for sample in paged.to_pylist() if sample["page"] == page) for page in (1, 2)
    )
    assert len(tasks) == 2 * max(paged.column("page").to_pylist()) and {first, f"{first} 2", second} <= {*tasks}
    marked, *others = first.split(",")
    server.annotate(tasks[first], marked)
    server.client.annotations.create(id=tasks[f"{first} 2"], result=[], completed_by=server.person(BO))
    server.client.annotations.create(id=tasks[second], result=[], was_cancelled=True)
    server.annotate(tasks[f"{second} 2"], "no such sample")
    said = []
    found = LabelStudio().pull(judged.asking(paged, tmp_path), said.append).to_pylist()
    answers = {(answer["sample_id"], answer["by"]): answer["answer"] for answer in found}
    mine = dict.fromkeys(others, "right") | {marked: "wrong"} | dict.fromkeys(second.split(","), "unsure")
    his = dict.fromkeys(first.split(","), "right")
    assert answers == {(s, EMAIL): a for s, a in mine.items()} | {(s, BO): a for s, a in his.items()}
    assert "'no such sample' is marked" in said[0] and len(said) == 1
    wanted = [3 if sample == marked else 2 for sample in paged.column("sample_id").to_pylist()]
    third = paged.set_column(paged.column_names.index("people"), "people", pa.array(wanted, pa.int32()))
    assert push(judged, third, tmp_path) == project and {*server.tasks(project)} - {*tasks} == {f"{marked} 3"}


class Killed(BaseException):
    """As far as files and the server are concerned, the end of the process."""


def kill_at(monkeypatch, number: int, *, after: bool) -> None:
    """End what is under way at its request of this number, before or after the server has performed it."""
    send, count = httpx.Client.send, iter(range(10_000))

    def sending(client, request, **more):
        last = next(count) == number
        if last and not after:
            raise Killed
        answer = send(client, request, **more)
        if last:
            raise Killed
        return answer

    monkeypatch.setattr(httpx.Client, "send", sending)


@pytest.mark.parametrize("after", [False, True])
def test_a_push_that_is_killed_anywhere_is_completed_by_the_next_and_doubles_nothing(
    judged, asked, server, tmp_path, monkeypatch, after
):
    monkeypatch.setattr("cleaner.people.reviewers.label_studio._PUSHED_AT_ONCE", 5)
    projects = {project.id for project in server.client.projects.list()}
    for number in range(100):
        with monkeypatch.context() as patch:
            kill_at(patch, number % 5, after=after)
            try:
                project = push(judged, asked, tmp_path)
            except Killed:
                continue
            break
    assert number >= 4
    assert {found.id for found in server.client.projects.list()} - projects == {project}
    assert set(server.tasks(project)) == set(asked.column("sample_id").to_pylist())
    record = json.loads((tmp_path / "fine-1.label_studio.json").read_text())
    assert {item: int(task) for task, item in record["tasks"].items()} == server.tasks(project)


def test_class_answers_go_the_same_way(judged, server, tmp_path):
    classes = small_classes(judged.manifest, judged.standing, min_images=1000)
    reviewer = LabelStudio()
    batch = judged.asking(classes, tmp_path, "small_classes-1")
    reviewer.push_classes(batch, judged.source)
    tasks = server.tasks(json.loads((tmp_path / "small_classes-1.label_studio.json").read_text())["project"])
    assert set(tasks) == set(judged.classes)
    server.annotate(tasks[NASTY], "remove")
    server.annotate(tasks["räksmörgås"], "keep")
    server.annotate(tasks["=cmd()"], "right")
    server.annotate(tasks["with space"], "merge", class_key(NASTY))
    lines = []
    found = reviewer.pull_classes(batch, lines.append).to_pylist()
    assert {answer["label"]: (answer["answer"], answer["new_label"]) for answer in found} == {
        NASTY: ("remove", None),
        "räksmörgås": ("keep", None),
        "with space": ("merge", NASTY),
    }
    assert len(lines) == 1 and "=cmd()" in lines[0]


def test_the_server_serves_the_files_or_browsers_fetch_them_from_a_prefix(demo, judged, asked, server, tmp_path):
    source = open_source(_under(demo, server.root))
    listing = source.listing().slice(0, 2)
    batch = asked.slice(0, 2).set_column(2, "path", listing.column("path"))
    local = LabelStudio(images="local_files", document_root=server.root)
    assert local.check(listing)
    shown = ReviewBatch("fine-1", tmp_path, batch, judged.manifest)
    local.push(shown, source)
    project = json.loads((tmp_path / "fine-1.label_studio.json").read_text())["project"]
    task = next(iter(server.client.tasks.list(project=project)))
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Token {TOKEN}"}) as client:
        served = client.get(task.data["image"])
    assert served.status_code == 200
    assert served.content == (server.root / "photos" / listing.column("path")[0].as_py()).read_bytes()
    outside = LabelStudio(images="local_files", document_root=server.root / "photos")
    with pytest.raises(ConfigError, match="must be files in a folder under it"):
        outside.push(
            replace(shown, name="fine-3", asked=batch.set_column(2, "path", pa.array(["one/x", "zero/y"]))), source
        )
    far = LabelStudio(images="url", url_prefix="https://example.com/photos/")
    far.push(replace(shown, name="fine-2"), source)
    project = json.loads((tmp_path / "fine-2.label_studio.json").read_text())["project"]
    images = {task.data["image"] for task in server.client.tasks.list(project=project)}
    assert images == {"https://example.com/photos/" + path for path in listing.column("path").to_pylist()}


def _under(demo: Path, root: Path) -> Path:
    for folder in ("zero", "one"):
        (root / "photos" / folder).mkdir(parents=True)
        for file in sorted((demo / "images" / folder).iterdir())[:5]:
            (root / "photos" / folder / file.name).write_bytes(file.read_bytes())
    return root / "photos"


def test_no_name_of_a_class_makes_a_page_that_is_no_xml():
    names = ["a\x01b", "c\x0bd", "\ufffe", "\ud800", "plain\ttab", "\x7f"]
    for page in (samples_page(names), classes_page(names)):
        choices = ElementTree.fromstring(page).findall(".//Taxonomy/Choice")
        assert len({choice.get("alias") for choice in choices}) == len(names)


def test_a_page_of_five_thousand_classes_is_one_that_the_server_takes(server):
    page = samples_page([f'{NASTY} & "{number}" \'\n\U0001f353' * 3 for number in range(5000)])
    assert len(ElementTree.fromstring(page).findall(".//Choice")) == 5000
    server.client.projects.create(title="many classes", label_config=page)


@pytest.mark.parametrize(
    ("name", "value", "error", "complaint"),
    [
        ("LABEL_STUDIO_URL", "", ConfigError, "LABEL_STUDIO_URL is not set"),
        ("LABEL_STUDIO_URL", "localhost:8080", ConfigError, "set it to the server's address"),
        ("LABEL_STUDIO_URL", "http://127.0.0.1:9", ServerError, "no answer from Label Studio"),
        ("LABEL_STUDIO_URL", "{url}/nowhere", ConfigError, "set LABEL_STUDIO_URL to the server itself"),
        ("LABEL_STUDIO_API_KEY", "", ConfigError, "LABEL_STUDIO_API_KEY is not set"),
        ("LABEL_STUDIO_API_KEY", "f" * 40, ConfigError, "refuses the token"),
    ],
)
def test_a_wrong_address_or_token_is_told_in_one_line(judged, server, monkeypatch, name, value, error, complaint):
    monkeypatch.setattr("cleaner.people.reviewers.label_studio.server._TRIES", 1)
    monkeypatch.setenv(name, value.format(url=server.url))
    with pytest.raises(error, match=complaint) as found:
        LabelStudio().check(judged.source.listing())
    assert "\n" not in str(found.value) and "f" * 40 not in str(found.value) and TOKEN not in str(found.value)


@pytest.mark.parametrize("faults", [[429], [503, 429], ["cut", 500], ["fine", "cut", "fine", 502]])
def test_what_passes_is_tried_again(judged, asked, server, tmp_path, monkeypatch, faults):
    with before(server.url) as faulty:
        monkeypatch.setenv("LABEL_STUDIO_URL", faulty.url)
        faulty.faults += faults
        assert EMAIL in LabelStudio().check(judged.source.listing())
        project = push(judged, asked, tmp_path)
        faulty.faults += faults
        assert pull(judged, asked, tmp_path) == {}
        assert faulty.faults == []
    assert len(server.tasks(project)) == len(asked)


@pytest.mark.parametrize("fault", ["heard", "cut", 500, 429])
@pytest.mark.parametrize("request_number", [0, 1, 3])
def test_a_push_in_the_midst_of_which_the_server_fails_is_completed_by_the_next(
    judged, asked, server, tmp_path, monkeypatch, fault, request_number
):
    monkeypatch.setattr("cleaner.people.reviewers.label_studio._PUSHED_AT_ONCE", 5)
    before_it = {project.id for project in server.client.projects.list()}
    with before(server.url) as faulty:
        monkeypatch.setenv("LABEL_STUDIO_URL", faulty.url)
        faulty.only = "POST"
        faulty.faults += ["fine"] * request_number + [fault]
        with pytest.raises(ServerError, match="give the same command again"):
            push(judged, asked, tmp_path)
        project = push(judged, asked, tmp_path)
    assert {found.id for found in server.client.projects.list()} - before_it == {project}
    assert set(server.tasks(project)) == set(asked.column("sample_id").to_pylist())


@pytest.mark.parametrize(("fault", "complaint"), [("page", "not as Label Studio"), (403, "refuses the token")])
def test_what_does_not_pass_is_told_in_one_line(judged, server, monkeypatch, fault, complaint):
    with before(server.url) as faulty:
        monkeypatch.setenv("LABEL_STUDIO_URL", faulty.url)
        faulty.faults += [fault] * 10
        with pytest.raises(ConfigError, match=complaint) as found:
            LabelStudio().check(judged.source.listing())
    assert "\n" not in str(found.value) and TOKEN not in str(found.value)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"images": "url", "url_prefix": "https://x/", "picture": 256}, "label_studio.picture: does nothing"),
        ({"document_root": Path("/")}, "label_studio.document_root: does nothing"),
        ({"url_prefix": "https://x/"}, "label_studio.url_prefix: does nothing where images = embedded"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(judged, settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        LabelStudio(**settings).check(judged.source.listing())


def test_a_project_that_was_deleted_is_told_and_can_be_sent_anew(judged, asked, server, tmp_path):
    project = push(judged, asked, tmp_path)
    server.client.projects.delete(id=project)
    with pytest.raises(ConfigError, match="no such project any more"):
        pull(judged, asked, tmp_path)
    (tmp_path / "fine-1.label_studio.json").unlink()
    assert set(server.tasks(push(judged, asked, tmp_path))) == set(asked.column("sample_id").to_pylist())


def test_where_two_disagree_a_third_is_asked_and_the_majority_holds(few_classes, server, tmp_path):
    run = tmp_path / "run"
    words = (
        "--reviewer",
        "label_studio",
        "--set",
        "review.first=2",
        "--set",
        "review.overlap=1",
    )
    done = clean_locally(few_classes / "images", run, *words, status=3)
    project = int(done.stderr.rpartition("/projects/")[2].partition("/")[0])
    people = [server.person(BO), server.person(CY)]
    items = sorted(server.tasks(project))
    assert len(items) > 4 and not len(items) % 2
    for place, item in enumerate(items):
        server.annotate(server.tasks(project)[item], "junk" if place else "right", completed_by=people[" " in item])
    assert "1 missing" in here("review", run).stdout
    (third,) = set(server.tasks(project)) - set(items)
    server.annotate(server.tasks(project)[third], "right")
    said = json.loads(here("review", run, "--json").stdout)
    (batch,) = said["batches"]
    assert (batch["asked"], batch["answered"], batch["missing"]) == (len(items) + 1, len(items) + 1, 0)
    assert {two["people"][0] for two in said["agreement"]} >= {BO}
    clean_locally(few_classes / "images", run, *words, "--set", "review.batches=0")
    verdicts = pq.read_table(run / "verdicts.parquet", filters=[("sample_id", "==", items[0].split()[0])]).to_pylist()
    assert (verdicts[0]["action"], verdicts[0]["by"]) == ("keep", f"person:{EMAIL}")


def test_a_run_waits_with_the_projects_address_and_goes_on_when_all_is_answered(demo, server, tmp_path):
    run = tmp_path / "run"
    words = (
        "--reviewer",
        "label_studio",
        "--set",
        "review.first=12",
        "--set",
        "review.max_samples=12",
    )
    truth = {line.split(",")[0]: line.split(",")[1] for line in (demo / "truth.csv").read_text().splitlines()[1:]}
    for _ in range(6):
        done = clean_locally(demo / "images", run, *words, status=None)
        if done.returncode == 0:
            break
        assert done.returncode == 3 and f"{server.url}/projects/" in done.stderr, done.stderr
        assert "Label Studio" in here("status", run).stdout
        project = int(done.stderr.rpartition("/projects/")[2].partition("/")[0])
        answer_truly(server, project, truth)
    assert done.returncode == 0
    said = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    assert {word["by"] for word in said} == {EMAIL} and len(said) > 10
    server.client.projects.delete(id=project)
    again = clean_locally(demo / "images", run, *words)
    assert "those of before hold" in again.stderr and "no such project any more" in again.stderr
    assert "those of before hold" in here("review", run).stderr
    for file in run.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


def answer_truly(server: Server, project: int, truth: dict[str, str]) -> None:
    for task in server.client.tasks.list(project=project, page_size=500, fields="all"):
        if task.annotations:
            continue
        path = task.data.get("path")
        if path is None:
            server.annotate(task.id, "keep")
        elif truth[path]:
            server.annotate(task.id, "another", class_key(truth[path]))
        else:
            server.annotate(task.id, "junk")


@needs_chromium()
def test_a_person_answers_by_keys(judged, asked, server, tmp_path):
    from playwright.sync_api import sync_playwright

    project = push(judged, asked.slice(0, 3), tmp_path)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{server.url}/user/login/", wait_until="commit")
        page.fill("[name=email]", EMAIL)
        page.fill("[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_function("!location.pathname.includes('login')")
        page.goto(f"{server.url}/projects/{project}/data?labeling=1", wait_until="commit")
        page.wait_for_selector("text=junk: shows no class", timeout=120_000)
        page.wait_for_selector("button:has-text('Submit')")
        page.keyboard.press("j")
        page.wait_for_selector("input[type=radio]:checked, .ant-radio-checked, [class*=checked]")
        with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
            page.keyboard.press("Control+Enter")
        browser.close()
    (found,) = pull(judged, asked, tmp_path).values()
    assert found["answer"] == "junk" and found["by"] == EMAIL and found["seconds"] > 0
