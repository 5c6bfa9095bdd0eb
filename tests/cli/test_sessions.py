"""`opencode-mcp sessions`: the sessions of the running OpenCode, live at a terminal, else once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from rich.cells import cell_len

from opencode_mcp.cli import main
from opencode_mcp.cli.commands.sessions import NOTHING, format_sessions
from opencode_mcp.cli.output import stdout_console
from opencode_mcp.cli.result_text import Shell
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.settings import Settings
from tests.facts import facts
from tests.opencode.process.test_service import info_route, register

from .command_process import command_environ, run_command, run_in_terminal
from .fake_http_server import fake_http_server

pytestmark = pytest.mark.anyio

ASKS = f"script:tool bash {json.dumps({'command': 'touch made', 'description': 'Make a file'})}"
SECRET = "hR7xQ2pVz9Kw4TnB8sLd"

ROW: dict[str, Any] = {
    "id": "ses_1",
    "title": "a\x1b[2Jb\nc",
    "state": "waiting_question",
    "directory": "/p",
    "created": "2026-01-01T00:00:00+00:00",
    "updated": "2026-01-01T00:00:00+00:00",
    "model": "a/b",
    "cost": 1.239,
    "tokens": 5,
    "pending": [
        {
            "id": "q",
            "kind": "question",
            "wants": "which\x1b]0;x",
            "answer_with": {"tool": "answer_question", "arguments": {"request_id": "q\x1b[0m"}},
            "choices": {"answers": "text"},
        }
    ],
    "activity": None,
    "error": None,
    "assistants": ["claude-code"],
    "server": "far",
}
"""A session as `--json` prints it, with texts that a model has chosen."""


@pytest.fixture
def attached_environ(environ: Mapping[str, str], attached: Settings, project: Path) -> dict[str, str]:
    """The environment of a command on the running OpenCode, confined to a project where commands need permission."""
    (project / "opencode.json").write_text(json.dumps({"permission": {"bash": "ask"}, "snapshot": False}))
    confined = {"OPENCODE_MCP_ALLOW_DIRECTORY": str(project), "DEPLOY_TOKEN": SECRET}
    return command_environ(environ, attached) | confined


async def test_a_pipe_gets_every_session_with_what_it_waits_for(
    attached_environ: Mapping[str, str], attached: Settings, project: Path, client: Client
) -> None:
    """What waits comes first. No secret is shown, and no other directory's session."""
    await client.call_tool("session_create", {"title": f"with {SECRET}"})
    for prompt in ("script:error 400", "hello"):
        await client.call_tool("run_task", {"prompt": prompt})
    waiting = facts(await client.call_tool("run_task", {"prompt": ASKS, "permissions": "report"}))

    printed = await run_command(attached_environ, "sessions", "--json")
    assert (printed.returncode, printed.stderr) == (0, "")
    data = json.loads(printed.stdout)
    assert data["problems"] == []
    states = [row["state"] for row in data["sessions"]]
    assert states[0] == "waiting_permission"
    assert sorted(states[1:]) == ["completed", "failed", "idle"]
    assert {row["directory"] for row in data["sessions"]} == {str(project)}
    first, rest = data["sessions"][0], {row["state"]: row for row in data["sessions"][1:]}
    assert first["id"] == waiting["session_id"]
    assert [(request["kind"], request["wants"]) for request in first["pending"]] == [("permission", "bash: touch made")]
    assert first["pending"] == waiting["pending"]
    assert first["model"] == rest["completed"]["model"] == waiting["model"]
    assert "400" in rest["failed"]["error"]
    assert rest["idle"]["title"] == "with [redacted:opencode-mcp]"
    assert rest["completed"]["tokens"] > 0

    several = {**attached_environ, "OPENCODE_MCP_URL": "", "OPENCODE_MCP_SERVERS": f"a={attached.url},b={attached.url}"}
    twice = json.loads((await run_command(several, "sessions", "--json")).stdout)["sessions"]
    assert [row["id"] for row in twice] == [row["id"] for row in data["sessions"]]
    assert {row["server"] for row in twice} <= {"a", "b"}

    text = await run_command(attached_environ, "sessions", "--limit", "2")
    lines = text.stdout.splitlines()
    assert lines[0].split() == ["state", "age", "cost", "model", "title"]
    assert lines[1].startswith("waiting_permission  ")
    assert lines[2:4] == [f"  {first['id']} in {project}", "  waits for bash: touch made"]
    assert rest[lines[4].split()[0]]["id"] in lines[5]  # and one of the others
    answer = f"request_id={first['pending'][0]['id']} session_id={first['id']} reply='…'"
    assert lines[-1] == f"answer      opencode-mcp call answer_permission {answer}"
    assert "\x1b" not in text.stdout


