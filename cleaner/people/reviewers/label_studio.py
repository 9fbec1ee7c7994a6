"""Label Studio, for teams: a project for each batch on a server of theirs, and the answers back.

The server's address and a user's token come from the environment, LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY; where
people reach it by another address, as from outside a container, that is LABEL_STUDIO_PUBLIC_URL.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import quote, urlsplit

import pyarrow as pa
from pydantic import Field

from cleaner.data.sources import Source
from cleaner.errors import AnswerError, ConfigError, ServerError
from cleaner.installed import with_extra
from cleaner.pages import contact_sheets, pictures
from cleaner.people.labeling_page import (
    class_key,
    class_task,
    classes_page,
    grid_page,
    grid_task,
    read_class_result,
    read_grid_result,
    read_result,
    sample_task,
    samples_page,
)
from cleaner.progress import track
from cleaner.run.files import digest, write_json
from cleaner.tables import ANSWERS, CLASS_ANSWERS, Answer, Classes, HowAsked

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio as Client

URL, KEY, PUBLIC_URL = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "LABEL_STUDIO_PUBLIC_URL"
_PUSHED_AT_ONCE = 100
_PAGES_AT_ONCE = 10
_PULLED_AT_ONCE = 500
_TRIES = 4
_TIMEOUT = 120
_REFERENCE = 128
_EXAMPLE = 192
_IN_PAGE = 224
About = TypeVar("About")
_TIMED = (pa.field("at", pa.string()), pa.field("seconds", pa.float64()))


@dataclass(frozen=True)
class LabelStudio:
    """One project a batch, a task for each person who is asked about a sample; what a person skips they can't tell."""

    several: ClassVar[bool] = True

    images: Annotated[
        Literal["embedded", "local_files", "url"],
        Field(
            description="`embedded`: thumbnails travel in the tasks, which works with every server; `local_files`: the"
            " server reads the files, where it sees the data set's folder under its document root; `url`: people's"
            " browsers fetch them from `url_prefix`"
        ),
    ] = "embedded"
    picture: Annotated[int, Field(ge=64, le=2048, description="side in pixels of embedded thumbnails")] = 512
    document_root: Annotated[
        Path | None,
        Field(description="for `local_files`: the server's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT, as it lies here"),
    ] = None
    url_prefix: Annotated[str, Field(description="for `url`: what goes before a sample's path to make its address")] = (
        ""
    )
    blind_share: Annotated[
        float, Field(ge=0, le=1, description="share of the samples that are shown without any guess")
    ] = 0.1

    def check(self, samples: pa.Table) -> str:
        if self.images == "local_files" and self.document_root is None:
            raise ConfigError("reviewers.label_studio.images = local_files: wants reviewers.label_studio.document_root")
        if self.images == "url" and not self.url_prefix:
            raise ConfigError("reviewers.label_studio.images = url: wants reviewers.label_studio.url_prefix")
        idle = {
            "picture": ("embedded", self.picture != LabelStudio.picture),
            "document_root": ("local_files", self.document_root is not None),
            "url_prefix": ("url", bool(self.url_prefix)),
        }
        for name, (images, is_set) in idle.items():
            if is_set and self.images != images:
                what = f"does nothing where images = {self.images}, only where images = {images}; leave it out"
                raise ConfigError(f"reviewers.label_studio.{name}: {what}")
        with _server() as client:
            name = client.users.whoami(request_options=_options()).email
        return f"people are asked in Label Studio at {_address()}, as {name}"

    def push(
        self,
        batch: pa.Table,
        name: str,
        folder: Path,
        *,
        source: Source,
        manifest: pa.Table,
        classes: tuple[str, ...],
        more: int = 0,
    ) -> None:
        def tasks(items: list[tuple[str, list[dict[str, Any]]]]) -> list[Any]:
            samples = [sample for _, (sample,) in items]
            shown = self._shown(samples, source, manifest, self.picture)
            wanted = {(s["sample_id"], of): s[f"{of}_references"] for s in samples for of in ("given", "guess")}
            strips = contact_sheets(source, manifest, wanted, side=_REFERENCE, across=3)
            return [
                sample_task(
                    item,
                    sample,
                    {"image": shown[sample["sample_id"]]}
                    | {of: strips[key] for of in ("given", "guess") if (key := (sample["sample_id"], of)) in strips},
                    blind=_share_of(sample["sample_id"]) < self.blind_share,
                )
                for item, (sample,) in items
            ]

        def grids(items: list[tuple[str, list[dict[str, Any]]]]) -> list[Any]:
            shown = self._shown([sample for _, page in items for sample in page], source, manifest, _IN_PAGE)
            wanted = {item: page[0]["given_references"] for item, page in items}
            strips = contact_sheets(source, manifest, wanted, side=_REFERENCE, across=3)
            return [grid_task(item, page, shown, strips.get(item)) for item, page in items]

        served = self._served(batch, source) if self.images == "local_files" else None
        items = _each_person(batch)
        if _in_pages(batch):
            self._push(name, folder, grid_page(), items, grids, at_once=_PAGES_AT_ONCE, more=more, served=served)
        else:
            self._push(
                name, folder, samples_page(classes), items, tasks, at_once=_PUSHED_AT_ONCE, more=more, served=served
            )

    def push_classes(
        self, asked: pa.Table, name: str, folder: Path, *, source: Source, manifest: pa.Table, more: int = 0
    ) -> None:
        def tasks(items: list[tuple[str, dict[str, Any]]]) -> list[Any]:
            wanted = {label: entry["examples"] for label, entry in items}
            sheets = contact_sheets(source, manifest, wanted, side=_EXAMPLE, across=4)
            return [class_task(entry, sheets.get(label)) for label, entry in items]

        items = [(entry["label"], entry) for entry in asked.to_pylist()]
        self._push(
            name, folder, classes_page(Classes.of(manifest).names), items, tasks, at_once=_PUSHED_AT_ONCE, more=more
        )

    def pull(
        self,
        name: str,
        folder: Path,
        batch: pa.Table,
        classes: tuple[str, ...],
        say: Callable[[str], None],
        *,
        since: datetime | None = None,
    ) -> pa.Table:
        samples = {sample["sample_id"]: sample for sample in batch.select(["sample_id", "path", "label"]).to_pylist()}
        names = {class_key(label): label for label in classes}
        in_pages, found = _in_pages(batch), list[dict[str, Any]]()
        tasks: dict[tuple[str, str], set[str]] = {}
        for item, who, annotation in self._annotations(name, folder, say, since):
            asked = [samples[sample] for sample in _about(item)]
            when = _when(annotation, of=len(asked))
            try:
                said = _said(annotation, asked, names, in_pages=in_pages)
            except ValueError as problem:
                say(f"{name}: {asked[0]['path']}: {problem}, by {who}; it counts as not answered")
                continue
            for sample, (answer, new_label) in said.items():
                found.append({"sample_id": sample, "answer": answer, "new_label": new_label, "by": who, **when})
                tasks.setdefault((sample, who), set()).add(item)
        for word in found:
            # It answered the task for somebody else too: nobody else is waited for, who would find none.
            if len(tasks[word["sample_id"], word["by"]]) > 1:
                word["asked"] = HowAsked.ONCE.value
        return pa.Table.from_pylist(found, pa.schema([*ANSWERS, *_TIMED, pa.field("asked", pa.string())]))

    def pull_classes(
        self,
        name: str,
        folder: Path,
        asked: pa.Table,
        manifest: pa.Table,
        say: Callable[[str], None],
        *,
        since: datetime | None = None,
    ) -> pa.Table:
        names = {class_key(label): label for label in Classes.of(manifest).names}
        found = []
        for item, who, annotation in self._annotations(name, folder, say, since):
            if annotation.get("was_cancelled"):
                continue
            try:
                answer, new_label = read_class_result(annotation["result"], item, names)
            except ValueError as problem:
                say(f"{name}: class {item}: {problem}, by {who}; it counts as not answered")
                continue
            when = _when(annotation, of=1)
            found.append({"label": item, "answer": answer, "new_label": new_label, **when, "by": who})
        return pa.Table.from_pylist(found, pa.schema([*CLASS_ANSWERS, *_TIMED]))

    def todo(self, name: str, folder: Path) -> str:
        project = _Record.read(_file(name, folder)).project
        address = os.environ.get(PUBLIC_URL, "").rstrip("/") or _address()
        return f"answer in Label Studio: {address}/projects/{project}/data?labeling=1"

    def _shown(self, samples: list[dict[str, Any]], source: Source, manifest: pa.Table, side: int) -> dict[str, str]:
        """What shows each sample, by its id: an address, or a thumbnail of `side` pixels."""
        if self.images == "embedded":
            sides = {sample["row"]: side for sample in samples}
            thumbnails = pictures(source, manifest, sides, enlarge=True)
            return {sample["sample_id"]: thumbnails.get(sample["row"], "") for sample in samples}
        if self.images == "url":
            return {sample["sample_id"]: self.url_prefix + quote(sample["path"]) for sample in samples}
        return {sample["sample_id"]: self._local(source, sample["path"]) for sample in samples}

    def _local(self, source: Source, path: str) -> str:
        file, root = source.file(path), self.document_root
        assert file is not None and root is not None, "_served has looked"
        return f"/data/local-files/?d={quote(file.resolve().relative_to(root.resolve()).as_posix())}"

    def _served(self, batch: pa.Table, source: Source) -> Path:
        """The folder that holds all images of the batch.

        Raises:
            ConfigError: it is not under the server's document root.
        """
        root = (self.document_root or Path()).resolve()
        files = [source.file(path) for path in batch.column("path").to_pylist()]
        folders = [file.resolve().parent for file in files if file is not None]
        common = Path(os.path.commonpath(folders)) if folders else root
        if len(folders) < len(files) or common == root or not common.is_relative_to(root):
            what = f"reviewers.label_studio.document_root = {root}: the images must be files in a folder under it"
            raise ConfigError(f"{what}, for so Label Studio wants it; move them, or leave images = embedded")
        return common

    def _push(
        self,
        name: str,
        folder: Path,
        page: str,
        items: list[tuple[str, About]],
        tasks: Callable[[list[tuple[str, About]]], list[Any]],
        *,
        at_once: int,
        more: int,
        served: Path | None = None,
    ) -> None:
        """Complete the project: find or make it, then add those of the tasks, by their items, that it lacks; the server
        may serve `served`."""
        file = _file(name, folder)
        record = _Record.read(file)
        if record.project and {*record.tasks.values()} >= {item for item, _ in items}:
            return
        with _server() as client:
            if not record.project:
                once = sorted({about for item, _ in items for about in _about(item)})
                mark = f"cleaner {digest(str(folder.resolve()), name, once)}"
                record = _Record(_address(), _project(client, f"{folder.parent.name}: {name}", mark, page, more), {})
                record.write(file)
            if served is not None:
                _connect(client, record.project, served)
            record.learn(client)
            record.write(file)
            known = set(record.tasks.values())
            left = [item for item in items if item[0] not in known]
            spans = range(0, len(left), at_once)
            for start in track(spans, len(spans), "parts of the batch sent"):
                part = left[start : start + at_once]
                record.add(client, tasks(part))
                record.write(file)

    def _annotations(
        self, name: str, folder: Path, say: Callable[[str], None], since: datetime | None
    ) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Every annotation of the tasks that changed after `since`: what it is about, by whom, and what it says, in the
        order of the tasks."""
        record = _Record.read(_file(name, folder))
        unknown = 0
        if not record.project:
            say(f"{name}: was not sent yet; the `cleaner clean` command sends it")
            return
        with _server() as client:
            people = {user.id: user.email for user in client.users.list(request_options=_options())}
            wanted = "id,annotations,result,completed_by,lead_time,was_cancelled,updated_at"
            pages: Any = client.tasks.list(
                project=record.project,
                fields="all",
                include=wanted,
                query=None if since is None else _changed(since),
                page_size=_PULLED_AT_ONCE,
                request_options=_options(),
            )
            for task in track(pages, len(record.tasks), "answers fetched"):
                item = record.tasks.get(str(task.id))
                if item is None:
                    unknown += 1
                    continue
                annotations = task.dict().get("annotations") or []
                # Who skips what another answered has not spoken against it.
                answered = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
                for annotation in answered or annotations:
                    who = people.get(annotation.get("completed_by"), f"user {annotation.get('completed_by')}")
                    yield item, who, annotation
        if unknown:
            say(f"{name}: {unknown} tasks of the project are none of this batch, and are left out")


@dataclass
class _Record:
    """What was pushed where: NAME.label_studio.json beside the batch. `tasks`: the task's id as text -> the item."""

    server: str
    project: int
    tasks: dict[str, str]

    @classmethod
    def read(cls, file: Path) -> "_Record":
        try:
            said = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            record = cls(said.get("server", ""), int(said.get("project", 0)), dict(said.get("tasks", {})))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            remedy = "restore it from a copy, or delete it: the project is then looked for"
            raise AnswerError(f"{file}: is damaged ({error}); {remedy}") from error
        if _address() and record.server not in ("", _address()):
            what = f"this batch was sent to {record.server}, and {URL} is {_address()}"
            raise AnswerError(f"{file}: {what}; set {URL} back, or delete the file to send it anew")
        return record

    def write(self, file: Path) -> None:
        write_json(file, {"server": self.server, "project": self.project, "tasks": self.tasks})

    def learn(self, client: "Client") -> None:
        """Add tasks that a push brought to the server before it could write them down."""
        newest = max(map(int, self.tasks), default=0)
        query = _greater("id", "Number", newest)
        pages: Any = client.tasks.list(
            project=self.project, query=query, page_size=_PUSHED_AT_ONCE, request_options=_options()
        )
        self.tasks |= {str(task.id): str((task.data or {}).get("item", "")) for task in pages}

    def add(self, client: "Client", tasks: list[Any]) -> None:
        """Send `tasks`. Where it isn't known whether they arrived the server is asked, so that none is sent twice."""
        request: Any = [{"data": task} for task in tasks]
        sent: Any = client.projects.import_tasks(
            id=self.project,
            request=request,
            return_task_ids=True,
            request_options={"max_retries": 0, "timeout_in_seconds": _TIMEOUT},
        )
        ids = sent.task_ids or []
        if len(ids) == len(tasks):
            self.tasks |= {str(number): task["item"] for number, task in zip(ids, tasks, strict=True)}
        else:
            self.learn(client)


