"""The Label Studio server: where it is, how it is asked, and what it refuses in a person's words."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cleaner.errors import ConfigError, ServerError
from cleaner.installed import with_extra

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio as Client

URL, KEY, PUBLIC_URL = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "LABEL_STUDIO_PUBLIC_URL"
TIMEOUT = 120
"""Seconds."""
_TRIES = 4


def address() -> str:
    return os.environ.get(URL, "").rstrip("/")


def public_address() -> str:
    """Where people reach it."""
    return os.environ.get(PUBLIC_URL, "").rstrip("/") or address()


def options() -> Any:
    """Of a request that may be sent twice."""
    return {"max_retries": _TRIES, "timeout_in_seconds": TIMEOUT}


@contextmanager
def connected() -> Iterator["Client"]:
    """The server; the token is in no error.

    Raises:
        ConfigError: the address or the token is missing or wrong, or the project is gone.
        ServerError: the server is down, or fails.
    """
    url, key = address(), os.environ.get(KEY, "")
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"{URL} is {url or 'not set'}; set it to the server's address, http://127.0.0.1:8080")
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
        yield Client(base_url=url, api_key=key, timeout=TIMEOUT)
    except httpx.HTTPError as error:
        what = f"{url}: no answer from Label Studio ({type(error).__name__})"
        raise ServerError(f"{what}; see that it runs and {URL} is right, and give the same command again") from None
    except ApiError as error:
        raise _refusal(url, error.status_code or 0, error.body) from None
    except (ValidationError, json.JSONDecodeError):
        raise ConfigError(f"{url}: answers, but not as Label Studio does; set {URL} to the server itself") from None


def _refusal(url: str, status: int, body: Any) -> ConfigError | ServerError:
    if status in (401, 403):
        return ConfigError(f"{url}: Label Studio refuses the token ({status}); set {KEY} to a valid one")
    if isinstance(body, str):
        if status >= 500:
            return ServerError(f"{url}: Label Studio fails ({status}); give the same command again later")
        return ConfigError(
            f"{url}: answers with a page ({status}), not as Label Studio; set {URL} to the server itself"
        )
    if status == 404:
        remedy = "delete the batch's .label_studio.json to send it anew; what was answered holds"
        return ConfigError(f"{url}: Label Studio has no such project any more; {remedy}")
    detail = body.get("detail", "") if isinstance(body, dict) else ""
    details = body.get("validation_errors", "") if isinstance(body, dict) else ""
    if status == 429 or status >= 500:
        return ServerError(f"{url}: Label Studio fails ({status} {detail}); give the same command again later")
    return ConfigError(f"{url}: Label Studio refuses ({status} {detail} {str(details)[:200]})")


def project_for(client: "Client", title: str, mark: str, page: str, more: int) -> int:
    """The project whose description is `mark`; made where there is none."""
    project: Any
    for project in client.projects.list(request_options=options()):
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


def serve_files(client: "Client", project: int, folder: Path) -> None:
    """Let the server serve the files in `folder`; without such a storage it serves none."""
    if not list(client.import_storage.local.list(project=project, request_options=options())):
        client.import_storage.local.create(
            project=project, path=str(folder), use_blob_urls=True, title="images", request_options=options()
        )


def greater(column: str, kind: str, value: Any) -> str:
    """A query for the tasks whose `column` is greater than `value`."""
    later = {"filter": f"filter:tasks:{column}", "operator": "greater", "type": kind, "value": value}
    return json.dumps({"filters": {"conjunction": "and", "items": [later]}})
