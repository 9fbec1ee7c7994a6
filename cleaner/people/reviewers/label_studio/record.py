"""What of a batch was sent where: NAME.label_studio.json beside it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cleaner.errors import AnswerError
from cleaner.people.reviewers import ReviewBatch
from cleaner.people.reviewers.label_studio.server import (
    TIMEOUT,
    URL,
    address,
    connected,
    greater,
    options,
    project_for,
    serve_files,
)
from cleaner.progress import track
from cleaner.run.files import digest, write_json

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio as Client

About = TypeVar("About")
_LISTED_AT_ONCE = 100


@dataclass
class Record:
    """The server's address, the project's number, and of each task, by its id as text, the item that it is about: the
    samples' ids or the class."""

    server: str
    project: int
    tasks: dict[str, str]

    @classmethod
    def read(cls, file: Path) -> "Record":
        try:
            kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            record = cls(kept.get("server", ""), int(kept.get("project", 0)), dict(kept.get("tasks", {})))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            remedy = "restore it from a copy, or delete it: the project is then looked for"
            raise AnswerError(f"{file}: is damaged ({error}); {remedy}") from error
        if address() and record.server not in ("", address()):
            what = f"this batch was sent to {record.server}, and {URL} is {address()}"
            raise AnswerError(f"{file}: {what}; set {URL} back, or delete the file to send it anew")
        return record

    def write(self, file: Path) -> None:
        write_json(file, {"server": self.server, "project": self.project, "tasks": self.tasks})

    def learn(self, client: "Client") -> None:
        """Add tasks that a push brought to the server before it could write them down."""
        newest = max(map(int, self.tasks), default=0)
        query = greater("id", "Number", newest)
        pages: Any = client.tasks.list(
            project=self.project, query=query, page_size=_LISTED_AT_ONCE, request_options=options()
        )
        self.tasks |= {str(task.id): str((task.data or {}).get("item", "")) for task in pages}

    def add(self, client: "Client", tasks: list[Any]) -> None:
        """Send `tasks`. Where it isn't known whether they arrived the server is asked, so that none is sent twice."""
        request: Any = [{"data": task} for task in tasks]
        sent: Any = client.projects.import_tasks(
            id=self.project,
            request=request,
            return_task_ids=True,
            request_options={"max_retries": 0, "timeout_in_seconds": TIMEOUT},
        )
        ids = sent.task_ids or []
        if len(ids) == len(tasks):
            self.tasks |= {str(number): task["item"] for number, task in zip(ids, tasks, strict=True)}
        else:
            self.learn(client)


def record_file(name: str, folder: Path) -> Path:
    return folder / f"{name}.label_studio.json"


def about(item: str) -> list[str]:
    """The samples, by their ids, of an item."""
    return item.partition(" ")[0].split(",")


def send(
    batch: ReviewBatch,
    page: str,
    items: list[tuple[str, About]],
    tasks: Callable[[list[tuple[str, About]]], list[Any]],
    *,
    at_once: int,
    served: Path | None = None,
) -> None:
    """Complete the project: find or make it, then add those of the tasks, by their items, that it lacks; the server may
    serve the files in `served`."""
    file = record_file(batch.name, batch.folder)
    record = Record.read(file)
    if record.project and {*record.tasks.values()} >= {item for item, _ in items}:
        return
    with connected() as client:
        if not record.project:
            once = sorted({sample for item, _ in items for sample in about(item)})
            mark = f"cleaner {digest(str(batch.folder.resolve()), batch.name, once)}"
            title = f"{batch.folder.parent.name}: {batch.name}"
            record = Record(address(), project_for(client, title, mark, page, batch.more), {})
            record.write(file)
        if served is not None:
            serve_files(client, record.project, served)
        record.learn(client)
        record.write(file)
        known = set(record.tasks.values())
        left = [item for item in items if item[0] not in known]
        spans = range(0, len(left), at_once)
        for start in track(spans, len(spans), "parts of the batch sent"):
            record.add(client, tasks(left[start : start + at_once]))
            record.write(file)
