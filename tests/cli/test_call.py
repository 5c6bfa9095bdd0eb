"""`opencode-mcp call`: one tool from the shell, in pipes and at a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.commands.call import coerce_value
from opencode_mcp.cli.shared_servers import read_shared_servers
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.settings import Settings
from tests.bridge import find_processes
from tests.conftest import Connect, make_project
from tests.eventually import eventually
from tests.facts import facts
from tests.scenarios.scenario_context import make_asking_project

from .command_process import Terminal, command_environ, run_command, run_in_terminal

pytestmark = pytest.mark.anyio

MAKE = {"command": "touch made", "description": "Make a file"}
ASKS = f"script:tool bash {json.dumps(MAKE)}"


@pytest.fixture
def attached_environ(environ: Mapping[str, str], attached: Settings, project: Path) -> dict[str, str]:
    """The environment of a command on the running OpenCode, in a project in which it asks before it runs a command."""
    (project / "opencode.json").write_text(json.dumps({"permission": {"bash": "ask"}, "snapshot": False}))
    return command_environ(environ, attached)


async def test_a_pipe_gets_the_result_as_plain_json(attached_environ: Mapping[str, str], project: Path) -> None:
    """Nothing else on stdout, and nothing on stderr when there is nothing to tell."""
    done = await run_command(attached_environ, "call", "file_read", "path=README.md")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["content"] == "hello from the project"
    assert "\x1b" not in done.stdout


async def test_values_are_json_where_the_schema_takes_that_and_else_text(
    attached_environ: Mapping[str, str], tmp_path: Path
) -> None:
    """A number, a list, a text that looks like a number, and a file; a pair goes before --arguments."""
    (tmp_path / "title.txt").write_text("12")
    created = await run_command(attached_environ, "call", "session_create", "title=@title.txt", cwd=tmp_path)
    session = json.loads(created.stdout)
    parts = json.dumps([{"type": "text", "text": "hello"}])
    whole = json.dumps({"sessionID": session["id"], "noReply": False})
    sent = await run_command(
        attached_environ, "call", "session_prompt", f"parts={parts}", "noReply=true", "--arguments", "-", stdin=whole
    )
    listed = await run_command(attached_environ, "call", "session_messages", f"sessionID={session['id']}", "limit=1")

    assert session["title"] == "12"
    assert sent.returncode == 0, sent.stderr
    [message] = json.loads(listed.stdout)["result"]
    assert message["parts"][0]["text"] == "hello"


@pytest.mark.parametrize(
    ("tool", "key", "text", "value"),
    [
        ("session_messages", "limit", "3", 3),
        ("session_create", "title", "3", "3"),
        ("session_create", "title", "null", "null"),
        ("session_prompt", "noReply", "true", True),
        ("session_prompt", "noReply", "True", "True"),
        ("session_prompt", "parts", '[{"type": "text", "text": "x"}]', [{"type": "text", "text": "x"}]),
        ("session_prompt", "model", "{broken", "{broken"),
        ("session_prompt", "unknown", "3", "3"),
    ],
)
def test_a_value_has_the_type_of_its_schema(catalog: Catalog, tool: str, key: str, text: str, value: Any) -> None:
    """Also where the schema refers to another one."""
    assert coerce_value(catalog[tool].input_schema, key, text) == value


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["find_txt"], id="unknown tool"),
        pytest.param(["find_text", "pattern"], id="no value"),
        pytest.param(["find_text", "pattern=@/nonexistent/file"], id="no file"),
        pytest.param(["find_text", "--arguments", "[1]"], id="no object"),
        pytest.param(["find_text", "--arguments", "{"], id="no JSON"),
        pytest.param(["find_text", "--json", "{}"], id="arguments after --json"),
        pytest.param(["session_create", "--read-only"], id="left out"),
    ],
)
async def test_wrong_usage_is_reported_without_a_call(environ: Mapping[str, str], arguments: list[str]) -> None:
    """Exit code 2, one line, and no OpenCode is needed for it."""
    done = await run_command({**environ, "OPENCODE_MCP_COMMAND": "/nonexistent/opencode"}, "call", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("opencode-mcp: ")
    assert done.stderr.count("\n") == 1


async def test_an_error_result_is_exit_code_1(attached_environ: Mapping[str, str]) -> None:
    """Wrong arguments, a thing that is not there, a task that failed: the words are on stderr, a report on stdout."""
    wrong = await run_command(attached_environ, "call", "session_get", "sessionID=abc")
    missing = await run_command(attached_environ, "call", "session_get", "sessionID=ses_none")
    failed = await run_command(attached_environ, "call", "run_task", "prompt=script:error 400")

    assert [wrong.returncode, missing.returncode, failed.returncode] == [1, 1, 1]
    assert [wrong.stdout, missing.stdout] == ["", ""]
    assert "nothing was sent" in wrong.stderr
    assert "404" in missing.stderr
    assert json.loads(failed.stdout)["state"] == "failed"


async def test_an_opencode_that_cannot_be_reached_is_exit_code_1(environ: Mapping[str, str]) -> None:
    """With words, and no traceback."""
    done = await run_command(environ, "call", "session_list", "--url", "http://127.0.0.1:9")

    assert (done.returncode, done.stdout) == (1, "")
    assert "not reachable" in done.stderr
    assert "Traceback" not in done.stderr


async def test_task_progress_is_printed_to_stderr(attached_environ: Mapping[str, str]) -> None:
    """Without a terminal nobody is asked: the report says what waits."""
    done = await run_command(attached_environ, "call", "run_task", "prompt=script:slow 4 0.3")
    asked = await run_command(attached_environ, "call", "run_task", f"prompt={ASKS}")

    assert json.loads(done.stdout)["state"] == "completed"
    # Which of its steps are seen in time is the machine's affair.
    lines = done.stderr.splitlines()
    assert lines
    assert all(re.fullmatch(r" *\d+\.\d s  \S.*", line) for line in lines), done.stderr
    assert asked.returncode == 0
    assert json.loads(asked.stdout)["state"] == "waiting_permission"


async def test_a_managed_opencode_ends_with_the_call(environ: Mapping[str, str], tmp_path: Path) -> None:
    """Started by the call, told on stderr, stopped after it."""
    project = make_project(tmp_path / "project", environ)
    done = await run_command({**environ, "CALL_MARK": str(project)}, "call", "path_get", cwd=project)

    assert json.loads(done.stdout)["directory"] == str(project)
    assert "OpenCode: starting" in done.stderr
    assert find_processes(f"CALL_MARK={project}") == {}


async def test_a_task_outlives_the_call_on_the_shared_opencode(environ: Mapping[str, str], tmp_path: Path) -> None:
    """A task that asks is answered, and waited for, by the calls that its report names."""
    project = make_asking_project(tmp_path / "project", environ, {})
    shared = {
        **{name: value for name, value in environ.items() if name != "OPENCODE_MCP_NO_SHARE"},
        "OPENCODE_MCP_LINGER": "0",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    started = await run_command(shared, "call", "run_task", f"prompt={ASKS}", cwd=project)
    report = json.loads(started.stdout)
    assert report["state"] == "waiting_permission", started.stderr
    [answer] = [{**request["answer_with"]["arguments"], "reply": "once"} for request in report["pending"]]
    [server] = await read_shared_servers(shared, Settings.load({}, shared).child_environ)
    assert server.work_of_disconnected_clients == (report["session_id"],)
    [row] = json.loads((await run_command(shared, "sessions", "--json")).stdout)["sessions"]
    assert (row["id"], row["state"], row["directory"]) == (report["session_id"], "waiting_permission", str(project))

    answered = await run_command(
        shared, "call", "answer_permission", "--arguments", "-", stdin=json.dumps(answer), cwd=project
    )
    assert json.loads(answered.stdout)["state"] == "completed", answered.stderr
    assert (project / "made").exists()
    await eventually(lambda: list(shared_folder(shared).glob("*.json")), until=lambda found: not found)


async def test_a_terminal_gets_coloured_json_with_the_flag(attached_environ: Mapping[str, str]) -> None:
    """The same JSON below the colours."""
    with run_in_terminal(attached_environ, "call", "file_read", "path=README.md", "--json") as shell:
        assert await shell.wait() == 0

    assert "\x1b[" in shell.raw
    assert json.loads(shell.output[shell.output.index("{") :])["content"] == "hello from the project"


def has_state(shell: Terminal, state: str) -> bool:
    """Whether the report of a task begins with this state."""
    return re.search(rf"[\r\n]{state}  ", shell.output) is not None


async def test_a_permission_is_asked_at_the_terminal_and_answered(
    attached_environ: Mapping[str, str], project: Path
) -> None:
    """What is wanted is shown; a beginning of the answer is enough, and nonsense is asked again."""
    with run_in_terminal(attached_environ, "call", "run_task", f"prompt={ASKS}") as shell:
        await shell.wait_for_text("bash: touch made")
        await shell.wait_for_text("> ")
        assert not (project / "made").exists()
        await shell.type("perhaps\n")
        await shell.wait_for_text("perhaps")
        await shell.wait_for_text("3  reject\r\n> perhaps\r\nAllow?")
        await shell.wait_for_text("reject\r\n> perhaps\r\nAllow?\r\n  1  once\r\n  2  always\r\n  3  reject\r\n> ")
        await shell.type("on\n")
        assert await shell.wait() == 0, shell.output

    assert (project / "made").exists()
    assert has_state(shell, "completed")


async def test_the_readme_transcript_matches_the_terminal(attached_environ: Mapping[str, str], project: Path) -> None:
    """Line by line in this order; times, tokens and the model's answer differ."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [transcript] = re.findall(r"^```console\n\$ opencode-mcp call run_task [^\n]*\n(.*?)^```", readme, re.M | re.S)
    differs = re.compile(r"[\d.,]+|^The greeting says: .*|…", re.M)
    lines = [differs.sub("", line).strip() for line in transcript.splitlines()]
    (project / "greet.sh").write_text('echo "hello"\n')
    calls = [
        {"name": "read", "args": {"filePath": "greet.sh"}},
        {"name": "edit", "args": {"filePath": "greet.sh", "oldString": "hello", "newString": "Hello there"}},
        {"name": "bash", "args": {"command": "sh greet.sh", "description": "Run the greeting"}},
    ]

    with run_in_terminal(attached_environ, "call", "run_task", f"prompt=script:chain {json.dumps(calls)}") as shell:
        await shell.wait_for_text("> ")
        await shell.type("once\n")
        assert await shell.wait() == 0, shell.output

    at, output = 0, differs.sub("", shell.output)
    for line in lines:
        at = output.find(line, at)
        assert at >= 0, (line, output)
    assert len(lines) >= 8


