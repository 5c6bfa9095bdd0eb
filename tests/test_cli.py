"""The command line, and the document that it chooses."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from opencode_mcp import __main__ as program
from opencode_mcp import __version__
from opencode_mcp.cli import main
from opencode_mcp.cli.clients import CLIENTS, PRINTED_CLIENTS
from opencode_mcp.cli.document_option import load_document
from opencode_mcp.cli.main import COMMANDS
from opencode_mcp.openapi.document import Document
from opencode_mcp.openapi.snapshots import SNAPSHOT_SHA256, load_snapshot, read_snapshot, sha256
from opencode_mcp.opencode import Endpoint
from opencode_mcp.settings import Settings
from tests.cli.fake_http_server import serve_document

HEAVY_MODULES = ("anyio", "httpx2", "jsonschema_rs", "mcp", "mcp_types", "pydantic", "starlette", "uvicorn")

THREE_OPERATIONS = json.dumps(
    {"openapi": "3.1.0", "paths": {f"/{name}": {"get": {"operationId": f"global.{name}"}} for name in "abc"}}
).encode()
"""A document of three operations."""


@pytest.mark.usefixtures("spawns")
@pytest.mark.parametrize(("flag", "shown"), [("--version", f"opencode-mcp {__version__}\n"), ("--help", "usage: ")])
def test_version_and_help_import_nothing_heavy(flag: str, shown: str) -> None:
    """They are answered at once, on a machine where a dependency is broken as well."""
    command = (sys.executable, "-X", "importtime", "-m", "opencode_mcp", flag)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}

    assert done.stdout.startswith(shown)
    assert "opencode_mcp" in imported
    assert imported & set(HEAVY_MODULES) == set()


def test_the_garbage_collector_leaves_out_what_the_start_has_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A session per call would pay for looking at it every time."""
    monkeypatch.setattr(sys, "argv", ["opencode-mcp", "completion", "bash"])
    assert gc.get_freeze_count() == 0
    try:
        assert program.main() == 0
        assert gc.get_freeze_count() > 10_000
        assert gc.isenabled()
    finally:
        gc.unfreeze()
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "usage", "first"),
    [
        (["--help"], "opencode-mcp [options] [COMMAND] …", [f"  {name} " for name in COMMANDS]),
        (["--help", "call"], "opencode-mcp call [options] NAME [key=value ...]", ["  NAME", "  --json"]),
    ],
)
def test_the_help_begins_with_what_can_be_typed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], usage: str, first: list[str]
) -> None:
    """Commands and their own arguments come before the settings, which fill a screen."""
    assert main(arguments) == 0
    text, _, settings = capsys.readouterr().out.partition("\nsettings:\n")

    assert text.splitlines()[0] == f"usage: {usage}"
    assert [line for line in first if line not in text] == []
    assert "--log-level" in settings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--url", "ftp://x"], "--url"),
        (["--document", "live"], "--document"),
        (["--document", "/no/such/file"], "--document '/no/such/file' cannot be read: No such file or directory"),
        (["--directory", "/no/such/folder"], "--directory"),
        (["http", "--host", "0.0.0.0"], "--host"),
    ],
)
def test_wrong_usage_exits_with_2_and_names_the_flag(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """On stderr, as stdout belongs to the protocol."""
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith("opencode-mcp: ")
    assert words in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["htpp"], "no command 'htpp'; did you mean http?"),
        (["serve"], f"no command 'serve'; possible: {', '.join(COMMANDS)}"),
        (["--log", "info"], "unknown option --log; did you mean --log-file, --log-level?"),
        (["--directry=x"], "unknown option --directry; did you mean --directory, --allow-directory?"),
        (["--colour"], "unknown option --colour"),
        (["--log-level", "loud"], "--log-level: no value 'loud'; possible: debug, info, warning, error"),
        (["--log-level"], "--log-level: expected one argument"),
        (["http", "--port", "many"], "--port: invalid int value: 'many'"),
        (["install", "claude"], "no client 'claude'; did you mean claude-code, claude-desktop?"),
        (["install"], f"missing CLIENT: {', '.join([*CLIENTS, *PRINTED_CLIENTS])}"),
        (["uninstall"], f"missing CLIENT: {', '.join(CLIENTS)}"),
        (["tools", "--jsn"], "unknown option --jsn; did you mean --json?"),
        (["doctor", "now"], "unexpected argument 'now'"),
        (["call"], "missing NAME: tool to call; `opencode-mcp tools` lists them"),
    ],
)
def test_the_error_of_a_usage_is_its_first_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """With the nearest names, and where the help is on the second line. An abbreviated flag is an error too."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    output = capsys.readouterr()
    command = " ".join(["opencode-mcp", *(word for word in arguments[:1] if word in COMMANDS)])

    assert caught.value.code == 2
    assert output.err == f"opencode-mcp: {message}\n`{command} --help` shows the usage\n"
    assert output.out == ""


def test_flags_may_stand_between_the_arguments_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "--log-level", "info", "find_text", "--document", "gone.json", "pattern=x"]) == 2
    assert "--document 'gone.json' cannot be read" in capsys.readouterr().err


def test_an_invalid_environment_variable_exits_with_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is checked like the flag, whose name the error has."""
    monkeypatch.setenv("OPENCODE_MCP_LOG_LEVEL", "loud")

    assert main([]) == 2
    assert "--log-level 'loud'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--document", "gone.json", "stdio"],
        ["stdio", "--document", "gone.json"],
        ["--document", "gone.json"],
        ["--document", "gone.json", "http"],
        ["http", "--port", "1", "--document", "gone.json"],
    ],
)
def test_a_setting_may_stand_before_and_after_the_command(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Neither place is lost, and the last one wins."""
    assert main(arguments) == 2
    assert "--document 'gone.json' cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--server", "a=http://x", "http", "--server", "a=http://y"], "another server is already named 'a'"),
        (["--metrics", "http", "--host", "0.0.0.0"], "--host 0.0.0.0"),
    ],
    ids=["repeatable", "of one command"],
)
def test_flags_before_and_after_the_command_add_up(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """A repeatable flag keeps the values of both places; a flag of one command may stand before it."""
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_value_may_be_the_name_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`--directory http http` serves the folder `http`."""
    (tmp_path / "http").mkdir()
    monkeypatch.chdir(tmp_path)

    assert main(["--directory", "http", "--log-level", "info", "http", "--host", "0.0.0.0"]) == 2
    assert "--host 0.0.0.0" in capsys.readouterr().err


def test_a_document_of_a_newer_opencode_is_taken_from_a_file(tmp_path: Path) -> None:
    """What it has beyond the snapshot becomes a tool."""
    newer = json.loads(read_snapshot())
    newer["paths"]["/brand/new"] = {"get": {"operationId": "brand.new"}}
    path = tmp_path / "newer.json"
    path.write_text(json.dumps(newer))

    assert "brand.new" in operation_ids(load_document(Settings.load({"document": str(path)}, {})))


def test_a_document_with_fewer_operations_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Tools that are there today must not be gone tomorrow without a word."""
    path = tmp_path / "poorer.json"
    path.write_bytes(THREE_OPERATIONS)

    assert main(["--document", str(path)]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("opencode-mcp: ")
    assert "lacks 188 operations of the bundled document" in told.err
    assert told.out == ""


def operation_ids(document: Document) -> set[str]:
    """Return the operationIds of a document."""
    return {operation.operation_id for _, _, operation in document.operations()}


def test_the_live_document_is_that_of_the_running_opencode(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is kept for the time when that server does not answer; of 1.18.33 it is the snapshot to the byte."""
    httpx2.get(f"{endpoint.base_url}/doc", auth=endpoint.auth, timeout=300, trust_env=False)  # the first takes long
    environ = {"OPENCODE_SERVER_PASSWORD": endpoint.password or "", "XDG_CACHE_HOME": str(tmp_path)}
    document = load_document(Settings.load({"url": str(endpoint.url), "document": "live"}, environ))

    assert operation_ids(document) == operation_ids(load_snapshot())
    assert sha256(cached_document(tmp_path).read_bytes()) == SNAPSHOT_SHA256
    told = capsys.readouterr().err
    assert told == f"opencode-mcp: document: live, of OpenCode 1.18.33 at {str(endpoint.url).rstrip('/')}\n"


def cached_document(cache: Path) -> Path:
    """Return where the live document of the tested OpenCode is kept."""
    return cache / "opencode-mcp" / "documents" / "1.18.33.json"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (THREE_OPERATIONS, "it lacks 188 operations"),
        (b"<!doctype html>", "not an OpenAPI document"),
        (None, "500"),
    ],
)
def test_an_invalid_live_document_falls_back_to_the_bundled_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: bytes | None, reason: str
) -> None:
    """Why is said on stderr, and nothing bad is kept."""
    with serve_document(document) as url:
        chosen = load_document(Settings.load({"url": url, "document": "live"}, {"XDG_CACHE_HOME": str(tmp_path)}))

    assert operation_ids(chosen) == operation_ids(load_snapshot())
    told = capsys.readouterr().err
    assert told.startswith("opencode-mcp: document: bundled, of OpenCode 1.18.33 (live: ")
    assert reason in told
    assert not cached_document(tmp_path).exists()


