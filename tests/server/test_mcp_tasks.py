"""MCP Tasks on a real OpenCode: a call that runs on, its forms, its result, its end."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server, tool_handlers
from opencode_mcp.settings import Settings

from .connections import open_memory_streams
from .raw_task_client import FORMS, TASKS, TaskClient, open_task_client, report_of

pytestmark = pytest.mark.anyio

OpenClient = Callable[..., AbstractAsyncContextManager[TaskClient]]


@pytest.fixture(autouse=True)
def long_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold calls for as long as a slow machine needs for a short task."""
    monkeypatch.setattr(tool_handlers, "HOLD_SECONDS", 60.0)


@pytest.fixture
def open_client(attached: Settings, catalog: Catalog) -> OpenClient:
    """Open a client with a bridge of its own."""

    @asynccontextmanager
    async def open_one(
        capabilities: Mapping[str, Any] = {**TASKS, **FORMS}, **settings: Any
    ) -> AsyncGenerator[TaskClient]:
        server = create_server(replace(attached, **settings), catalog)
        async with open_memory_streams(server) as streams, open_task_client(streams, capabilities) as client:
            yield client

    return open_one


@pytest.fixture
async def client(open_client: OpenClient) -> AsyncGenerator[TaskClient]:
    """A client with MCP Tasks and forms."""
    async with open_client() as client:
        yield client


def hold_prompt(folder: Path, name: str = "go") -> tuple[str, Path]:
    """Return a prompt whose turn lasts until a file exists, and that file."""
    return f"script:hold {folder / name}", folder / name


async def test_a_long_task_runs_on(client: TaskClient, tmp_path: Path) -> None:
    """The call returns a handle; the task completes with the report that the call would have returned."""
    prompt, file = hold_prompt(tmp_path)
    handle = await client.call("run_task", prompt=prompt, timeout_seconds=0)
    task_id = handle["taskId"]
    working = await client.get(task_id)
    file.touch()
    state = await client.wait(task_id)

    assert (handle["resultType"], handle["status"], handle["ttlMs"], handle["pollIntervalMs"]) == (
        "task",
        "working",
        None,
        1000,
    )
    assert (working["resultType"], working["status"], working["statusMessage"]) == (
        "complete",
        "working",
        "waiting for the model",
    )
    assert working["createdAt"] == state["createdAt"] == handle["createdAt"]
    report = report_of(state)
    assert (report["state"], report["answer"]) == ("completed", "held")
    assert state["result"]["structuredContent"] == report


async def test_a_short_task_is_answered_by_the_call(client: TaskClient) -> None:
    """There is no handle for what ends while the call is held."""
    result = await client.call("run_task", prompt="script:text short")
    assert result["resultType"] == "complete"
    assert result["structuredContent"]["state"] == "completed"


async def test_another_bridge_continues(open_client: OpenClient, client: TaskClient, tmp_path: Path) -> None:
    """The handle names all that another process needs, also when a follow-up runs in the session."""
    prompt, file = hold_prompt(tmp_path)
    task_id = await client.start("run_task", prompt=prompt, timeout_seconds=0)
    async with open_client() as other:
        assert (await other.get(task_id))["status"] == "working"
        file.touch()
        assert report_of(await other.wait(task_id))["answer"] == "held"
        follow_up, second_file = hold_prompt(tmp_path, "second")
        session_id = task_id.partition(".")[0]
        second = await other.start("run_task", prompt=follow_up, session_id=session_id, timeout_seconds=0)
        assert second != task_id
        async with open_client() as third:
            assert report_of(await third.get(task_id))["answer"] == "held"
            await third.request("tasks/cancel", taskId=task_id)
            assert (await third.get(second))["status"] == "working"
            second_file.touch()
            assert report_of(await third.wait(second))["state"] == "completed"


