"""`opencode-mcp logs`: the ends of the logs, without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opencode_mcp.cli import log_files, main
from opencode_mcp.cli.commands.logs import format_line
from opencode_mcp.cli.log_files import LogFile, follow
from opencode_mcp.redaction import MARKER, NO_REDACTION, Redactor

SECRET = "hR7xQ2pVz9Kw4TnB8sLd"
OPENCODE_LINES = (
    "timestamp=1 level=INFO message=first",
    f'timestamp=2 level=ERROR message="with {SECRET}" apiKey=Zk3vTq9XwLr2MnB7 url=https://me:word@host.test/x',
    "timestamp=3 level=INFO message=last",
)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a log of OpenCode, and a secret in the environment."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "OPENCODE_MCP_URL", "OPENCODE_MCP_LOG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DEPLOY_TOKEN", SECRET)
    folder = tmp_path / ".local" / "share" / "opencode" / "log"
    folder.mkdir(parents=True)
    (folder / "opencode.log").write_text("\n".join(OPENCODE_LINES) + "\n")
    return tmp_path


def test_the_end_of_each_log_is_shown_without_secrets(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A known value, what a name says is one, and the login of an address."""
    bridge = logs / "bridge.log"
    bridge.write_text("2026 INFO x: \x1b[2Jhello\n")
    assert main(["logs", "--lines", "2", "--log-file", str(bridge)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    lines = told.out.splitlines()
    assert lines[0] == f"==> opencode: {logs}/.local/share/opencode/log/opencode.log"
    assert (
        lines[1] == f'timestamp=2 level=ERROR message="with {MARKER}" apiKey={MARKER} url=https://{MARKER}@host.test/x'
    )
    assert lines[2:4] == [OPENCODE_LINES[2], f"==> bridge: {bridge}"]
    assert "\x1b" not in lines[4] and lines[4].endswith("hello")


def test_json_has_the_lines_and_what_is_missing(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--json", "--lines", "1"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["logs"] == [
        {
            "source": "opencode",
            "path": f"{logs}/.local/share/opencode/log/opencode.log",
            "lines": [OPENCODE_LINES[2]],
        }
    ]
    assert ["--log-file" in problem for problem in data["problems"]] == [True]


def test_without_a_log_the_exit_code_is_1(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With where it would be."""
    (logs / ".local/share/opencode/log/opencode.log").unlink()
    assert main(["logs", "opencode"]) == 1
    assert f"opencode: no log in {logs}/.local/share/opencode/log" in capsys.readouterr().err
    assert main(["logs", "--url", "http://127.0.0.1:9", "opencode"]) == 1
    assert "on its own machine" in capsys.readouterr().err
    assert main(["logs", "bridge", "--log-file", str(logs / "none.log")]) == 1
    assert f"{logs / 'none.log'} does not exist" in capsys.readouterr().err


def test_new_lines_are_followed_and_a_new_file_is_read_from_its_start(tmp_path: Path) -> None:
    """Half a line waits for its end."""
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    file = LogFile("opencode", path)
    assert file.read_last(5, NO_REDACTION) == ["one"]
    with path.open("ab") as log:
        log.write(b"o\nthree\n")
    new = follow([file], NO_REDACTION)
    assert [next(new)[1], next(new)[1]] == ["two", "three"]
    path.write_bytes(b"new\r\n")
    assert file.read_new(NO_REDACTION) == ["new"]


def test_a_secret_of_several_lines_and_half_a_line_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning of a cut line may be half a secret."""
    key = "-----BEGIN KEY-----\nabcdefgh\n-----END KEY-----"
    path = tmp_path / "log"
    path.write_text(f"before\n{key}\nafter\n")
    assert LogFile("bridge", path).read_last(9, Redactor([key])) == ["before", MARKER, "after"]
    monkeypatch.setattr(log_files, "MAX_BYTES", 10)
    path.write_text(f"long {SECRET}\nlast\n")
    assert LogFile("bridge", path).read_last(9, Redactor([SECRET])) == ["last"]


@pytest.mark.parametrize(
    ("line", "style"), [("x level=WARN y", "yellow"), ("12:00 ERROR z", "red"), ("level=INFO ERRORS", "")]
)
def test_a_line_has_the_style_of_its_level(line: str, style: str) -> None:
    assert format_line(line).style == style
