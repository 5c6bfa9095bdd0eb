"""`opencode-mcp sessions` with an OpenCode 2: its background service, or one that `--url` names."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.cli.commands.sessions import SessionView
from opencode_mcp.connect import expected_generation
from opencode_mcp.settings import Settings
from tests.opencode.process.test_service import register
from tests.opencode2.client import FakeClient, open_client
from tests.opencode2.fake import PASSWORD
from tests.opencode2.test_requests import ASKING, WRITE
from tests.opencode2.test_subagents import child_of, delegate

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(model: ScriptedModel, tmp_path: Path) -> AsyncGenerator[FakeClient]:
    """A client of a fake that asks before each edit."""
    async with open_client(model, tmp_path, config=ASKING) as client:
        yield client


def load(home: Path, environ: Mapping[str, str], **options: Any) -> Settings:
    """Return the settings of a user with an empty home."""
    return Settings.load(options, {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **environ})


def load_with_service(client: FakeClient, home: Path, **options: Any) -> Settings:
    """Return the settings of a user whose background service the fake is."""
    return load(home, register(home, client.fake.url, pid=os.getpid(), password=PASSWORD), **options)


async def read(settings: Settings, limit: int = 20) -> Any:
    """Return what `--json` prints."""
    return await SessionView(settings, limit, []).read()


async def test_the_sessions_of_the_service_are_shown(client: FakeClient, tmp_path: Path) -> None:
    """What waits comes first; a subagent is part of its session, and an archived one is not listed."""
    other = tmp_path / "other"
    other.mkdir()
    archived = await client.run("script:text old")
    await client.request("PATCH", f"session/{archived}", 204, json={"archived": True})
    idle = await client.create(location={"directory": str(other)}, title="an idle one")
    failed = await client.run("script:error 400")
    completed = await client.run("script:text done")
    running = await client.create()
    await client.prompt(running, "script:hang")
    waiting = await client.create()
    await client.prompt(waiting, delegate(WRITE))
    request = await client.permission(await child_of(client, waiting))

    settings = load_with_service(client, tmp_path)
    data = await read(settings)
    assert data["problems"] == []
    rows = {row["id"]: row for row in data["sessions"]}
    assert [row["id"] for row in data["sessions"][:2]] == [waiting, running]
    states = {session_id: row["state"] for session_id, row in rows.items()}
    assert states == {
        waiting: "waiting_permission",
        running: "running",
        completed: "completed",
        failed: "failed",
        idle: "idle",
    }
    assert (rows[idle]["directory"], rows[idle]["title"]) == (str(other), "an idle one")
    assert "400" in rows[failed]["error"]
    assert (rows[completed]["model"], rows[completed]["tokens"] > 0) == ("scripted/scripted", True)
    [pending] = rows[waiting]["pending"]
    assert (pending["id"], pending["kind"], pending["wants"]) == (request["id"], "permission", "edit: made.txt")
    assert pending["answer_with"]["arguments"]["request_id"] == request["id"]

    # Running sessions are found even if they are older than those that are listed.
    newest = await client.create()
    few = [row["id"] for row in (await read(settings, 2))["sessions"]]
    assert few == [waiting, running]
    assert newest not in few
    assert (await read(load_with_service(client, tmp_path, generation="1")))["sessions"] == []
    assert client.fake.contract.faults == []


async def test_no_session_outside_the_allowed_directories_is_shown(client: FakeClient, tmp_path: Path) -> None:
    """Nor one that works."""
    other = tmp_path / "other"
    other.mkdir()
    outside = await client.create()
    await client.prompt(outside, "script:hang")
    inside = await client.create(location={"directory": str(other)})
    data = await read(load_with_service(client, tmp_path, allow_directory=[str(other)]))
    assert ([row["id"] for row in data["sessions"]], data["problems"]) == ([inside], [])


async def test_the_generation_at_an_address_is_found(client: FakeClient, tmp_path: Path) -> None:
    """The next start lists its tools, as after `doctor`."""
    session_id = await client.run("script:text done")
    settings = load(tmp_path, {"OPENCODE_PASSWORD": PASSWORD}, url=client.fake.url)
    data = await read(settings)
    assert [(row["id"], row["state"]) for row in data["sessions"]] == [(session_id, "completed")]
    assert (data["problems"], expected_generation(settings)) == ([], 2)


async def test_a_service_that_cannot_be_read_is_a_problem(client: FakeClient, tmp_path: Path) -> None:
    """As one that still starts."""
    settings = load_with_service(client, tmp_path)
    client.fake.state = "starting"
    data = await read(settings)
    assert data["sessions"] == []
    [problem] = data["problems"]
    assert problem.startswith(f"OpenCode's background service at {client.fake.url} (process {os.getpid()}): ")
    assert "503" in problem
