"""A server that stands before a real one, and fails as told."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<!doctype html><html><body>Sign in to the proxy</body></html>"


@dataclass
class Faulty:
    """`faults` are used up one a request: a status to answer with, `page` (200, but a page), `cut` (no answer), `heard`
    (passed on, and then no answer), or `fine` (passed on)."""

    url: str
    only: str = ""
    """The one method whose requests fail."""
    faults: list[int | str] = field(default_factory=list)


@contextmanager
def before(real: str) -> Iterator[Faulty]:
    """Requests are passed on to `real` where no fault is due."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            due = faulty.faults and faulty.only in ("", self.command)
            fault = faulty.faults.pop(0) if due else "fine"
            if fault == "page":
                self._send(200, "text/html", PAGE)
            elif isinstance(fault, int):
                self._send(fault, "text/html" if fault >= 500 else "application/json", b"{}" if fault < 500 else PAGE)
            elif fault == "cut":
                self.close_connection = True
            else:
                answer = self._passed_on(body)
                if fault == "heard":
                    self.close_connection = True
                else:
                    self._send(*answer)

        def _passed_on(self, body: bytes) -> tuple[int, str, bytes]:
            kept = {
                name: value for name, value in self.headers.items() if name.lower() in ("authorization", "content-type")
            }
            request = urllib.request.Request(real + self.path, body or None, kept, method=self.command)
            try:
                with urllib.request.urlopen(request) as answer:
                    return answer.status, answer.headers["Content-Type"] or "", answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.headers["Content-Type"] or "", error.read()

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

        do_GET = do_POST = _answer  # noqa: N815 - the names that the library calls

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        faulty = Faulty(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield faulty
        server.shutdown()
