"""Three replicas behind nginx are one server: for clients of both eras, and when one of them is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import uuid4

import anyio
import httpx2
import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client import ClientRequestContext

from tests.eventually import eventually
from tests.server.conftest import call, new_session
from tests.server.test_subscriptions import UpdateRecorder, subscribe_while

from .deployment import Deployment, run_deployment, wait_for_replica

pytestmark = [pytest.mark.anyio, pytest.mark.scale]

CLIENT_MODES = ("legacy", "auto")
SLOW = "script:slow 20 1"
"""Twenty seconds of work."""


@pytest.fixture(scope="module")
async def deployment(anyio_backend: str) -> AsyncGenerator[Deployment]:
    """The example, for all tests of this module; it ends well."""
    async with run_deployment() as deployment:
        yield deployment
    assert deployment.process.returncode == 0


@pytest.fixture(params=CLIENT_MODES)
def era(request: pytest.FixtureRequest) -> str:
    """The protocol era."""
    return request.param


async def wait_for_report(client: Client, session_id: str) -> None:
    """See that a task is completed, with its answer."""
    observed = await call(client, "wait_for_tasks", session_ids=[session_id], timeout_seconds=120)
    assert [task["state"] for task in observed["tasks"]] == ["completed"]
    report = await call(client, "report_task", session_id=session_id)
    assert report["state"] == "completed"
    assert "chunk19" in report["answer"]


async def test_every_replica_serves_requests(deployment: Deployment, era: str) -> None:
    """A client of the handshake era stays with one, and the next client gets another."""
    calls = "opencode_mcp_tool_call_duration_seconds_count ok session_list"
    before = await deployment.read_metric(calls)
    for _ in range(6):
        async with deployment.open_client(era) as client:
            for _ in range(3):
                await call(client, "session_list")
    after = await deployment.read_metric(calls)

    parts = [after[name] - before[name] for name in after]
    assert sum(parts) == 18
    assert min(parts) >= 3
    if era == "legacy":
        assert [part % 3 for part in parts] == [0, 0, 0]


async def test_the_name_of_the_replica_is_in_the_session_id(deployment: Deployment) -> None:
    """And the replica alone knows what comes after it."""
    info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    begin = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": info}
    ask = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    accept = {"accept": "application/json, text/event-stream", **deployment.headers}
    async with httpx2.AsyncClient(headers=accept, trust_env=False) as http:
        opened = await http.post(deployment.url, json=begin)
        id = opened.headers["mcp-session-id"]
        replica, _, own = id.partition("-")
        statuses = {
            given: (await http.post(deployment.url, json=ask, headers={"mcp-session-id": given})).status_code
            for given in (id, own, f"r9-{own}", f"{replica}-unknown", f"{replica}-", "r")
        }
        refused = await http.post(deployment.url, json=ask, headers={"mcp-session-id": own})
        direct = await http.post(
            deployment.replicas[replica][1], json=ask, headers={"mcp-session-id": own, "host": "127.0.0.1:80"}
        )
        ended = await http.delete(deployment.url, headers={"mcp-session-id": id})
        gone = await http.post(deployment.url, json=ask, headers={"mcp-session-id": id})

    assert opened.headers.get_list("mcp-session-id") == [id]
    assert statuses.pop(id) == 200
    assert set(statuses.values()) <= {400, 404}
    assert refused.json()["error"]["message"] == "Session not found"
    assert direct.status_code == 200
    assert (ended.status_code, gone.status_code) == (200, 404)


async def test_requests_without_a_token_are_refused(deployment: Deployment) -> None:
    """The replicas ask for it; metrics are not told through nginx, and a body has the bridge's limit."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        assert (await http.post(deployment.url, json={})).status_code == 401
        assert (
            await http.get(deployment.url.replace("/mcp", "/metrics"), headers=deployment.headers)
        ).status_code == 404
        large = b"x" * (4 * 1024 * 1024 + 1)
        assert (await http.post(deployment.url, content=large, headers=deployment.headers)).status_code == 413


