"""Errors of OpenCode: the file and the key that are wrong, the next step, and no stack trace of another program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.exceptions import APIError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.events import parse_event
from opencode_mcp.opencode.models import MessageError
from opencode_mcp.opencode.responses import describe_error, strip_stack_trace, strip_stack_traces
from tests.conftest import Connect
from tests.facts import facts

from .conftest import Wire

pytestmark = pytest.mark.anyio

TRACE = (
    "PlatformError: NotFound: FileSystem.realPath (/gone)\n"
    "    at hw (/$bunfs/root/chunk-c6vzj92n.js:71:4288)\n"
    "    at <anonymous> (/$bunfs/root/chunk-c6vzj92n.js:27:13322)\n"
    "    at processTicksAndRejections (native:7:39)\n"
    "    at SystemPrompt.environment (definition) (/$bunfs/root/chunk-p1c43e92.js:995:837)\n"
    "    at async file:///usr/lib/opencode/index.js:3:14"
)
"""As OpenCode 1.18.33 gives it."""


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        (
            "ConfigInvalidError",
            {
                "path": "/p/opencode.json",
                "issues": [
                    {"path": ["model"], "message": "Expected string | undefined, got 5"},
                    {"path": ["permission", "bash"], "message": 'Expected PermissionActionConfig, got "perhaps"'},
                    {"path": ["permission", "bash"], "message": 'Expected PermissionActionConfig, got "perhaps"'},
                ],
            },
            "/p/opencode.json: model: Expected string | undefined, got 5; "
            'permission.bash: Expected PermissionActionConfig, got "perhaps"',
        ),
        (
            "ConfigInvalidError",
            {"path": "/p/opencode.json", "message": 'bad file reference: "{file:./x}" /p/x does not exist'},
            '/p/opencode.json: bad file reference: "{file:./x}" /p/x does not exist',
        ),
        ("Other", {"issues": ["one", {"path": "a.b", "message": "wrong"}]}, "one; a.b: wrong"),
    ],
)
def test_a_wrong_configuration_names_the_file_and_the_key(name: str, data: dict[str, Any], words: str) -> None:
    """The body has both: `data.path` and `data.issues`."""
    assert describe_error(name, data).message == words


def test_a_file_that_is_not_json_is_named_with_its_lines_but_not_repeated() -> None:
    """OpenCode repeats the whole file in its error, and a configuration holds keys."""
    file = '{"key": "sk-secret",, }'
    message = (
        f"\n--- JSONC Input ---\n{file}\n--- Errors ---\nPropertyNameExpected at line 1, column 20\n"
        f"   Line 1: {file}\n                      ^\nValueExpected at line 1, column 20\n"
        f"   Line 1: {file}\n                      ^\n--- End ---"
    )
    words = describe_error("ConfigJsonError", {"path": "/p/opencode.json", "message": message})

    assert words.message == (
        "/p/opencode.json: PropertyNameExpected at line 1, column 20; ValueExpected at line 1, column 20"
    )
    assert "restart OpenCode" in words.advice
    assert "opencode-mcp status --stop" in words.advice


def test_additional_issues_are_counted() -> None:
    """An error is one that a model reads to its end."""
    issues = [{"path": [str(number)], "message": "wrong"} for number in range(30)]

    assert describe_error("ConfigInvalidError", {"issues": issues}).message.endswith("9: wrong; and 20 more")


def test_a_stack_trace_is_left_out() -> None:
    """Its first line stays, and so does all that only looks like a frame."""
    assert strip_stack_trace(TRACE) == "PlatformError: NotFound: FileSystem.realPath (/gone)"
    for words in ("meet me\n  at noon (or later)", "look\n    at the file", "at x (a.js:1:2)", ""):
        assert strip_stack_trace(words) == words


def test_a_stack_trace_is_left_out_of_errors_alone() -> None:
    """What a program printed, or a file holds, is data."""
    message = {"info": {"error": {"name": "UnknownError", "data": {"message": TRACE}}}, "parts": [{"text": TRACE}]}

    cleaned = strip_stack_traces(message)

    assert cleaned["info"]["error"]["data"]["message"] == "PlatformError: NotFound: FileSystem.realPath (/gone)"
    assert cleaned["parts"] == [{"text": TRACE}]


async def test_answers_and_events_have_no_stack_trace(opencode: OpenCodeClient, wire: Wire) -> None:
    """An error's body, an error within an answer, one within an event, and a message's."""
    error = {"name": "UnknownError", "data": {"message": TRACE}}
    wire.answer = lambda _: httpx2.Response(500, json=error)
    with pytest.raises(APIError, match=r"NotFound: FileSystem\.realPath \(/gone\)\nThe session's directory") as caught:
        await opencode.call("session_get", sessionID="ses_1")
    assert "bunfs" not in str(caught.value)

    wire.answer = lambda _: httpx2.Response(500, text=TRACE)
    with pytest.raises(APIError) as caught:
        await opencode.call("session_get", sessionID="ses_1")
    assert "bunfs" not in str(caught.value)

    wire.answer = lambda _: httpx2.Response(200, json=[{"info": {"error": error}}])
    assert "bunfs" not in json.dumps(await opencode.call("session_messages", sessionID="ses_1"))

    event = {"type": "session.error", "properties": {"error": error}}
    assert "bunfs" not in json.dumps(parse_event("global_event", json.dumps(event)))
    assert str(MessageError.model_validate(error)).startswith("UnknownError: PlatformError: NotFound")
    assert "bunfs" not in str(MessageError.model_validate(error))


def result_text(result: types.CallToolResult) -> str:
    """Return the text of a failed call."""
    assert result.is_error
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def test_every_tool_names_what_is_wrong_in_opencode_s_configuration(connect: Connect, project: Path) -> None:
    """The real OpenCode refuses a project whose configuration is wrong: operations, tasks and resources alike."""
    (project / "opencode.json").write_text('{"model": 5, "agent": {"x": {"mode": "nope"}}}')
    async with connect() as client:
        for name, arguments in (("config_get", {}), ("find_text", {"pattern": "x"}), ("run_task", {"prompt": "hi"})):
            said = result_text(await client.call_tool(name, arguments))
            assert f"{project}/opencode.json: model: Expected string" in said, name
            assert 'agent.x.mode: Expected "subagent" | "primary" | "all", got "nope"' in said, name
            assert "Correct it, then restart OpenCode" in said, name


async def test_a_session_whose_directory_is_gone_says_so(client: Client, tmp_path: Path) -> None:
    """OpenCode 1.18.33 answers with 1.5 KB of its own stack trace."""
    created = await client.call_tool("session_create", {"directory": str(tmp_path / "gone")})
    session = facts(created)["id"]

    again = await client.call_tool("run_task", {"prompt": "script:text hi", "session_id": session})
    messages = await client.call_tool("session_messages", {"sessionID": session})

    assert facts(again)["state"] == "failed"
    assert "The session's directory no longer exists" in facts(again)["error"]
    assert "bunfs" not in again.model_dump_json() + messages.model_dump_json()
