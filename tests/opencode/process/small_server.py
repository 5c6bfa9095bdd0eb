"""A program that starts as `opencode serve` does, in a tenth of a second: what is shared is its process.

small_server.py serve [--port 0 …] [--silent] [--chatty]; STATUS names a file with the answer to /session/status.
"""

from __future__ import annotations

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Answers every request with the content of STATUS, or an empty object."""

    def do_GET(self) -> None:
        """Answer."""
        path = os.environ.get("STATUS", "")
        body = Path(path).read_bytes() if path else b"{}"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    if "--version" in sys.argv:
        sys.stdout.write(os.environ.get("VERSION", "1.18.33"))
        sys.exit(0)
    with open(os.environ["STARTS"], "a") as starts:
        starts.write(f"{os.getpid()}\n")
    if "--silent" in sys.argv:
        time.sleep(600)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"opencode server listening on http://127.0.0.1:{server.server_port}\n")
    if "--chatty" in sys.argv:
        sys.stdout.write("a line\n" * 40_000)
    sys.stdout.flush()
    server.serve_forever()
