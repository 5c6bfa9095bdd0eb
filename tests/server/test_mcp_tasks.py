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
from opencode_mcp.redaction import MARKER
from opencode_mcp.server import create_server, tool_handlers
from opencode_mcp.settings import Settings
from tests.eventually import eventually

from .connections import open_memory_streams
from .raw_task_client import FORMS, TASKS, TaskClient, open_task_client, report_of

pytestmark = pytest.mark.anyio

SECRET = "sk-inherited-5Hq0Vb2w8Zt1Lk"
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
    """Cancelling a wait stops neither the task nor another wait; an unknown session has its error in the result."""
    prompt, file = hold_prompt(tmp_path)
    task_id = await client.start("run_task", prompt=prompt, timeout_seconds=0)
    sessions = ["ses.unknown", task_id.partition(".")[0]]
    waits = [await client.start("wait_for_tasks", session_ids=sessions, timeout_seconds=0) for _ in range(2)]
    assert waits[0] != waits[1]
    await client.request("tasks/cancel", taskId=waits[1])
    assert (await client.get(waits[1]))["status"] == "cancelled"
    assert [(await client.get(running))["status"] for running in (task_id, waits[0])] == ["working", "working"]
    file.touch()
    report = report_of(await client.wait(waits[0]))
    assert [task["state"] for task in report["tasks"]] == ["completed"]
    assert report["errors"].keys() == {"ses.unknown"}


async def test_cancelling_the_held_call_stops_the_task(client: TaskClient, tmp_path: Path) -> None:
    """Before there is a handle, a cancelled call stops what it has started."""
    prompt, _ = hold_prompt(tmp_path)
    session_id = json.loads((await client.call("session_create"))["content"][0]["text"])["id"]
    number = await client.send("tools/call", name="run_task", arguments={"prompt": prompt, "session_id": session_id})

    async def state() -> str:
        return (await client.call("report_task", session_id=session_id))["structuredContent"]["state"]

    await eventually(state, until=lambda found: found == "running")
    await client.cancel_request(number)
    await eventually(state, until=lambda found: found == "stopped")


async def test_a_task_shows_no_secret(open_client: OpenClient, project: Path) -> None:
    """Neither in its form nor in its status or its result."""
    (project / "opencode.json").write_text(json.dumps({"permission": {"bash": "ask"}}))
    command = json.dumps({"command": f"echo {SECRET}", "description": "Say it"})
    async with open_client(environ={"SOME_API_KEY": SECRET, "PWD": str(project)}) as client:
        task_id = await client.start("run_task", prompt=f"script:tool bash {command}")
        asked = await client.get(task_id)
        [key] = asked["inputRequests"]
        answer = {"action": "accept", "content": {"reply": "reject"}}
        await client.request("tasks/update", taskId=task_id, inputResponses={key: answer})
        ended = await client.wait(task_id)
    for shown in (asked, ended):
        assert SECRET not in json.dumps(shown)
    assert MARKER in asked["statusMessage"]
    assert MARKER in asked["inputRequests"][key]["params"]["message"]
    assert MARKER in ended["result"]["content"][0]["text"]


async def test_a_task_elsewhere_is_not_shown(open_client: OpenClient, client: TaskClient, tmp_path: Path) -> None:
    """`--allow-directory` holds for what a handle names; nothing is answered or stopped there."""
    prompt, file = hold_prompt(tmp_path)
    task_id = await client.start("run_task", prompt=prompt, timeout_seconds=0)
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    async with open_client(directory=str(allowed), allow_directory=(str(allowed),)) as confined:
        state = await confined.get(task_id)
        await confined.request("tasks/cancel", taskId=task_id)
    assert state["result"]["isError"]
    assert "held" not in json.dumps(state)
    file.touch()
    assert report_of(await client.wait(task_id))["state"] == "completed"


@pytest.mark.parametrize("tool", ["session_prompt", "call"])
async def test_a_blocking_prompt_becomes_a_task(
    client: TaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    """Also through the gateway; the result is the message that the operation returns."""
    monkeypatch.setattr(tool_handlers, "HOLD_SECONDS", 0.1)
    prompt, file = hold_prompt(tmp_path)
    session_id = json.loads((await client.call("session_create"))["content"][0]["text"])["id"]
    arguments: dict[str, Any] = {"sessionID": session_id, "parts": [{"type": "text", "text": prompt}]}
    if tool == "call":
        tool, arguments = "change_operation", {"operation": "session_prompt", "arguments": arguments}
    task_id = await client.start(tool, **arguments)
    assert ".session_prompt." in task_id
    file.touch()
    state = await client.wait(task_id)
    message = json.loads(state["result"]["content"][0]["text"])
    assert message["info"]["role"] == "assistant"
    assert [part["text"] for part in message["parts"] if part["type"] == "text"] == ["held"]
