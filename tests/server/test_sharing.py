"""Two assistants that share a real OpenCode: each sees the other's work, and none aborts it unasked."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.commands.status import format_server
from opencode_mcp.cli.shared_servers import SharedServer, read_shared_servers
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.conftest import make_project
from tests.eventually import eventually
from tests.facts import facts

pytestmark = [pytest.mark.anyio, pytest.mark.process]


@pytest.fixture
def shared(environ: Mapping[str, str]) -> Mapping[str, str]:
    """An environment whose bridges share an OpenCode, which ends with the last of them."""
    return {
        **{name: value for name, value in environ.items() if name != "OPENCODE_MCP_NO_SHARE"},
        "OPENCODE_MCP_LINGER": "0",
        "XDG_CACHE_HOME": str(Path(environ["HOME"]) / ".cache"),
    }


@pytest.fixture
def folder(tmp_path: Path, shared: Mapping[str, str]) -> Path:
    """A project."""
    return make_project(tmp_path / "shop", shared)


class Assistant:
    """An assistant with a bridge of its own."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool that must succeed."""
        return facts(await self.client.call_tool(tool, arguments))

    async def fail(self, tool: str, **arguments: Any) -> str:
        """Call a tool that must be refused; return the text."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, result
        [content] = result.content
        assert isinstance(content, types.TextContent)
        return content.text

    async def start(self, prompt: str, directory: str) -> str:
        """Start a turn in a new session, and return the session's id once it runs."""
        session_id = (await self.call("session_create", directory=directory))["id"]
        await self.call("session_prompt_async", sessionID=session_id, parts=[{"type": "text", "text": prompt}])
        await eventually(
            lambda: self.call("report_task", session_id=session_id), until=lambda report: report["state"] == "running"
        )
        return session_id


def assistant(
    name: str, environ: Mapping[str, str], directory: Path, catalog: Catalog
) -> AbstractAsyncContextManager[Assistant]:
    """Provide an assistant that works in a directory."""

    @asynccontextmanager
    async def connect() -> AsyncGenerator[Assistant]:
        server = create_server(Settings.load({"directory": str(directory)}, environ), catalog)
        async with Client(server, client_info=types.Implementation(name=name, version="1")) as client:
            yield Assistant(client)

    return connect()


async def read_servers(environ: Mapping[str, str]) -> list[SharedServer]:
    """Read what `status` shows."""
    return await read_shared_servers(environ, Settings.load({}, environ).child_environ)


ABORTING: tuple[tuple[str, dict[str, Any], bool, bool], ...] = (
    ("config_update", {"body": {}}, True, False),
    ("instance_dispose", {}, True, False),
    ("project_init_git", {}, True, False),
    ("global_config_update", {"body": {"username": "x"}}, True, True),
    ("global_dispose", {}, True, True),
    ("worktree_remove", {"body": {"directory": "TREE"}}, False, True),
    ("worktree_reset", {"body": {"directory": "TREE"}}, False, True),
)
"""Calls, and whether they abort or undo work in the project, and in its worktree TREE."""


async def test_the_work_of_another_assistant_is_aborted_only_with_force(
    shared: Mapping[str, str], folder: Path, tmp_path: Path, catalog: Catalog
) -> None:
    """A refusal names the sessions and their client, also a disconnected one; `status` shows the same."""
    held = f"script:hold {tmp_path / 'go'}"
    async with assistant("cursor-vscode", shared, folder, catalog) as two:
        async with assistant("claude-code", shared, folder, catalog) as one:
            tree = (await one.call("worktree_create"))["directory"]
            ids = [await one.start(held, str(folder)), await one.start(held, tree)]
            for tool, arguments, *affected in ABORTING:
                text = await two.fail(tool, **json.loads(json.dumps(arguments).replace("TREE", tree)))
                assert "abort or undo the work of other assistants: " in text
                assert "To do so, pass force: true" in text
                named = [f"{session_id} of claude-code (process {os.getpid()})" in text for session_id in ids]
                assert (tool, named) == (tool, affected)
            assert await two.call("instance_dispose", directory=str(tmp_path)) == {"result": True}, "another directory"

            [server] = await read_servers(shared)
            seen = {each.client: (each.directory, {*each.work}) for each in server.assistants}
            assert seen == {"claude-code": (str(folder), {*ids}), "cursor-vscode": (str(folder), set())}

            assert await two.call("worktree_remove", body={"directory": tree}, force=True) == {"result": True}
            assert not await anyio.Path(tree).exists()
        # What it has promised to its client goes on.
        servers = await eventually(
            lambda: read_servers(shared), until=lambda found: found[0].work_of_disconnected_clients
        )
        assert servers[0].work_of_disconnected_clients == (ids[0],)
        assert f"  disconnected clients; running: {ids[0]}" in format_server(servers[0])
        assert f"{ids[0]} of a client that has disconnected" in await two.fail("global_dispose")

        (tmp_path / "go").touch()
        [report] = (await two.call("wait_for_tasks", session_ids=[ids[0]]))["tasks"]
        assert (report["state"], report["answer"]) == ("completed", "held")
        assert await two.call("global_dispose") == {"result": True}
    await eventually(lambda: list(shared_folder(shared).glob("*.json")), until=lambda found: not found)