def _in_pages(batch: pa.Table) -> bool:
    return batch.column("page").null_count < len(batch)


def _each_person(batch: pa.Table) -> list[tuple[str, list[dict[str, Any]]]]:
    """An item and the samples of a page, or one sample alone, for each person who is asked about it; the second comes
    half a batch away, where another person may be at work. A third is asked about single samples."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for place, sample in enumerate(batch.to_pylist()):
        groups.setdefault(sample["page"] or -1 - place, []).append(sample)
    half = len(groups) / 2
    placed = []
    for place, group in enumerate(groups.values()):
        placed.append((float(place), group, ""))
        placed += [((place + half) % len(groups), [s for s in group if s["people"] > 1], " 2")]
        placed += [(float(place), [sample], " 3") for sample in group if sample["people"] > 2]
    placed.sort(key=itemgetter(0))
    return [(",".join(sample["sample_id"] for sample in asked) + which, asked) for _, asked, which in placed if asked]


def _about(item: str) -> list[str]:
    """The samples, by their ids, of an item."""
    return item.partition(" ")[0].split(",")


def _project(client: "Client", title: str, mark: str, page: str, more: int) -> int:
    """The project whose description is `mark`; made where there is none."""
    project: Any
    for project in client.projects.list(request_options=_options()):
        if project.description == mark:
            return int(project.id or 0)
    made = client.projects.create(
        title=title[:50],
        description=mark,
        label_config=page,
        expert_instruction=f"This is one batch of images to judge; at most {more} more may come after it.",
        sampling="Sequential sampling",
        maximum_annotations=1,
        show_collab_predictions=False,
        request_options={"max_retries": 0},
    )
    return int(made.id or 0)


def _connect(client: "Client", project: int, folder: Path) -> None:
    """Let the server serve the files in `folder`; without such a storage it serves none."""
    if not list(client.import_storage.local.list(project=project, request_options=_options())):
        client.import_storage.local.create(
            project=project, path=str(folder), use_blob_urls=True, title="images", request_options=_options()
        )


def _changed(since: datetime) -> str:
    return _greater("updated_at", "Datetime", since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def _greater(column: str, kind: str, value: Any) -> str:
    """A query for tasks."""
    later = {"filter": f"filter:tasks:{column}", "operator": "greater", "type": kind, "value": value}
    return json.dumps({"filters": {"conjunction": "and", "items": [later]}})


def _file(name: str, folder: Path) -> Path:
    return folder / f"{name}.label_studio.json"


def _share_of(sample_id: str) -> float:
    """A number in [0, 1) that is the same for the same sample."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=4).digest()) / 2**32