async def test_a_permission_is_rejected_with_a_message(attached_environ: Mapping[str, str], project: Path) -> None:
    """The model reads them and goes on."""
    with run_in_terminal(attached_environ, "call", "run_task", f"prompt={ASKS}") as shell:
        await shell.wait_for_text("3  reject\r\n> ")
        await shell.type("3\n")
        await shell.wait_for_text("what to do instead\r\n> ")
        await shell.type("make it elsewhere\n")
        assert await shell.wait() == 0, shell.output

    assert not (project / "made").exists()
    assert has_state(shell, "completed")


async def test_a_question_is_answered_with_free_text(attached_environ: Mapping[str, str]) -> None:
    """What is none of the options is an answer too, where OpenCode takes it."""
    with run_in_terminal(attached_environ, "call", "run_task", "prompt=script:question") as shell:
        await shell.wait_for_text("2  Blue\r\n> ")
        await shell.type("Something else\n")
        assert await shell.wait() == 0, shell.output

    assert has_state(shell, "completed")


async def test_control_d_leaves_the_request_pending(attached_environ: Mapping[str, str], project: Path) -> None:
    """Nothing is allowed, nothing is refused."""
    with run_in_terminal(attached_environ, "call", "run_task", f"prompt={ASKS}") as shell:
        await shell.wait_for_text("3  reject\r\n> ")
        await shell.type("\x04")
        assert await shell.wait() == 0, shell.output

    assert not (project / "made").exists()
    assert has_state(shell, "waiting_permission")