async def test_a_terminal_gets_a_table_that_follows_the_sessions(attached_environ: Mapping[str, str]) -> None:
    """Until Ctrl-C, which is its regular end."""
    with run_in_terminal(attached_environ, "sessions") as shell:
        await shell.wait_for_text(NOTHING[:40])
        asked = await run_command(attached_environ, "call", "run_task", f"prompt={ASKS}")
        await shell.wait_for_text("waits for bash: touch made")
        [request] = json.loads(asked.stdout)["pending"]
        answer = {**request["answer_with"]["arguments"], "reply": "once"}
        await run_command(attached_environ, "call", "answer_permission", "--arguments", "-", stdin=json.dumps(answer))
        await shell.wait_for_text("completed")
        await shell.interrupt()
        assert await shell.wait() == 0, shell.output


@pytest.mark.usefixtures("spawns")
async def test_an_opencode_that_cannot_be_read_is_exit_code_1(tmp_path: Path) -> None:
    """The others would still be shown."""
    environ = {"HOME": str(tmp_path), "OPENCODE_MCP_SERVERS": "one=http://127.0.0.1:9,two=http://127.0.0.1:9"}
    done = await run_command(environ, "sessions", "--json")
    assert done.returncode == 1
    data = json.loads(done.stdout)
    assert data["sessions"] == []
    assert [("not reachable" in problem) for problem in data["problems"]] == [True, True]


def test_without_an_opencode_nothing_is_started(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A unit test fails if it starts a process."""
    for name in ("XDG_CACHE_HOME", "OPENCODE_MCP_URL", "OPENCODE_MCP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["sessions"]) == 0
    assert capsys.readouterr().out == f"{NOTHING}\n"
    assert main(["sessions", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sessions": [], "problems": []}
    assert main(["sessions", "--limit", "0"]) == 2
    assert str(SettingsError("--limit takes a number from 1 to 100")) in capsys.readouterr().err


def test_a_service_of_a_later_generation_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its sessions are not read, so it would be wrong to say that there are none."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "OPENCODE_MCP_URL", "OPENCODE_MCP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with fake_http_server(info_route(version="3.0.0")) as url:
        monkeypatch.setenv("XDG_STATE_HOME", register(tmp_path, url, version="3.0.0")["XDG_STATE_HOME"])
        assert main(["sessions"]) == 1
        assert capsys.readouterr().out == (
            f"OpenCode's background service at {url} (process 4242) is OpenCode 3.0.0, which this release "
            "does not know\n"
        )
        assert main(["sessions", "--generation", "1"]) == 0


def test_a_title_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Titles and commands are a model's."""
    shell = Shell(["opencode-mcp", "call"], True, 80)
    for line in format_sessions({"sessions": [ROW], "problems": ["x\x1b[1m"]}, shell):
        stdout_console().print(line)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "$1.24" in out
    assert "in /p on far, for claude-code" in out


def test_a_narrow_terminal_shows_the_beginning_of_model_and_title() -> None:
    """In columns, whatever the width of a character; ids and what waits are whole."""
    row = {**ROW, "title": "修复解析器的测试" * 9, "model": "provider/" + "m" * 60}
    [header, first, second, *_] = format_sessions({"sessions": [row, ROW], "problems": []}, Shell([], True, 70))
    lines = [str(header), str(first), str(second)]
    assert max(map(cell_len, lines)) <= 70
    assert lines[1].count("…") == 2
    assert cell_len(lines[1].partition("provider/")[0]) == cell_len(lines[0].partition("model")[0])
    assert lines[2] == "  ses_1 in /p on far, for claude-code"