def _said(
    annotation: dict[str, Any], asked: list[dict[str, Any]], names: dict[str, str], *, in_pages: bool
) -> dict[str, tuple[str, str | None]]:
    """The answer and the new label that one annotation gives to each sample that it is about."""
    ids = [sample["sample_id"] for sample in asked]
    if annotation.get("was_cancelled"):
        return dict.fromkeys(ids, (Answer.UNSURE.value, None))
    if in_pages:
        return read_grid_result(annotation["result"], ids)
    return {ids[0]: read_result(annotation["result"], asked[0]["label"], names)}


def _when(annotation: dict[str, Any], *, of: int) -> dict[str, Any]:
    """When one annotation was made, and how long it took for each of the `of` samples that it is about."""
    at = datetime.fromisoformat(str(annotation["updated_at"])).astimezone(UTC).isoformat(timespec="microseconds")
    seconds = annotation.get("lead_time")
    return {"at": at, "seconds": None if seconds is None else float(seconds) / of}


def _options() -> Any:
    return {"max_retries": _TRIES, "timeout_in_seconds": _TIMEOUT}


def _address() -> str:
    return os.environ.get(URL, "").rstrip("/")


@contextmanager
def _server() -> Iterator["Client"]:
    """The server, and what it refuses in a person's words; the token is in none of them.

    Raises:
        ConfigError: the address or the token is missing or wrong, or the project is gone.
        ServerError: the server is down, or fails.
    """
    address, key = _address(), os.environ.get(KEY, "")
    if urlsplit(address).scheme not in ("http", "https"):
        raise ConfigError(f"{URL} is {address or 'not set'}; set it to the server's address, http://127.0.0.1:8080")
    if not key:
        raise ConfigError(f"{KEY} is not set; set it to a token from Label Studio's Account & Settings")
    try:
        import httpx
        from label_studio_sdk import LabelStudio as Client
        from label_studio_sdk.core.api_error import ApiError
        from pydantic import ValidationError
    except ImportError as error:
        raise ConfigError(f"--reviewer label_studio needs: {with_extra('label-studio')}") from error
    try:
        yield Client(base_url=address, api_key=key, timeout=_TIMEOUT)
    except httpx.HTTPError as error:
        what = f"{address}: no answer from Label Studio ({type(error).__name__})"
        raise ServerError(f"{what}; see that it runs and {URL} is right, and give the same command again") from None
    except ApiError as error:
        raise _refusal(address, error.status_code or 0, error.body) from None
    except (ValidationError, json.JSONDecodeError):
        raise ConfigError(f"{address}: answers, but not as Label Studio does; set {URL} to the server itself") from None


def _refusal(address: str, status: int, body: Any) -> ConfigError | ServerError:
    if status in (401, 403):
        return ConfigError(f"{address}: Label Studio refuses the token ({status}); set {KEY} to a valid one")
    if isinstance(body, str):
        if status >= 500:
            return ServerError(f"{address}: Label Studio fails ({status}); give the same command again later")
        return ConfigError(
            f"{address}: answers with a page ({status}), not as Label Studio; set {URL} to the server itself"
        )
    if status == 404:
        remedy = "delete the batch's .label_studio.json to send it anew; what was answered holds"
        return ConfigError(f"{address}: Label Studio has no such project any more; {remedy}")
    said = body.get("detail", "") if isinstance(body, dict) else ""
    details = body.get("validation_errors", "") if isinstance(body, dict) else ""
    if status == 429 or status >= 500:
        return ServerError(f"{address}: Label Studio fails ({status} {said}); give the same command again later")
    return ConfigError(f"{address}: Label Studio refuses ({status} {said} {str(details)[:200]})")
