"""What counts as work of other bridges: sessions that run in either API, and those of which OpenCode says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode import AttachedServer, OpenCodeClient
from opencode_mcp.opencode.endpoint import OtherBridge
from opencode_mcp.opencode.other_work import check_no_other_work, is_running

from .conftest import FAKE_ENDPOINT, Wire

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("status", "runs"), [(404, False), (400, True), (500, True)])
async def test_only_a_deleted_session_is_known_not_to_run(
    opencode: OpenCodeClient, wire: Wire, status: int, runs: bool
) -> None:
    """In a directory with a wrong configuration, OpenCode answers 400 for every session."""
    wire.answer = lambda request: httpx2.Response(status, json={"name": "ConfigInvalidError", "data": {}})
    assert await is_running(opencode, "ses_1") is runs


@pytest.mark.parametrize(
    ("busy", "active", "runs"),
    [({}, {}, False), ({"ses_1": {"type": "busy"}}, {}, True), ({}, {"ses_1": {"type": "running"}}, True)],
)
async def test_a_session_runs_in_either_api(
    opencode: OpenCodeClient, wire: Wire, busy: dict[str, Any], active: dict[str, Any], runs: bool
) -> None:
    """The list of those that are busy has no turn of the v2 API."""
    answers = {
        "/session/ses_1": {"id": "ses_1", "directory": "/project", "time": {"created": 1, "updated": 1}},
        "/session/status": busy,
        "/api/session/active": {"data": active},
    }
    wire.answer = lambda request: httpx2.Response(200, json=answers[request.url.path])
    assert await is_running(opencode, "ses_1") is runs


class SharedServer(AttachedServer):
    """A server that another bridge uses as well, for a session in /project."""

    @property
    def others(self) -> Sequence[OtherBridge]:
        """The other bridge."""
        return [OtherBridge(pid=1, client="an assistant", since=0, active=("ses_1",))]


@pytest.mark.parametrize(
    ("name", "arguments", "refuses"),
    [
        ("location_reload", {}, True),
        ("location_reload", {"force": True}, False),
        ("debug_location_evict", {}, True),
        ("vcs_init", {"location": {"directory": "/elsewhere"}}, False),
        ("worktree_remove", {"projectID": "p", "directory": "/elsewhere", "force": False}, False),
        ("worktree_remove", {"projectID": "p", "directory": "/project", "force": False}, True),
    ],
)
async def test_the_work_of_others_on_opencode_2(
    wire: Wire, name: str, arguments: dict[str, Any], *, refuses: bool
) -> None:
    """What rebuilds a location rejects the requests of its sessions; the arguments name the location."""
    session = {"id": "ses_1", "time": {"created": 1, "updated": 1}, "location": {"directory": "/project"}}
    active: dict[str, Any] = {"/api/session/active": {"data": {"ses_1": {}}}, "/api/shell": {"data": []}}
    answers: dict[str, Any] = {"/api/session/ses_1": {"data": session}, **active}
    wire.answer = lambda request: httpx2.Response(200, json=answers[request.url.path])
    endpoint = replace(FAKE_ENDPOINT, version="2.1.2")
    catalog, transport = Catalog.from_snapshot(2), httpx2.MockTransport(wire.handle)
    async with OpenCodeClient(SharedServer(endpoint), catalog, "/project", transport=transport) as opencode:
        operation = catalog[name]
        assert operation.checks == ("no_other_work",)
        with pytest.raises(InvalidArguments, match="ses_1 of an assistant") if refuses else nullcontext():
            await check_no_other_work(opencode, operation, arguments)
