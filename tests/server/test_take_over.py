"""Tasks whose bridge has ended: another one that shares the OpenCode enforces their rules."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import AttachedServer, Endpoint, ServerPool
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.endpoint import OtherBridge
from opencode_mcp.opencode.prompt_policy import PromptPolicy
from opencode_mcp.server import create_server
from opencode_mcp.server.take_over import TakeOver
from opencode_mcp.settings import Settings
from opencode_mcp.tasks.metadata import Limits, Rules, TaskMetadata, with_task_metadata
from opencode_mcp.tasks.rules import keeps_bounds
from tests.bridge import run_bridge
from tests.eventually import eventually
from tests.facts import raw_facts
from tests.tasks.test_race_conditions import FakeOpenCode

pytestmark = pytest.mark.anyio


def bridge(pid: int, *active: str, is_gone: bool = False) -> OtherBridge:
    """Return another bridge, with what it has active."""
    return OtherBridge("client", pid, 1.0, active=active, is_gone=is_gone)


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ([], [bridge(1, "ses_a")], []),
        ([bridge(1, "ses_a")], [bridge(1)], []),
        ([bridge(1, "ses_a", "pty_a"), bridge(2, "ses_b")], [bridge(2, "ses_b")], ["ses_a"]),
        ([bridge(1, "ses_a")], [OtherBridge("client", 1, 2.0)], ["ses_a"]),
        ([], [bridge(0, "ses_a", is_gone=True)], ["ses_a"]),
        ([bridge(0, "ses_a", is_gone=True)], [bridge(0, "ses_a", "ses_b", is_gone=True)], ["ses_b"]),
    ],
)
def test_what_a_bridge_leaves(before: list[OtherBridge], after: list[OtherBridge], left: list[str]) -> None:
    """The sessions that were active in it, once; those of bridges that are there are their own."""
    take_over = TakeOver(ServerPool({}), lambda: True)
    take_over.find_left(before)
    assert take_over.find_left(after) == left
    assert take_over.find_left(after) == []


@pytest.mark.parametrize(("is_running", "may_enforce"), [(True, True), (False, True), (True, False)])
async def test_only_a_bridge_that_runs_tasks_takes_them_over(*, is_running: bool, may_enforce: bool) -> None:
    """It reads the session and what is queued for it; an OpenCode that has ended is not started again for that."""
    opencode = FakeOpenCode()
    if is_running:
        opencode.server = AttachedServer(Endpoint(httpx2.URL("http://still.test")))
    async with anyio.create_task_group() as tasks:
        pool = ServerPool(cast("Any", {"": opencode}), tasks=tasks)
        TakeOver(pool, lambda: may_enforce).take(["ses_a"])
    assert opencode.calls == (["session_get", "session_children"] if is_running and may_enforce else [])


@pytest.mark.parametrize(
    ("rules", "policy", "is_followed"),
    [
        (Rules(), PromptPolicy(), True),
        (None, PromptPolicy(), False),
        (Rules(), PromptPolicy(max_cost=1), False),
    ],
)
async def test_only_a_task_with_rules_is_followed(
    rules: Rules | None, policy: PromptPolicy, *, is_followed: bool
) -> None:
    """And within the bounds of the bridge."""
    metadata = with_task_metadata({}, TaskMetadata(rules=rules))
    session = {"id": "ses_a", "directory": "/project", "time": {"created": 1}, "metadata": metadata}
    opencode = FakeOpenCode(answers={"session_get": session}, prompt_policy=policy)
    async with background_task_group() as tasks:
        pool = ServerPool(cast("Any", {"": opencode}), tasks=tasks)
        await TakeOver(pool, lambda: True).follow_if_ruled("ses_a")
        assert [*pool.followed] == (["ses_a"] if is_followed else [])


@pytest.mark.parametrize(
    ("policy", "rules", "keeps"),
    [
        (PromptPolicy(), Rules(models=("a/*",), limits=Limits(cost=5)), True),
        (PromptPolicy(models=("a/*",)), Rules(models=("a/*",)), True),
        (PromptPolicy(models=("a/*",)), Rules(), False),
        (PromptPolicy(models=("a/*",)), Rules(models=("b/*",)), False),
        (PromptPolicy(max_cost=5), Rules(limits=Limits(cost=5)), True),
        (PromptPolicy(max_cost=5), Rules(limits=Limits(cost=6)), False),
        (PromptPolicy(max_cost=5), Rules(limits=Limits(tokens=5)), False),
    ],
)
def test_a_task_beyond_the_bounds_of_a_bridge_is_left(policy: PromptPolicy, rules: Rules, *, keeps: bool) -> None:
    """Its check may send a further prompt: with a model, or at a cost, that this bridge must not allow."""
    assert keeps_bounds(policy, rules) == keeps


@pytest.mark.parametrize(
    ("options", "enforces"), [({}, True), ({"read_only": True}, False), ({"no_destructive": True}, False)]
)
def test_a_bridge_that_runs_no_tasks_takes_none_over(options: Mapping[str, Any], *, enforces: bool) -> None:
    """Its settings forbid what a rule may need: to stop a task, or to run a check."""
    server = create_server(Settings(**options), Catalog.from_snapshot())
    assert server._enforces_rules() == enforces  # pyright: ignore[reportPrivateUsage]


@pytest.mark.process
async def test_the_limit_of_a_killed_bridges_task_is_enforced(
    environ: Mapping[str, str], project: Path, tmp_path: Path
) -> None:
    """`kill -9` of the bridge that started it; the other one has neither started the task nor waited for it."""
    with tempfile.TemporaryDirectory() as temporary:
        environ = {**environ, "TMPDIR": temporary, "XDG_CACHE_HOME": str(tmp_path), "OPENCODE_MCP_LINGER": "2"}
        del environ["OPENCODE_MCP_NO_SHARE"]
        async with run_bridge(environ, project) as other, run_bridge(environ, project) as starter:
            for each in (other, starter):
                await each.initialize()
            await other.call("session_status")
            limits = {"minutes": 0.1}
            task = raw_facts(await starter.call("start_task", prompt="script:hang", limits=limits))
            starter.process.send_signal(signal.SIGKILL)
            await starter.process.wait()

            async def read_state() -> tuple[str, str | None]:
                report = raw_facts(await other.call("report_task", session_id=task["session_id"]))
                return report["state"], report.get("error")

            state, error = await eventually(read_state, lambda seen: seen[0] != "running")
            assert state == "stopped"
            assert error is not None and "limit of 0.1 minutes" in error
