"""Rows about the policy of a task: what is answered without anybody, and what is not."""

from __future__ import annotations

import mcp_types as types
from mcp.client import ClientRequestContext

from .asking import ASKED, made, touch
from .bench import Bench
from .seen import Seen
from .table import Deed, Row

CHILD = ASKED[1]


def under(permissions: str, subagent: bool = False, done: bool = False) -> Deed:
    """Run a command under a policy. The client could ask, and is not to."""

    async def does(bench: Bench) -> Seen:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            raise AssertionError("the user was asked")

        async with bench.bridge(mode="legacy", elicitation_callback=ask) as client:
            prompt = CHILD.prompt(bench) if subagent else touch(bench)
            seen = await bench.run(prompt, client, permissions=permissions)
        assert made(bench).exists() == done
        return seen

    return does


async def of_another_client(bench: Bench) -> Seen:
    """A task that is only to be reported is reported, whoever waits for it."""

    async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        raise AssertionError("the user was asked")

    task = await bench.run(touch(bench))
    async with bench.bridge(mode="legacy", elicitation_callback=ask) as client:
        return await bench.wait(task.session_id, client=client)


async def taken_back(bench: Bench) -> Seen:
    """A session that was allowed everything: OpenCode cannot take that back."""
    task = await bench.run("script:text before", permissions="allow")
    seen = await bench.run(touch(bench), session_id=task.session_id, permissions="report")
    assert not made(bench).exists()
    return seen


async def kept(bench: Bench) -> Seen:
    """A session's policy holds for its next task."""
    task = await bench.run("script:text before", permissions="reject")
    seen = await bench.run(touch(bench), session_id=task.session_id)
    assert not made(bench).exists()
    return seen


async def changed(bench: Bench) -> Seen:
    """A session's policy can be changed to leave."""
    task = await bench.run("script:text before", permissions="reject")
    seen = await bench.run(touch(bench), session_id=task.session_id, permissions="allow")
    assert made(bench).exists()
    return seen


async def broken_form(bench: Bench) -> Seen:
    """A client that says it can ask, and cannot."""

    async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ErrorData:
        return types.ErrorData(code=types.INTERNAL_ERROR, message="no window to ask in")

    async with bench.bridge(mode="legacy", elicitation_callback=ask) as client:
        seen = await bench.run(touch(bench), client)
    assert not made(bench).exists()
    return seen


ROWS = (
    Row("policy allow", under("allow", done=True), "completed"),
    Row("policy allow, subagent", under("allow", subagent=True, done=True), "completed"),
    Row("policy reject", under("reject"), "stopped", "rejected"),
    Row("policy reject, subagent", under("reject", subagent=True), "completed"),
    Row("policy report, client could ask", under("report"), "waiting_permission"),
    Row("policy report, another client could ask", of_another_client, "waiting_permission"),
    Row("policy kept by the session", kept, "stopped", "rejected"),
    Row("policy reject, then allow", changed, "completed"),
    Row("policy allow, then report", taken_back, "error", "allows everything"),
    Row("policy ask, client fails to ask", broken_form, "waiting_permission"),
)
