"""A web server that is no OpenCode, or a poor imitation of one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

HttpAnswer = tuple[int, str, bytes]
"""Status, content type and body."""

JSON = "application/json"

WEB_PAGE: HttpAnswer = (200, "text/html; charset=utf-8", b"<!doctype html><title>A page</title>")


@contextmanager
def fake_http_server(routes: Mapping[str, HttpAnswer], default: HttpAnswer = WEB_PAGE) -> Generator[str]:
    """Provide the address of a server that gives the same answers again and again."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = routes.get(self.path.partition("?")[0], default)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serve_document(document: bytes | None) -> Generator[str]:
    """Serve the health of OpenCode 1.18.33 and a document, or an error in its place; return the address."""
    health = b'{"healthy": true, "version": "1.18.33"}'
    answer = (500, JSON, b"") if document is None else (200, JSON, document)
    with fake_http_server({"/global/health": (200, JSON, health), "/doc": answer}) as url:
        yield url