async def test_an_answer_by_another_client_withdraws_the_question(
    attached_environ: Mapping[str, str], project: Path, connect: Connect
) -> None:
    """The call ends, although its terminal still waits for a line."""
    with run_in_terminal(attached_environ, "call", "run_task", f"prompt={ASKS}") as shell:
        await shell.wait_for_text("3  reject\r\n> ")
        async with connect() as client:
            listed = await client.call_tool("permission_list", {"directory": str(project)})
            [request] = facts(listed)["result"]
            await client.call_tool("answer_permission", {"request_id": request["id"], "reply": "once"})
        assert await shell.wait() == 0, shell.output

    assert "(no longer asked)" in shell.output
    assert has_state(shell, "completed")


@pytest.mark.parametrize(
    ("prompt", "sign"),
    [
        pytest.param("script:slow 1000 0.2", "writing", id="at work"),
        pytest.param(ASKS, "3  reject\r\n> ", id="asked"),
    ],
)
async def test_control_c_stops_the_task(
    attached_environ: Mapping[str, str], connect: Connect, prompt: str, sign: str
) -> None:
    """Exit code 130, no traceback, and the session is at work no more."""
    with run_in_terminal(attached_environ, "call", "run_task", f"prompt={prompt}") as shell:
        await shell.wait_for_text(sign)
        await shell.interrupt()
        assert await shell.wait() == 130, shell.output

    assert "Traceback" not in shell.output
    async with connect() as client:

        async def busy() -> object:
            seen = await client.call_tool("session_status", {})
            return facts(seen)

        assert await eventually(busy, lambda seen: seen == {}) == {}
