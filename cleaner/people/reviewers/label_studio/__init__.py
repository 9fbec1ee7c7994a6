"""Label Studio, for teams: a project for each batch on a server of theirs, and the answers back.

The server's address and a user's token come from the environment, LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY; where
people reach it by another address, as from outside a container, that is LABEL_STUDIO_PUBLIC_URL.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import pyarrow as pa
from pydantic import Field

from cleaner.data.sources import Source
from cleaner.errors import ConfigError
from cleaner.pages import contact_sheets, pictures
from cleaner.people.reviewers import ReviewBatch
from cleaner.people.reviewers.label_studio.page import (
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
from cleaner.people.reviewers.label_studio.record import Record, about, record_file, send
from cleaner.people.reviewers.label_studio.server import address, connected, greater, options, public_address
from cleaner.progress import track
from cleaner.tables import ANSWERS, CLASS_ANSWERS, Answer, HowAsked

_PUSHED_AT_ONCE = 100
_PAGES_AT_ONCE = 10
_PULLED_AT_ONCE = 500
_REFERENCE = 128
_EXAMPLE = 192
_IN_PAGE = 224
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
        with connected() as client:
            name = client.users.whoami(request_options=options()).email
        return f"people are asked in Label Studio at {address()}, as {name}"

    def push(self, batch: ReviewBatch, source: Source) -> None:
        manifest = batch.manifest

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

        served = self._served(batch.asked, source) if self.images == "local_files" else None
        items = _each_person(batch.asked)
        if _in_pages(batch.asked):
            send(batch, grid_page(), items, grids, at_once=_PAGES_AT_ONCE, served=served)
        else:
            send(batch, samples_page(batch.classes), items, tasks, at_once=_PUSHED_AT_ONCE, served=served)

    def push_classes(self, batch: ReviewBatch, source: Source) -> None:
        def tasks(items: list[tuple[str, dict[str, Any]]]) -> list[Any]:
            wanted = {label: entry["examples"] for label, entry in items}
            sheets = contact_sheets(source, batch.manifest, wanted, side=_EXAMPLE, across=4)
            return [class_task(entry, sheets.get(label)) for label, entry in items]

        items = [(entry["label"], entry) for entry in batch.asked.to_pylist()]
        send(batch, classes_page(batch.classes), items, tasks, at_once=_PUSHED_AT_ONCE)

    def pull(self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None) -> pa.Table:
        asked = batch.asked
        samples = {sample["sample_id"]: sample for sample in asked.select(["sample_id", "path", "label"]).to_pylist()}
        names = {class_key(label): label for label in batch.classes}
        in_pages, found = _in_pages(asked), list[dict[str, Any]]()
        tasks: dict[tuple[str, str], set[str]] = {}
        for item, who, annotation in _annotations(batch, say, since):
            of_task = [samples[sample] for sample in about(item)]
            when = _when(annotation, of=len(of_task))
            try:
                answers = _answers(annotation, of_task, names, in_pages=in_pages)
            except ValueError as problem:
                say(f"{batch.name}: {of_task[0]['path']}: {problem}, by {who}; it counts as not answered")
                continue
            for sample, (answer, new_label) in answers.items():
                found.append({"sample_id": sample, "answer": answer, "new_label": new_label, "by": who, **when})
                tasks.setdefault((sample, who), set()).add(item)
        for row in found:
            # It answered the task for somebody else too: nobody else is waited for, who would find none.
            if len(tasks[row["sample_id"], row["by"]]) > 1:
                row["asked"] = HowAsked.ONCE.value
        return pa.Table.from_pylist(found, pa.schema([*ANSWERS, *_TIMED, pa.field("asked", pa.string())]))

    def pull_classes(
        self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None
    ) -> pa.Table:
        names = {class_key(label): label for label in batch.classes}
        found = []
        for item, who, annotation in _annotations(batch, say, since):
            if annotation.get("was_cancelled"):
                continue
            try:
                answer, new_label = read_class_result(annotation["result"], item, names)
            except ValueError as problem:
                say(f"{batch.name}: class {item}: {problem}, by {who}; it counts as not answered")
                continue
            when = _when(annotation, of=1)
            found.append({"label": item, "answer": answer, "new_label": new_label, **when, "by": who})
        return pa.Table.from_pylist(found, pa.schema([*CLASS_ANSWERS, *_TIMED]))

    def todo(self, name: str, folder: Path) -> str:
        project = Record.read(record_file(name, folder)).project
        return f"answer in Label Studio: {public_address()}/projects/{project}/data?labeling=1"

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

    def _served(self, asked: pa.Table, source: Source) -> Path:
        """The folder that holds all images of the batch.

        Raises:
            ConfigError: it is not under the server's document root.
        """
        root = (self.document_root or Path()).resolve()
        files = [source.file(path) for path in asked.column("path").to_pylist()]
        folders = [file.resolve().parent for file in files if file is not None]
        common = Path(os.path.commonpath(folders)) if folders else root
        if len(folders) < len(files) or common == root or not common.is_relative_to(root):
            what = f"reviewers.label_studio.document_root = {root}: the images must be files in a folder under it"
            raise ConfigError(f"{what}, for so Label Studio wants it; move them, or leave images = embedded")
        return common


def _annotations(
    batch: ReviewBatch, say: Callable[[str], None], since: datetime | None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every annotation of the tasks that changed after `since`: what it is about, by whom, and what it says, in the
    order of the tasks."""
    name, record = batch.name, Record.read(record_file(batch.name, batch.folder))
    unknown = 0
    if not record.project:
        say(f"{name}: was not sent yet; the `cleaner clean` command sends it")
        return
    with connected() as client:
        people = {user.id: user.email for user in client.users.list(request_options=options())}
        wanted = "id,annotations,result,completed_by,lead_time,was_cancelled,updated_at"
        pages: Any = client.tasks.list(
            project=record.project,
            fields="all",
            include=wanted,
            query=None if since is None else _changed(since),
            page_size=_PULLED_AT_ONCE,
            request_options=options(),
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


def _changed(since: datetime) -> str:
    return greater("updated_at", "Datetime", since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def _share_of(sample_id: str) -> float:
    """A number in [0, 1) that is the same for the same sample."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=4).digest()) / 2**32


def _answers(
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
