"""list_tasks on a real OpenCode: rows of tasks that wait, work in worktrees, were deleted or are on several servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS
from tests.conftest import Connect
from tests.tasks.worktree.test_worktrees import git

from .conftest import call, new_session

pytestmark = pytest.mark.anyio

ASKS: Mapping[str, Any] = {"permission": {"bash": "ask"}, "snapshot": False}
PLAIN: dict[str, Any] = {}
MODELS = ["scripted/scripted", "scripted/other"]


@pytest.fixture
async def client(connect: Connect) -> Any:
    """A client in one era: what a task tool returns is the same in both."""
    async with connect() as client:
        yield client


async def list_rows(client: Client, **arguments: Any) -> dict[str, dict[str, Any]]:
    """Return the rows by their sessions, in their order."""
    listed = await call(client, "list_tasks", **arguments)
    return {row["session_id"]: row for row in listed["tasks"]}


def bash(command: str) -> str:
    """Return a prompt that runs a command."""
    return f"script:tool bash {json.dumps({'command': command, 'description': 'work'})}"


async def test_waiting_tasks_show_what_they_ask_and_answering_them_ends_that(client: Client, project: Path) -> None:
    """The whole command of a permission, also of a subagent's; the options of a question."""
    (project / "opencode.json").write_text(json.dumps(ASKS))
    command = f"cat > made <<'END'\n{'word ' * 100}\nEND\nrm -r build"
    asks = await call(client, "run_task", prompt=bash(command), permissions="report")
    question = await call(client, "run_task", prompt="script:question", permissions="report")
    below = await call(client, "run_task", prompt=f"script:task {bash('touch below')}", permissions="report")

    rows = await list_rows(client)
    assert [*rows] == [below["session_id"], question["session_id"], asks["session_id"]]
    row = rows[asks["session_id"]]
    assert (row["state"], row["agent"], row["model"]) == ("waiting_permission", "build", "scripted/scripted")
    assert row["activity"].startswith("bash")
    [request] = row["pending"]
    assert request["wants"] == f"bash: cat > made <<'END' ⏎ {'word ' * 100} ⏎ END ⏎ rm -r build"
    assert request == asks["pending"][0]
    [request] = rows[question["session_id"]]["pending"]
    assert [option["label"] for option in request["questions"][0]["options"]] == ["Red", "Blue"]
    parent = rows[below["session_id"]]
    [subagent] = parent["subagents"]
    assert (subagent["running"], subagent["agent"]) == (True, "general")
    [request] = parent["pending"]
    assert (request["session_id"], request["wants"]) == (subagent["session_id"], "bash: touch below")

    since = max(row["updated"] for row in rows.values())
    reply = {"reply": "reject", "timeout_seconds": 30}
    for pending in (asks["pending"][0], request):
        await call(client, "answer_permission", **pending["answer_with"]["arguments"], **reply)
    answers = {"answers": [["Red"]], "timeout_seconds": 30}
    await call(client, "answer_question", **question["pending"][0]["answer_with"]["arguments"], **answers)
    changed = await list_rows(client, since=since, session_ids=[*rows])
    assert {row["state"] for row in changed.values()} <= {"completed", "stopped"}
    assert [row["pending"] for row in changed.values()] == [[], [], []]
    assert changed[below["session_id"]]["subagents"] == [{**subagent, "running": False}]


async def test_answers_in_worktrees_are_rows_of_the_project_until_they_are_deleted(
    client: Client, project: Path, environ: Mapping[str, str]
) -> None:
    """Each says of which group it is, and what became of its worktree. What discarding would lose is named."""
    models = dict.fromkeys((name.partition("/")[2] for name in MODELS), PLAIN)
    provider = {"models": models}
    (project / "opencode.json").write_text(json.dumps({"provider": {"scripted": provider}, "snapshot": False}))
    for command in (("add", "-A"), ("commit", "-qm", "models")):
        git(project, environ, *command)
    started = await call(
        client,
        "run_tasks",
        tasks=[{"prompt": bash("echo new > made"), "permissions": "allow"}],
        models=MODELS,
        timeout_seconds=120,
    )
    first, second = [report["session_id"] for report in started["tasks"]]
    rows = await list_rows(client)
    assert rows.keys() == {first, second}
    assert {row["state"] for row in rows.values()} == {"completed"}
    assert {rows[session_id]["answers"]["number"] for session_id in (first, second)} == {1, 2}
    assert rows[first]["worktree"] == {"project": str(project), "branch": rows[first]["worktree"]["branch"]}
    assert rows[first]["directory"] != str(project)

    assert (await call(client, "collect_changes", session_id=first))["missing"] == ["made"]
    applied = await call(client, "collect_changes", session_id=first, apply=True, discard=True)
    assert "missing" not in applied
    lost = await call(client, "collect_changes", session_id=second, discard=True, force=True)
    assert "missing" not in lost  # the project has the same file

    rows = await list_rows(client)
    assert rows[first]["worktree"]["collected"] is True
    assert {rows[session_id]["worktree"]["removed"] for session_id in (first, second)} == {"discarded"}
    await call(client, "session_delete", sessionID=first)
    assert [*(await list_rows(client))] == [second]


async def test_a_person_may_page_through_tasks_and_a_reading_client_is_told_no_tool_that_changes_something(
    client: Client, connect: Connect, attached: Settings, project: Path
) -> None:
    """Sessions that no task tool has made are tasks as well."""
    created = [await new_session(client, title=f"task {number}") for number in range(3)][::-1]
    done = (await call(client, "run_task", prompt="hello"))["session_id"]

    listed = await call(client, "list_tasks", limit=2)
    assert [row["session_id"] for row in listed["tasks"]] == [done, created[0]]
    assert (listed["total"], listed["project"]) == (4, str(project))
    assert [*(await list_rows(client, offset=2, limit=2))] == created[1:]
    ended, idle = listed["tasks"]
    assert (ended["state"], idle["state"], ended["tokens"] > 0) == ("completed", "idle", True)
    assert 0 < ended["elapsed_seconds"] < 60

    await call(client, "session_update", sessionID=done, title="renamed")  # which changes no time (1.18.33)
    changed = await list_rows(client, since=ended["updated"] + 60_000)
    assert [row["title"] for row in changed.values()] == ["renamed"]
    assert {"answer_permission", "stop_task", "start_task", "collect_changes"} <= {*listed["tools"]}

    async with connect(replace(attached, read_only=True)) as reader:
        reading = await call(reader, "list_tasks")
        listed_tools = {tool.name for tool in (await reader.list_tools()).tools}
    assert {*reading["tools"]} == listed_tools & TASK_TOOLS.keys()
    assert {"answer_permission", "stop_task", "start_task"}.isdisjoint(reading["tools"])
    assert reading["tasks"] == (await call(client, "list_tasks"))["tasks"]
