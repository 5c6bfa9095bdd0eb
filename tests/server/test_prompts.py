"""Prompts: the built-in ones always, and OpenCode's commands while it runs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client.session import IncomingMessage

from opencode_mcp.opencode.process.install import Program
from opencode_mcp.server.prompts import OpenCodeCommand, fill_template
from opencode_mcp.settings import Settings
from tests.bridge import find_processes
from tests.conftest import Connect
from tests.eventually import eventually

from .conftest import call

pytestmark = pytest.mark.anyio

OWN_PROMPT_NAMES = ["delegate_task", "review_changes", "hand_over_session"]
TINY_SERVER = Path(__file__).parents[1] / "tiny_mcp_server.py"


def add_command(project: Path, name: str, text: str) -> None:
    """Give a project a command."""
    folder = project / ".opencode" / "command"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(f"---\ndescription: About {name}\n---\n{text}\n")


def prompt_text(result: types.GetPromptResult) -> str:
    """Return the text of a prompt of one message."""
    (message,) = result.messages
    assert message.role == "user"
    assert isinstance(message.content, types.TextContent)
    return message.content.text


async def wait_for_prompts(client: Client) -> dict[str, types.Prompt]:
    """List prompts until OpenCode has told its commands: a list waits for them a second at most."""

    async def listed() -> dict[str, types.Prompt]:
        prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        return prompts if "init" in prompts else {}

    return await eventually(listed)


async def test_opencodes_commands_are_prompts(client: Client, project: Path) -> None:
    """Their placeholders are arguments; commands that are named like ours, or another MCP server's, are not listed."""
    add_command(project, "greet", "Greet $1 and $2. All: $ARGUMENTS")
    add_command(project, "delegate_task", "Something else")
    tiny = {"type": "local", "command": [sys.executable, str(TINY_SERVER)]}
    (project / "opencode.json").write_text(json.dumps({"mcp": {"tiny": tiny}}))
    assert (await call(client, "mcp_status"))["tiny"] == {"status": "connected"}
    assert "tiny:greet" in {one["name"] for one in await call(client, "command_list")}

    listed = await wait_for_prompts(client)

    assert list(listed)[:3] == OWN_PROMPT_NAMES
    assert {"init", "review", "greet"} <= listed.keys()
    assert "tiny:greet" not in listed
    assert listed["greet"].description == "About greet"
    arguments = [(one.name, one.required) for one in listed["greet"].arguments or ()]
    assert arguments == [("argument_1", False), ("argument_2", False), ("arguments", False)]
    assert [one.name for one in listed["delegate_task"].arguments or ()] == ["task", "directory", "agent", "model"]


async def test_arguments_are_inserted_into_a_command(client: Client, project: Path) -> None:
    """The message is the command's template with the arguments in it."""
    add_command(project, "greet", "Greet $1 and $2. All: $ARGUMENTS")

    given = await client.get_prompt("greet", {"argument_1": "Ann", "argument_2": "Bob"})

    assert prompt_text(given) == "Greet Ann and Bob. All: Ann Bob"
    assert given.description == "About greet"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "<> <> <>"),
        ({"arguments": "a b"}, "<> <> <a b>"),
        ({"argument_1": "a"}, "<a> <> <a>"),
        ({"argument_1": "$2 $ARGUMENTS", "argument_2": "b"}, "<$2 $ARGUMENTS> <b> <$2 $ARGUMENTS b>"),
        ({"argument_1": "a", "arguments": "c"}, "<a> <> <c>"),
    ],
)
def test_placeholders_in_arguments_are_not_expanded(given: Mapping[str, str], text: str) -> None:
    """Arguments are text; what is missing is empty."""
    command = OpenCodeCommand(name="x", template="<$1> <$2> <$ARGUMENTS>", hints=["$1", "$2", "$ARGUMENTS"])

    assert fill_template(command, given) == text


