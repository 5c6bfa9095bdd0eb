"""Worktrees on another machine that must not be discarded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.opencode.models import FileChange, Message, Session, parse_model
from opencode_mcp.tasks.metadata import TaskMetadata
from opencode_mcp.tasks.worktree.remote import RemoteChanges, read_remote_changes

pytestmark = pytest.mark.anyio

SESSION = {"id": "ses_1", "directory": "/w/tree", "title": "", "time": {"created": 1, "updated": 1}}
CALL = {"type": "tool", "tool": "bash", "state": {"status": "completed", "input": {"command": "git commit -am x"}}}


async def discard_worktree_with(
    catalog: Catalog, vcs: Mapping[str, str], *parts: dict[str, Any], force: bool = False
) -> None:
    """Discard a worktree without visible changes, in which a reply with these parts has run."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        paths: dict[str, object] = {
            "/path": {"directory": "/project", "worktree": "/project", "home": "/", "state": "/", "config": "/"},
            "/vcs": vcs,
            "/vcs/diff": [],
            "/global/health": {"healthy": True, "version": "1.18.33"},
        }
        return httpx2.Response(200, json=paths[request.url.path])

    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test")))
    info = {"id": "msg_2", "sessionID": "ses_1", "role": "assistant", "time": {"created": 1, "completed": 2}}
    message = parse_model("a message", Message, {"info": info, "parts": parts})
    task = TaskMetadata(worktree_of="/project", worktree="/w/tree", branch="feature")
    async with OpenCodeClient(server, catalog, transport=httpx2.MockTransport(answer)) as opencode:
        session = parse_model("a session", Session, SESSION)
        found = await read_remote_changes(opencode, session, task, [message])
        assert found.missing == []
        async with found.prepare_removal(force) as branch:
            assert branch is None


async def test_a_worktree_with_unreadable_commits_is_kept(catalog: Catalog) -> None:
    """Off the default branch and without snapshots, nothing shows them."""
    feature, main = {"branch": "feature", "default_branch": "main"}, {"branch": "main", "default_branch": "main"}
    with pytest.raises(WorkflowError, match="commits in /w/tree are not visible here"):
        await discard_worktree_with(catalog, feature, {"type": "step-start"}, CALL)
    await discard_worktree_with(catalog, feature, {"type": "step-start"}, CALL, force=True)
    await discard_worktree_with(catalog, feature, {"type": "step-start", "snapshot": "abc"}, CALL)
    await discard_worktree_with(catalog, feature, {"type": "step-start"})
    with pytest.raises(WorkflowError, match="is on the branch main, which would be deleted"):
        await discard_worktree_with(catalog, main, {"type": "step-start"}, CALL, force=True)


async def test_a_content_that_opencode_does_not_show_is_like_no_other(catalog: Catalog) -> None:
    """Of a binary file, and of one that was committed; a text file has its patch."""
    session = parse_model("a session", Session, SESSION)
    opencode = OpenCodeClient(AttachedServer(Endpoint(httpx2.URL("http://opencode.test"))), catalog)
    changes = [FileChange(file="a.txt", patch="+one\n"), FileChange(file="b.bin")]
    one, two = (
        RemoteChanges(opencode, session, worktree, None, "/project", changes, {}, ["c.txt"], False).contents()
        for worktree in ("/w/one", "/w/two")
    )

    assert one["a.txt"] == two["a.txt"]
    assert one.keys() == two.keys()
    assert {path for path in one if one[path] != two[path]} == {"b.bin", "c.txt"}