def test_a_missing_live_document_falls_back_to_the_cached_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of the same version, from an earlier start."""
    newer = json.loads(read_snapshot())
    newer["paths"]["/brand/new"] = {"get": {"operationId": "brand.new"}}
    cached_document(tmp_path).parent.mkdir(parents=True)
    cached_document(tmp_path).write_text(json.dumps(newer))
    with serve_document(None) as url:
        chosen = load_document(Settings.load({"url": url, "document": "live"}, {"XDG_CACHE_HOME": str(tmp_path)}))

    assert "brand.new" in operation_ids(chosen)
    assert capsys.readouterr().err.startswith(f"opencode-mcp: document: {cached_document(tmp_path)} (live: ")


@pytest.mark.parametrize("kept", [THREE_OPERATIONS, b"{", b"\xff"])
def test_an_invalid_cached_document_falls_back_to_the_bundled_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: bytes
) -> None:
    """Both reasons are told."""
    cached_document(tmp_path).parent.mkdir(parents=True)
    cached_document(tmp_path).write_bytes(kept)
    with serve_document(None) as url:
        chosen = load_document(Settings.load({"url": url, "document": "live"}, {"XDG_CACHE_HOME": str(tmp_path)}))

    assert operation_ids(chosen) == operation_ids(load_snapshot())
    assert "; cached: " in capsys.readouterr().err


def test_the_bundled_document_is_used_when_opencode_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server may be started later; until then tools are listed all the same."""
    with serve_document(None) as url:
        pass  # its port is free again
    chosen = load_document(Settings.load({"url": url, "document": "live"}, {"XDG_CACHE_HOME": str(tmp_path)}))

    assert operation_ids(chosen) == operation_ids(load_snapshot())
    assert "bundled, of OpenCode 1.18.33 (live: " in capsys.readouterr().err


def test_an_unwritable_cache_is_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document has come; that it cannot be kept is no reason not to use it."""
    occupied = tmp_path / "file"
    occupied.write_text("no folder")
    with serve_document(read_snapshot()) as url:
        chosen = load_document(Settings.load({"url": url, "document": "live"}, {"XDG_CACHE_HOME": str(occupied)}))

    assert operation_ids(chosen) == operation_ids(load_snapshot())
    assert "document: live, of OpenCode 1.18.33" in capsys.readouterr().err
