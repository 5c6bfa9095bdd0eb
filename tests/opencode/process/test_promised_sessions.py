"""Which promised sessions the supervisor forgets, by OpenCode's answers."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.opencode.process import shared_process

Answer = Callable[[str], tuple[int, Any]]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, as the supervisor's script imports it."""
    monkeypatch.setattr(sys, "path", [str(Path(shared_process.__file__).parent), *sys.path])
    return importlib.import_module("promised_sessions")


@contextmanager
def status_server(answer: Answer) -> Generator[tuple[str, int]]:
    """Serve the answers to /session/status; provide the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, statuses = answer(self.path)
            body = json.dumps(statuses).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield ("127.0.0.1", server.server_port)
        finally:
            server.shutdown()


def check(sessions: Any, checked: threading.Event, address: tuple[str, int]) -> None:
    """Check the sessions once."""
    sessions.check(address)
    assert checked.wait(10)


def make_sessions(module: Any) -> tuple[Any, threading.Event]:
    """Return two promised sessions, and what is set after a check."""
    checked = threading.Event()

    def report_check(has_changed: bool) -> None:
        checked.set()

    sessions = module.PromisedSessions(report_check)
    sessions.add({"ses_1": "/one", "ses_2": "/two"})
    return sessions, checked


def test_a_session_that_is_promised_again_during_a_check_stays(module: Any) -> None:
    """It had ended; its bridge starts another turn, and leaves, while another session is checked."""
    sessions, checked = make_sessions(module)

    def answer(path: str) -> tuple[int, Any]:
        if path.endswith("two"):
            sessions.add({"ses_1": "/one"})
        return 200, {"ses_2": {"type": "busy"}}

    with status_server(answer) as address:
        check(sessions, checked, address)
    assert sessions.directories == {"ses_1": "/one", "ses_2": "/two"}


@pytest.mark.parametrize(("status", "left"), [(200, {}), (500, {"ses_1": "/one", "ses_2": "/two"})])
def test_an_error_does_not_end_a_session(module: Any, status: int, left: dict[str, str]) -> None:
    """Only a list of those that run does."""
    sessions, checked = make_sessions(module)
    with status_server(lambda path: (status, {"name": "UnknownError"})) as address:
        check(sessions, checked, address)
    assert sessions.directories == left
