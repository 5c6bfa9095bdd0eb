"""A task that could not be started: what was created for it is removed, and what cannot be removed is named."""

from __future__ import annotations

import anyio
import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import NotUndone, WorkflowError
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient, ServerPool
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.models import Session, parse_model
from opencode_mcp.tasks import Context
from opencode_mcp.tasks.metadata import TaskMetadata
from opencode_mcp.tasks.options import StartTask
from opencode_mcp.tasks.pending_starts import PendingStart
from opencode_mcp.tasks.start import MAX_DEPTH
from opencode_mcp.tasks.task_event import TaskEvent
from opencode_mcp.tasks.workspace import prepare_workspace

pytestmark = pytest.mark.anyio

SESSION = {"id": "ses_1", "directory": "/w/tree", "title": "", "time": {"created": 1, "updated": 1}}


async def undo_start(catalog: Catalog, *refused: str) -> tuple[str, list[str]]:
    """Fail to start a task in a worktree; return the error's words and the paths that were to be deleted.

    OpenCode refuses to delete what is at a `refused` path.
    """
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            sent.append(request.url.path)
        return httpx2.Response(400 if request.url.path in refused else 200, json=True)

    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test")))
    async with OpenCodeClient(server, catalog, transport=httpx2.MockTransport(answer)) as opencode:
        with pytest.raises(WorkflowError, match="no answer") as raised:
            async with prepare_workspace(opencode.with_options(retry_seconds=()), "/project", worktree=False) as place:
                place.task = TaskMetadata(worktree_of="/project", worktree="/w/tree")
                place.session = parse_model("a session", Session, SESSION)
                raise WorkflowError("no answer")
    assert isinstance(raised.value, NotUndone) == bool(refused)
    return str(raised.value), sent


async def test_a_failed_start_removes_its_session_and_worktree(catalog: Catalog) -> None:
    """The session first, which stops what runs in the worktree."""
    assert await undo_start(catalog) == ("no answer", ["/session/ses_1", "/experimental/worktree"])


async def test_a_worktree_with_a_possibly_running_session_is_kept(catalog: Catalog) -> None:
    """A prompt without a response may have arrived: the session and its files stay."""
    said, sent = await undo_start(catalog, "/session/ses_1")
    assert "ses_1" in said and "/w/tree" in said and "may be running" in said
    assert sent == ["/session/ses_1"]


async def test_a_worktree_that_cannot_be_removed_is_named(catalog: Catalog) -> None:
    """The session was removed."""
    said, sent = await undo_start(catalog, "/experimental/worktree")
    assert "the worktree /w/tree" in said and "ses_1" not in said
    assert sent == ["/session/ses_1", "/experimental/worktree"]


@pytest.mark.parametrize("caller_returned", [False, True])
async def test_a_start_that_fails_after_its_call_is_an_event(catalog: Catalog, caller_returned: bool) -> None:
    """A call that still waits for the start raises the error instead."""
    events: list[TaskEvent] = []
    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test")))
    async with OpenCodeClient(server, catalog) as opencode:
        pool = ServerPool({"": opencode})
        context = Context(pool, ignore_progress, depth=MAX_DEPTH, send_event=events.append)
        start = PendingStart(caller_returned=caller_returned)
        await start.run(context, StartTask.model_validate({"prompt": "x"}), anyio.CapacityLimiter(1))

    assert isinstance(start.failure, WorkflowError)
    assert [event.state for event in events] == ["failed"] * caller_returned
    assert all(event.error == str(start.failure) for event in events)