def test_a_skill_has_no_placeholders() -> None:
    """What looks like one in the text of a skill is about placeholders."""
    assert (
        fill_template(OpenCodeCommand(name="x", template="Use $1 or $ARGUMENTS."), {"arguments": "a"})
        == "Use $1 or $ARGUMENTS."
    )


@pytest.mark.unchanged_project
@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        (
            "delegate_task",
            {"task": 'Say "hi"', "directory": "/tmp/x", "agent": "build", "model": "a/b"},
            '{"prompt": "Say \\"hi\\"", "directory": "/tmp/x", "agent": "build", "model": "a/b"}',
        ),
        ("delegate_task", {"task": "Go"}, 'run_task with {"prompt": "Go"}'),
        ("review_changes", {"session_id": "ses_1", "focus": "the tests"}, "Focus on: the tests"),
        ("review_changes", {"session_id": "ses_1"}, 'collect_changes with session_id "ses_1"'),
        ("hand_over_session", {"session_id": "ses_1", "goal": "finish it"}, "The successor's goal: finish it"),
        ("hand_over_session", {"session_id": "ses_1"}, 'read_transcript with session_id "ses_1"'),
    ],
)
async def test_own_prompts_name_tools_and_arguments(
    client: Client, name: str, given: dict[str, str], words: str
) -> None:
    """They name the tools to call, which are there, with the arguments in them."""
    tools = {tool.name for tool in (await client.list_tools()).tools}

    text = prompt_text(await client.get_prompt(name, given))

    assert words in text
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)) - {"session_id"}
    assert named
    assert named <= tools


@pytest.mark.unchanged_project
@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("missing", {}, "Unknown prompt: missing"),
        ("delegate_task", {"agent": "build"}, "needs: task"),
        ("review_changes", {"session_id": ""}, "needs: session_id"),
    ],
)
async def test_an_unknown_prompt_or_missing_argument_is_an_error(
    client: Client, name: str, given: dict[str, str], words: str
) -> None:
    """An unknown prompt, and a missing argument, are -32602."""
    with pytest.raises(MCPError, match=words) as raised:
        await client.get_prompt(name, given)

    assert raised.value.code == types.INVALID_PARAMS


async def test_own_prompts_work_without_opencode(connect: Connect, mode: str, unreachable_settings: Settings) -> None:
    """Without OpenCode they are listed without waiting for it, and work."""
    async with connect(unreachable_settings, mode=mode) as client:
        with anyio.fail_after(15):
            listed = await client.list_prompts()
        text = prompt_text(await client.get_prompt("delegate_task", {"task": "Go"}))

    assert [one.name for one in listed.prompts] == OWN_PROMPT_NAMES
    assert "run_task" in text


async def test_commands_are_added_once_opencode_runs(
    connect: Connect, mode: str, program: Program, environ: Mapping[str, str], project: Path
) -> None:
    """No list starts OpenCode; once a call has started it, the client gets prompts/list_changed."""
    mark = f"OPENCODE_MCP_TEST_MARK={uuid4().hex}"
    marking = {**environ, mark.partition("=")[0]: mark.partition("=")[2]}
    settings = Settings(directory=str(project), command=(program.command[0],), environ=marking)
    changed = anyio.Event()

    async def hear(message: IncomingMessage) -> None:
        if isinstance(message, types.PromptListChangedNotification):
            changed.set()

    async with connect(settings, mode=mode, message_handler=hear) as client, AsyncExitStack() as open_streams:
        if mode == "auto":
            await open_streams.enter_async_context(client.listen(prompts_list_changed=True))
        before = await client.list_prompts()
        await client.list_resources()
        with pytest.raises(MCPError, match="is not running") as raised:
            await client.get_prompt("init")
        started_by_lists = find_processes(mark)
        await call(client, "global_health")
        with anyio.fail_after(60):
            await changed.wait()
        await wait_for_prompts(client)
        assert find_processes(mark)

    assert started_by_lists == {}
    assert raised.value.code == types.INVALID_PARAMS
    assert [one.name for one in before.prompts] == OWN_PROMPT_NAMES