@pytest.mark.parametrize("killed_in", CLIENT_MODES)
async def test_no_task_is_lost_with_a_replica(deployment: Deployment, killed_in: str) -> None:
    """Its waiting client is told that something broke; whoever asks again, in any era, gets the truth."""
    async with deployment.open_client(killed_in) as client, deployment.open_client("auto") as other:
        task = (await call(client, "start_task", prompt=SLOW))["session_id"]
        killed: list[str] = []

        async def kill() -> None:
            replica = await wait_for_replica(deployment, "opencode_mcp_tool_calls_running wait_for_tasks")
            killed.append(replica)
            os.kill(deployment.replicas[replica][0], signal.SIGKILL)

        starts = dict(deployment.started)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill)
            with pytest.raises(MCPError):
                await client.call_tool("wait_for_tasks", {"session_ids": [task], "timeout_seconds": 60})

        for _ in range(9):  # no call meets the replica that is gone
            await call(other, "report_task", session_id=task)
        if killed_in == "legacy":
            with pytest.raises(MCPError):
                await client.call_tool("report_task", {"session_id": task})
        else:
            await wait_for_report(client, task)
    for era in CLIENT_MODES:
        async with deployment.open_client(era) as client:
            await wait_for_report(client, task)
    (replica,) = killed
    await eventually(lambda: deployment.started[replica] > starts[replica])


async def test_another_replica_accepts_the_answer_to_an_elicitation(deployment: Deployment) -> None:
    """The state of a question comes back through the client, sealed with the key that all have."""

    async def blue(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"answer_1": "Blue"})

    figure = "opencode_mcp_tool_call_duration_seconds_count {} run_task"
    async with deployment.open_client("auto", elicitation_callback=blue) as client:
        report = await call(client, "run_task", prompt="script:question", timeout_seconds=60)
    asked, taken = [await deployment.read_metric(figure.format(outcome)) for outcome in ("input_required", "ok")]

    assert report["state"] == "completed"
    assert (sum(asked.values()), sum(taken.values())) == (1, 1)
    assert asked != taken


async def test_a_change_reaches_subscribers_of_every_replica(deployment: Deployment, era: str) -> None:
    """One of the replicas watches OpenCode, and Redis carries what it sees."""
    async with deployment.open_client("auto") as worker:
        uri = f"opencode://session/{await new_session(worker)}"
        all_updates = [UpdateRecorder() for _ in range(6)]
        async with anyio.create_task_group() as tasks:
            listening, told = anyio.Semaphore(0), anyio.Event()

            async def listen(updates: UpdateRecorder) -> None:
                async with (
                    deployment.open_client(era, message_handler=updates.record) as client,
                    subscribe_while(client, uri),
                ):
                    listening.release()
                    await told.wait()

            for updates in all_updates:
                tasks.start_soon(listen, updates)
            with anyio.fail_after(60):
                for _ in all_updates:
                    await listening.acquire()
            # Those of a client that has just gone, or of a replica that could not ask Redis, end a moment later.
            await eventually(
                lambda: deployment.read_metric("opencode_mcp_subscriptions"),
                until=lambda followers: sum(followers.values()) == 6 and min(followers.values()) > 0,
            )
            await eventually(
                lambda: deployment.read_metric("opencode_mcp_event_streams"),
                until=lambda streams: sum(streams.values()) == 1,
            )
            seen = [updates.uris.count(uri) for updates in all_updates]
            await call(worker, "session_update", sessionID=uri.rpartition("/")[2], title=f"title {uuid4()}")
            with anyio.fail_after(60):
                for updates, before in zip(all_updates, seen, strict=True):
                    await updates.wait_for_update(uri, before)
            told.set()


async def test_two_opencode_servers_look_like_one(deployment: Deployment, era: str) -> None:
    """Sessions of both are in one list, and each is found by its id from any replica."""
    async with deployment.open_client(era) as one, deployment.open_client(era) as two:
        created = {
            name: (await call(one, "session_create", server=name, title=f"on {name} {uuid4()}"))
            for name in ("one", "two")
        }
        listed = {session["id"]: session["server"] for session in await call(two, "session_list")}
        for name, session in created.items():
            assert listed[session["id"]] == name
            assert (await call(two, "session_get", sessionID=session["id"]))["title"] == session["title"]
            assert f"/{name}/project" in session["directory"]


async def test_no_process_outlives_a_killed_deployment(tmp_path: Path) -> None:
    """The system ends what it has started."""
    async with run_deployment(TMPDIR=str(tmp_path)) as deployment:
        assert len(deployment.list_processes()) >= 7
        deployment.process.kill()
        await eventually(lambda: not deployment.list_processes())
    async with httpx2.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get(deployment.url)
