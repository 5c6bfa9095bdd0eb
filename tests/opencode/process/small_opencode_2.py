"""A program that starts as `opencode serve --stdio` of OpenCode 2 is said to, in a tenth of a second.

Its input keeps it alive, and its first line of output is {"url": …}. It requires OPENCODE_PASSWORD for the user
`opencode`, and answers 503 for BOOT_SECONDS; with BOOT_FAILS it says then that its start has failed. STARTS notes each
start and end.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

VERSION = os.environ.get("VERSION", "opencode v2.1.2")
READY_AT = time.monotonic() + float(os.environ.get("BOOT_SECONDS", "0"))


class Handler(BaseHTTPRequestHandler):
    """Answers /api/info, and every other path with a web page."""

    def do_GET(self) -> None:
        """Answer."""
        token = base64.b64encode(f"opencode:{os.environ['OPENCODE_PASSWORD']}".encode()).decode()
        if not self.path.startswith("/api/"):
            self.send(200, "text/html", b"<!doctype html>")
        elif self.headers["authorization"] != f"Basic {token}":
            self.send(401, "application/json", b'{"_tag":"UnauthorizedError"}')
        elif time.monotonic() < READY_AT:
            self.send(503, "application/json", b'{"code":"service_starting"}')
        elif "BOOT_FAILS" in os.environ:
            self.send(500, "application/json", b'{"code":"service_failed"}')
        else:
            info = {"version": "2.1.2", "pid": os.getpid(), "urls": [""], "paths": {"tmp": "/tmp"}}
            self.send(200, "application/json", json.dumps(info).encode())

    def send(self, status: int, content_type: str, body: bytes) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def note(line: str) -> None:
    """Add a line to STARTS."""
    with open(os.environ["STARTS"], "a") as starts:
        starts.write(f"{line}\n")


if __name__ == "__main__":
    if "--version" in sys.argv:
        sys.stdout.write(VERSION)
        sys.exit(0)
    note(f"{' '.join(sys.argv[1:])} with {sorted(name for name in os.environ if name.startswith('OPENCODE'))}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    note("its input was closed")
