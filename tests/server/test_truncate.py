"""`--max-result-chars` holds for all that a client is sent, and what it sent comes back short and visible."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, MCPError

from opencode_mcp.settings import Settings
from tests.conftest import Connect
from tests.eventually import eventually

from .conftest import new_session, read, read_json

pytestmark = pytest.mark.anyio

LIMIT = 3_000
LONG = 100_000
HIDDEN = "\x1b[31m\u202e"


@pytest.fixture
async def client(connect: Connect, attached: Settings) -> AsyncGenerator[Client]:
    """A client of a bridge with a small limit."""
    async with connect(replace(attached, max_result_chars=LIMIT)) as client:
        yield client


def result_text(result: types.CallToolResult) -> str:
    """Return the text of a result."""
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))


async def test_resources_are_truncated(client: Client, project: Path) -> None:
    """A text says what is left out and how it is read, JSON stays JSON, and a small one is whole."""
    (project / "long.txt").write_text("0123456789\n" * 10_000)
    (project / "short.txt").write_text("0123456789\n")
    text = await read(client, "opencode://file/long.txt")
    operations = await read(client, "opencode://operations")
    operation = await read(client, "opencode://operation/config_update")

    assert max(map(len, (text, operations, operation))) <= LIMIT
    assert text.startswith("0123456789\n")
    assert "of 110000 characters omitted: read_operation with operation v2_fs_read" in text
    assert json.loads(operations)["_omitted"]["parts"]
    assert json.loads(operation)["_omitted"]["of_chars"] > LIMIT
    assert await read(client, "opencode://file/short.txt") == "0123456789\n"


@pytest.mark.unchanged_project
async def test_the_truncated_part_of_a_resource_can_be_read(client: Client) -> None:
    """A pointer that says what is left out, added to the resource's URI, leads to it."""
    operation = await read_json(client, "opencode://operation/session_get")
    pointers = [part["pointer"] for part in operation["_omitted"]["parts"]]

    assert pointers
    part = await read_json(client, f"opencode://operation/session_get{pointers[0]}")
    assert part
    with pytest.raises(MCPError, match="nothing at /nowhere"):
        await read(client, "opencode://operation/session_get/nowhere")


async def test_too_many_bytes_are_an_error(client: Client, project: Path) -> None:
    """They cannot be cut."""
    (project / "big.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(6 * 1024 * 1024))

    with pytest.raises(MCPError, match="bytes exceed the limit of"):
        await client.read_resource("opencode://file/big.png")


@pytest.mark.unchanged_project
async def test_search_results_are_truncated(client: Client) -> None:
    """They are cut as any result is."""
    found = await client.call_tool("search_operations", {"query": "session message file config", "limit": 50})

    assert not found.is_error
    assert len(result_text(found)) <= LIMIT
    assert json.loads(result_text(found))["_omitted"]["how"].startswith("use a smaller limit")


@pytest.mark.unchanged_project
@pytest.mark.parametrize("name", ["x" * LONG, f"x{HIDDEN}x"])
async def test_names_in_errors_are_shortened_and_escaped(client: Client, name: str) -> None:
    """An unknown tool, operation, prompt or resource is named in short, and what hides in its name is shown."""
    errors: list[MCPError] = []
    for ask in (
        lambda: client.call_tool(name, {}),
        lambda: client.get_prompt(name),
        lambda: client.read_resource(f"opencode://{name}"),
        lambda: client.read_resource(f"opencode://operation/{name}"),
        lambda: client.read_resource(f"opencode://file/{name}"),
        lambda: client.read_resource(f"opencode://session/{name}"),
    ):
        with pytest.raises(MCPError) as raised:
            await ask()
        errors.append(raised.value)
    described = await client.call_tool("describe_operation", {"operation": name})
    told = [*(error.message for error in errors), result_text(described)]

    assert described.is_error
    assert max(map(len, told)) <= LIMIT
    assert max(len(json.dumps(error.data)) for error in errors) <= 1_000
    assert not [one for one in told if "\x1b" in one or "\u202e" in one]


@pytest.mark.unchanged_project
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("file_read", {"path": "x" * LONG}),
        ("file_list", {"path": ".", "directory": "/" + "x" * LONG}),
        ("v2_fs_read", {"path": "x/" * (LONG // 2) + "x"}),
        ("find_text", {"pattern": "é" * 4_000}),
        ("run_task", {"prompt": "Do it", "directory": "/" + "x" * LONG}),
        ("run_task", {"prompt": "Do it", "files": ["x" * LONG]}),
    ],
)
async def test_a_long_path_is_an_argument_error(client: Client, tool: str, arguments: dict[str, Any]) -> None:
    """Nothing is sent, and the error says which argument it is."""
    result = await client.call_tool(tool, arguments)

    assert result.is_error
    assert "nothing was sent" in result_text(result)
    assert "characters" in result_text(result)
    assert len(result_text(result)) <= LIMIT


@pytest.mark.unchanged_project
async def test_a_path_that_fits_is_sent(client: Client) -> None:
    """OpenCode says that there is no such file."""
    result = await client.call_tool("file_read", {"path": "x" * 14_000})

    assert "FileNotFound" in result_text(result)
    assert len(result_text(result)) <= LIMIT


async def test_titles_in_lists_are_escaped(client: Client) -> None:
    """A session's title cannot hide anything in the list of resources."""
    session = await new_session(client, title=f"a{HIDDEN}b")

    async def title() -> str | None:  # the list waits for the sessions for one second only
        return next((one.title for one in (await client.list_resources()).resources if one.name == session), None)

    assert await eventually(title) == "a<U+001B>[31m<U+202E>b"