async def test_forms_reach_the_user(client: TaskClient, project: Path) -> None:
    """A permission is a form; the answer is checked, and the task goes on."""
    (project / "opencode.json").write_text(json.dumps({"permission": {"bash": "ask"}}))
    task_id = await client.start("run_task", prompt="script:bash")
    state = await client.get(task_id)
    assert state["status"] == "input_required"
    [(key, form)] = state["inputRequests"].items()
    assert form["method"] == "elicitation/create"
    assert "echo hello-from-bash" in form["params"]["message"]

    wrong = {"action": "accept", "content": {"reply": "maybe"}}
    for responses in ({"per_other": {"action": "decline"}}, {key: wrong}, {key: "nonsense"}):
        assert (await client.request("tasks/update", taskId=task_id, inputResponses=responses))[
            "resultType"
        ] == "complete"
        assert [*(await client.get(task_id))["inputRequests"]] == [key]
    answer = {"action": "accept", "content": {"reply": "once"}}
    await client.request("tasks/update", taskId=task_id, inputResponses={key: answer})
    assert report_of(await client.wait(task_id))["state"] == "completed"
    await client.request("tasks/update", taskId=task_id, inputResponses={key: answer})
    assert report_of(await client.get(task_id))["state"] == "completed"


async def test_without_forms_the_model_answers(open_client: OpenClient, project: Path) -> None:
    """A client that shows no forms gets the report with what waits."""
    (project / "opencode.json").write_text(json.dumps({"permission": {"bash": "ask"}}))
    async with open_client(TASKS) as client:
        result = await client.call("run_task", prompt="script:bash")
        assert result["structuredContent"]["state"] == "waiting_permission"


async def test_cancel_stops_the_task(open_client: OpenClient, client: TaskClient, tmp_path: Path) -> None:
    """The task is cancelled once its session has stopped, for every bridge; twice is the same as once."""
    prompt, _ = hold_prompt(tmp_path)
    task_id = await client.start("run_task", prompt=prompt, timeout_seconds=0)
    for _ in range(2):
        assert (await client.request("tasks/cancel", taskId=task_id))["resultType"] == "complete"
    assert (await client.wait(task_id))["status"] == "cancelled"
    report = await client.call("report_task", session_id=task_id.partition(".")[0])
    assert report["structuredContent"]["state"] == "stopped"
    async with open_client() as other:
        assert (await other.get(task_id))["status"] == "cancelled"


async def test_several_tasks_have_one_handle(open_client: OpenClient, client: TaskClient, tmp_path: Path) -> None:
    """The handle of run_tasks stands for all; any bridge reports them in their order."""
    prompts = [hold_prompt(tmp_path, name) for name in ("a", "b")]
    tasks = [{"prompt": prompt} for prompt, _ in prompts]
    task_id = await client.start("run_tasks", tasks=tasks, timeout_seconds=0)
    prompts[0][1].touch()
    async with open_client() as other:
        assert (await other.get(task_id))["status"] == "working"
        prompts[1][1].touch()
        report = report_of(await other.wait(task_id))
    assert [task["state"] for task in report["tasks"]] == ["completed", "completed"]
    assert report["tasks"][0]["session_id"] == task_id.partition(".")[0]


async def test_a_wait_ends_without_its_tasks(client: TaskClient, tmp_path: Path) -> None:
    """Cancelling a wait stops no task; a session that does not exist has its error in the result of the others."""
    prompt, file = hold_prompt(tmp_path)
    task_id = await client.start("run_task", prompt=prompt, timeout_seconds=0)
    sessions = ["ses.unknown", task_id.partition(".")[0]]
    waits = [await client.start("wait_for_tasks", session_ids=sessions, timeout_seconds=0) for _ in range(2)]
    assert waits[0] == waits[1]
    alone = await client.start("wait_for_tasks", session_ids=sessions[1:], timeout_seconds=0)
    await client.request("tasks/cancel", taskId=alone)
    assert (await client.get(alone))["status"] == "cancelled"
    assert [(await client.get(running))["status"] for running in (task_id, waits[0])] == ["working", "working"]
    file.touch()
    report = report_of(await client.wait(waits[0]))
    assert [task["state"] for task in report["tasks"]] == ["completed"]
    assert report["errors"].keys() == {"ses.unknown"}
