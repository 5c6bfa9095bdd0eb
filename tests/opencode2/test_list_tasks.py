"""list_tasks at a bridge to an OpenCode 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.scripted_model import ScriptedModel
from tests.facts import facts

from .client import open_client
from .test_resources import open_bridge

ASK: list[dict[str, str]] = [{"action": "shell", "resource": "*", "effect": "ask"}]

pytestmark = pytest.mark.anyio


async def test_tasks_are_listed_with_what_they_wait_for(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """As those of OpenCode 1; but a permission has the single commands, not the text that they come from."""
    command = json.dumps({"command": "touch made\ntouch more", "description": "work"})
    async with open_client(model, tmp_path) as client, open_bridge(client) as bridge:
        ended = await client.run("script:write", title="ended")
        waiting = await client.create(permissions=ASK)
        await client.prompt(waiting, f"script:tool bash {command}")
        await client.permission(waiting)
        listed = facts(await bridge.call_tool("list_tasks", {}))
        since = max(row["updated"] for row in listed["tasks"])
        again = facts(await bridge.call_tool("list_tasks", {"since": since, "session_ids": [ended]}))
    rows = {row["session_id"]: row for row in listed["tasks"]}
    assert [*rows] == [waiting, ended]
    assert (rows[ended]["state"], rows[ended]["title"], rows[ended]["pending"]) == ("completed", "ended", [])
    assert rows[waiting]["state"] == "waiting_permission"
    assert [request["wants"] for request in rows[waiting]["pending"]] == ["shell: touch made, touch more"]
    assert [row["session_id"] for row in again["tasks"]] == [*rows]
    assert listed["project"] == str(client.directory)
