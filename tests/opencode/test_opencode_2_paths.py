"""Operations of OpenCode 2 on the v2 API of OpenCode 1.18.33, as far as both have the same paths and arguments.

No released OpenCode 2 has been run here. What the two have in common shows on a real server that locations, paths of
files, session ids and cursors are sent as OpenCode reads them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from tests.eventually import eventually
from tests.execute import prepare_and_execute

pytestmark = pytest.mark.anyio


@pytest.fixture
async def second(endpoint: Endpoint, project: Path) -> AsyncGenerator[OpenCodeClient]:
    """A client that takes the server for an OpenCode 2."""
    server = AttachedServer(replace(endpoint, version="2.1.2"))
    async with OpenCodeClient(server, Catalog.from_snapshot(2), str(project)) as opencode:
        yield opencode


async def test_what_both_have_is_answered(second: OpenCodeClient, project: Path) -> None:
    """The location reaches each operation, a file is read by its path, and a session by its id."""
    (project / "a b").mkdir()
    (project / "a b" / "100%.txt").write_text("content\n")

    async def call(name: str, **arguments: Any) -> Any:
        return (await prepare_and_execute(second, second.catalog[name], arguments)).value

    for name in ("agent_list", "command_list", "skill_list", "reference_list", "model_list", "permission_request_list"):
        answer = await call(name)
        assert answer["location"]["directory"] == str(project), name
        assert isinstance(answer["data"], list), name
    assert (await call("location_get"))["directory"] == str(project)
    assert "100%.txt" in str(await call("fs_list", path="a b"))
    await eventually(lambda: call("fs_find", query="100"), until=lambda found: "100%.txt" in str(found))
    assert await call("fs_read", path="a b/100%.txt") == "content\n"

    session = (await call("session_create"))["data"]
    assert session["location"]["directory"] == str(project)
    assert (await call("session_get", sessionID=session["id"]))["data"]["id"] == session["id"]
    assert session["id"] in [listed["id"] for listed in (await call("session_list", limit=1))["data"]]
    assert (await call("session_message_list", sessionID=session["id"], order="asc"))["data"] == []
    assert session["id"] not in (await call("session_active"))["data"]
    await call("session_switch_agent", sessionID=session["id"], agent="plan")
    assert (await call("session_get", sessionID=session["id"]))["data"]["agent"] == "plan"
    await call("session_interrupt", sessionID=session["id"])

    terminal = (await call("pty_create", command="cat", title="one"))["data"]
    assert (await call("pty_connect_token", ptyID=terminal["id"]))["data"]["ticket"]
    await call("pty_remove", ptyID=terminal["id"])
