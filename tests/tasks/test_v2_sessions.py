"""The task tools refuse a session of OpenCode's v2 API: they cannot read its state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from examples.scripted_model import ScriptedModel, provider_config
from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode.models import Session
from opencode_mcp.tasks.metadata import TaskMetadata, check_metadata_stored
from opencode_mcp.tasks.registry import TASK_TOOLS
from tests.eventually import eventually
from tests.facts import facts

pytestmark = pytest.mark.anyio

MODEL = {"id": "scripted", "providerID": "scripted"}
V2_SESSION_ERROR = "is a session of OpenCode's v2 API, which the task tools cannot read or stop: use v2_session_active"


def result_text(result: types.CallToolResult) -> str:
    """Return the text of a result."""
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def test_task_tools_refuse_a_v2_session(client: Client, project: Path, model: ScriptedModel) -> None:
    """While it runs and afterwards; the tools that the error names read and stop it."""
    (project / "opencode.json").write_text(json.dumps(provider_config(model.url)))
    where = {"directory": str(project)}

    async def value(name: str, **arguments: Any) -> Any:
        result = await client.call_tool(name, arguments)
        assert not result.is_error, result_text(result)
        return facts(result).get("data")

    async def loaded() -> bool:
        return any(one["id"] == "scripted" for one in await value("v2_model_list", location=where))

    await eventually(loaded)
    session = (await value("v2_session_create", model=MODEL, location=where))["id"]
    await value("v2_session_prompt", sessionID=session, prompt={"text": "script:slow 1000"})

    async def works() -> bool:
        return session in await value("v2_session_active")

    await eventually(works)
    calls: Mapping[str, dict[str, Any]] = {
        "report_task": {"session_id": session},
        "stop_task": {"session_id": session},
        "wait_for_tasks": {"session_ids": [session]},
        "run_task": {"session_id": session, "prompt": "go on"},
        "start_task": {"session_id": session, "prompt": "go on"},
        "run_tasks": {"tasks": [{"session_id": session, "prompt": "go on"}]},
        "collect_changes": {"session_id": session},
        "read_transcript": {"session_id": session},
        "answer_permission": {"session_id": session, "request_id": "per_1", "reply": "once"},
        "answer_question": {"session_id": session, "request_id": "que_1", "reject": True},
    }
    assert calls.keys() == TASK_TOOLS.keys() - {"list_tasks"}
    for name, arguments in calls.items():
        refused = await client.call_tool(name, arguments)
        assert refused.is_error, name
        assert f"{session} {V2_SESSION_ERROR}" in result_text(refused), name
    assert await works()
    await client.call_tool("v2_session_interrupt", {"sessionID": session})
    await eventually(works, until=lambda busy: not busy)
    for name, arguments in calls.items():
        assert V2_SESSION_ERROR in result_text(await client.call_tool(name, arguments)), name


class MetadataDroppingOpenCode:
    """An OpenCode that keeps no metadata."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.server = self
        self.catalog = Catalog.from_snapshot()

    def describe(self) -> str:
        return "OpenCode at http://old"

    async def call(self, name: str, /, **arguments: Any) -> Any:
        self.calls.append((name, arguments))


@pytest.mark.parametrize(
    ("task", "needs"),
    [
        (TaskMetadata(permissions="report", request_id="r"), "request_id"),
        (TaskMetadata(permissions="reject"), "permissions `reject`"),
        (TaskMetadata(permissions="ask"), "permissions `ask`"),
        (TaskMetadata(permissions="report", worktree_of="/project"), "worktree"),
        (TaskMetadata(permissions="report"), ""),
        (TaskMetadata(permissions="allow"), ""),
    ],
)
async def test_a_task_that_needs_metadata_is_refused_when_it_is_dropped(task: TaskMetadata, needs: str) -> None:
    """By what session_create returned; the session is deleted again. One that needs none goes on."""
    opencode: Any = MetadataDroppingOpenCode()
    session = Session.model_validate({"id": "ses_1", "directory": "/project", "time": {"created": 1}})
    if not needs:
        await check_metadata_stored(opencode, session, task)
        assert opencode.calls == []
        return
    with pytest.raises(WorkflowError, match=f"does not store session metadata, which {needs} needs: nothing was"):
        await check_metadata_stored(opencode, session, task)
    assert opencode.calls == [("session_delete", {"sessionID": "ses_1"})]


async def test_a_task_with_stored_metadata_continues() -> None:
    """As from 1.15.13 on."""
    task = TaskMetadata(permissions="reject", request_id="r")
    metadata = {"opencode_mcp": task.model_dump(exclude_none=True)}
    facts = {"id": "ses_1", "directory": "/project", "time": {"created": 1}, "metadata": metadata}
    opencode: Any = MetadataDroppingOpenCode()
    await check_metadata_stored(opencode, Session.model_validate(facts), task)
    assert opencode.calls == []
