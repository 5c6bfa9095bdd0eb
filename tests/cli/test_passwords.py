"""A password within a URL is printed nowhere: not by a refusal, an error, a finding or a preview."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from opencode_mcp.cli.document_option import load_document
from opencode_mcp.cli.main import main
from opencode_mcp.openapi.snapshots import read_snapshot
from opencode_mcp.opencode import AttachedServer, Endpoint
from opencode_mcp.settings import Settings, without_password

from .fake_http_server import fake_http_server

PASSWORD = "sesame-open"
UNREACHABLE_URL = f"http://someone:{PASSWORD}@127.0.0.1:9"


@contextmanager
def serve_status(status: int) -> Generator[str]:
    """Serve OpenCode's health and document, or a refusal; return the address with the password in it."""
    answers = {"/global/health": b'{"healthy": true, "version": "1.18.33"}', "/doc": read_snapshot()}

    routes = {path: (status, "application/json", body) for path, body in answers.items()}
    with fake_http_server(routes) as url:
        yield url.replace("//", f"//someone:{PASSWORD}@")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, which no client's configuration is in."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", f"ftp://someone:{PASSWORD}@opencode.test"],
        ["--server", f"one=ftp://someone:{PASSWORD}@opencode.test"],
        ["--server", f"one={UNREACHABLE_URL}", "--server", f"one={UNREACHABLE_URL}"],
        ["call", "global_health", "--url", UNREACHABLE_URL],
        ["doctor", "--url", UNREACHABLE_URL],
        ["doctor", "--url", UNREACHABLE_URL, "--json"],
        ["install", "cursor", "--url", UNREACHABLE_URL, "--dry-run"],
    ],
    ids=["url", "server", "same name", "call", "doctor", "doctor as JSON", "install"],
)
def test_no_command_prints_the_password(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever goes wrong."""
    main(arguments)

    said = capsys.readouterr()
    assert said.out + said.err != ""
    assert PASSWORD not in said.out + said.err


@pytest.mark.parametrize("status", [200, 401])
def test_the_live_document_does_not_print_the_password(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither when it comes, nor when an error names the address."""
    with serve_status(status) as url:
        load_document(Settings.load({"url": url, "document": "live"}))

    said = capsys.readouterr().err
    assert said.startswith("opencode-mcp: document: ")
    assert "127.0.0.1" in said
    assert PASSWORD not in said


def test_no_error_names_the_password() -> None:
    """Every error of a request names the server by this."""
    assert AttachedServer(Endpoint(httpx2.URL(UNREACHABLE_URL))).describe() == "OpenCode at http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@h/x", "http://h/x"),
        ("http://u:p@ss@h/x", "http://h/x"),
        ("http://token@h", "http://h"),
        ("a http://h/a@b c https://u:p@h", "a http://h/a@b c https://h"),
        ("nothing", "nothing"),
    ],
)
def test_only_the_user_info_of_a_url_is_removed(text: str, shown: str) -> None:
    """The address is what one looks for in an error."""
    assert without_password(text) == shown


def test_a_secret_in_a_url_is_a_known_secret() -> None:
    """It is left out of results and logs too."""
    assert PASSWORD in Settings.load({"url": UNREACHABLE_URL}, {}).secrets
    assert PASSWORD in Settings.load({"server": [f"one={UNREACHABLE_URL}"]}, {}).secrets


def test_a_cached_document_is_complete_and_private(home: Path) -> None:
    """Nothing is left beside it, and nothing half written in its place."""
    with serve_status(200) as url:
        load_document(Settings.load({"url": url, "document": "live"}))

    [kept] = home.rglob("1.18.33.json")
    assert kept.read_bytes() == read_snapshot()
    assert [file.name for file in kept.parent.iterdir()] == ["1.18.33.json"]
