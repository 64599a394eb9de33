"""Run the visits server: a small HTTP source that is down when it is asked first, and comes back."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zlib import crc32

from django.core.management.base import BaseCommand, CommandError


class VisitsServer(ThreadingHTTPServer):
    """
    Answer ``/visits?report=7&photos=1,2`` with how often each photograph was visited.

    Of each report the first ``failures`` requests fail: the first with a connection that is closed without a word, the
    second with 503, and so on in turn.
    """

    daemon_threads = True
    #: Whether requests are passed over in the log.
    quiet = False

    def __init__(self, address: tuple[str, int], failures: int) -> None:
        super().__init__(address, VisitsHandler)
        self.failures = failures
        self.attempts: Counter[str] = Counter()
        self.lock = Lock()

    def attempt(self, report: str) -> int:
        """Count a request for a report; return its number, from 1."""
        with self.lock:
            self.attempts[report] += 1
            return self.attempts[report]


class VisitsHandler(BaseHTTPRequestHandler):
    """One request."""

    server: VisitsServer

    def do_GET(self) -> None:
        """Answer, or be down."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/":
            self.answer(200, {"up": True})
        elif parts.path != "/visits" or "report" not in query:
            self.answer(404, {"error": "Ask for /visits?report=...&photos=1,2"})
        else:
            self.visits(query["report"], query.get("photos", ""))

    def visits(self, report: str, photos: str) -> None:
        """Answer one report, or one of its failures."""
        attempt = self.server.attempt(report)
        if attempt <= self.server.failures and attempt % 2:
            self.log_message("report %s, attempt %d: closing without an answer", report, attempt)
            self.close_connection = True
        elif attempt <= self.server.failures:
            self.answer(503, {"error": "down for maintenance"})
        else:
            keys = [key for key in photos.split(",") if key]
            self.answer(200, {"visits": {key: crc32(f"photo {key}".encode()) % 900 + 100 for key in keys}})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server gives it
        """Log to the standard error, unless the server is quiet."""
        if not self.server.quiet:
            super().log_message(format, *args)

    def answer(self, code: int, content: dict[str, Any]) -> None:
        """Send JSON."""
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Command(BaseCommand):
    """Run the visits server in the foreground until Ctrl-C."""

    help = "Run the visits server, an HTTP source that is sometimes down."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", nargs="?", default="127.0.0.1:8001", help="host:port to listen on")
        parser.add_argument("--failures", type=int, default=2, help="how many requests fail of each report (default 2)")

    def handle(self, *args: Any, address: str, failures: int, **options: Any) -> None:
        host, separator, port = address.rpartition(":")
        if not separator or not port.isdigit():
            raise CommandError(f"The address is host:port, as 127.0.0.1:8001, not {address!r}.")
        with VisitsServer((host, int(port)), failures) as server:
            self.stdout.write(
                f"Visits server on http://{host}:{server.server_port}, {failures} failures before each answer"
            )
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                self.stdout.write("Stopped.")
