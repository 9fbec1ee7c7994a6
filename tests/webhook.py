"""Where people are told what they are told."""

import http.server
import json
import threading


class Team(http.server.ThreadingHTTPServer):
    """A webhook at which people are told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.told: list[dict[str, str]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """As Apprise takes it."""
        return f"json://127.0.0.1:{self.server_address[1]}/a-secret"

    def about(self, title: str) -> list[str]:
        return [told["message"] for told in self.told if told["title"] == title]


class Hook(http.server.BaseHTTPRequestHandler):
    server: Team

    def do_POST(self) -> None:
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
