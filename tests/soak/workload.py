"""The calls of a long run: what is called how often, and what has to come of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp import ClientSession, MCPError

from tests.facts import facts

Workload = Callable[[ClientSession], Awaitable[int]]
"""Makes calls, each of which must come out as it should; returns how many."""


@dataclass
class CallCounts:
    """What came of the calls: `unexpected` are those that did not come out as they should, in words."""

    calls: int = 0
    provoked: int = 0
    calls_by_name: Counter[str] = field(default_factory=Counter[str])
    unexpected: list[str] = field(default_factory=list[str])


async def call_succeeds(session: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    """Make a call that must succeed."""
    result = await session.call_tool(tool, arguments)
    if result.is_error:
        raise AssertionError(f"{tool} failed: {result.content}")
    return facts(result)


async def call_fails(session: ClientSession, tool: str, message: str, **arguments: Any) -> None:
    """Make a call that must fail in these words."""
    result = await session.call_tool(tool, arguments)
    text = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
    if not result.is_error or message not in text:
        raise AssertionError(f"{tool} was to fail with {message!r}: {text}")


def succeeding_call(tool: str, **arguments: Any) -> Workload:
    """One call that succeeds."""

    async def workload(session: ClientSession) -> int:
        await call_succeeds(session, tool, **arguments)
        return 1

    return workload


def failing_call(tool: str, message: str, **arguments: Any) -> Workload:
    """One call that fails."""

    async def workload(session: ClientSession) -> int:
        await call_fails(session, tool, message, **arguments)
        return 1

    return workload


async def session_lifecycle(session: ClientSession) -> int:
    """Create a session, change it, read it, and delete it."""
    created = await call_succeeds(session, "session_create", title="soak")
    await call_succeeds(session, "session_update", sessionID=created["id"], title="soaked")
    session_info = await call_succeeds(session, "session_get", sessionID=created["id"])
    if session_info["title"] != "soaked":
        raise AssertionError(f"session_get does not have what session_update wrote: {session_info}")
    await call_succeeds(session, "session_delete", sessionID=created["id"])
    return 4


async def unknown_tool(session: ClientSession) -> int:
    """Call what is not there."""
    try:
        await session.call_tool("no_such_tool", {})
    except MCPError as error:
        if "Unknown tool" in str(error):
            return 1
    raise AssertionError("an unknown tool was called")


async def read_resource(session: ClientSession) -> int:
    """Read a resource."""
    read = await session.read_resource("opencode://file/README.md")
    if "hello from the project" not in str(read.contents):
        raise AssertionError(f"the file has something else: {read.contents}")
    return 1


async def list_everything(session: ClientSession) -> int:
    """List what a client lists when it connects."""
    tools = (await session.list_tools()).tools
    await session.list_prompts()
    await session.list_resources()
    if len(tools) < 188:
        raise AssertionError(f"only {len(tools)} tools")
    return 3


MIX: tuple[tuple[int, str, Workload], ...] = (
    (20, "global_health", succeeding_call("global_health")),
    (12, "path_get", succeeding_call("path_get")),
    (10, "session_list", succeeding_call("session_list", limit=5)),
    (10, "file_read", succeeding_call("file_read", path="README.md")),
    (6, "find_text", succeeding_call("find_text", pattern="hello")),
    (6, "find_files", succeeding_call("find_files", query="README")),
    (5, "search_operations", succeeding_call("search_operations", query="list all sessions")),
    (5, "read_operation", succeeding_call("read_operation", operation="app_agents", pointer="/result/0/name")),
    (3, "describe_operation", succeeding_call("describe_operation", operation="session_prompt")),
    (3, "config_get", succeeding_call("config_get")),
    (6, "session life", session_lifecycle),
    (3, "resource", read_resource),
    (1, "lists", list_everything),
    (4, "wrong argument", failing_call("session_get", "nothing was sent", sessionID="wrong")),
    (3, "unknown session", failing_call("session_get", "HTTP 404", sessionID="ses_doesnotexist")),
    (2, "missing file", failing_call("file_read", "the file 'missing.txt' does not exist", path="missing.txt")),
    (1, "unknown tool", unknown_tool),
)
"""Weight, name, and what is done."""

PROVOKED_ERRORS = {"wrong argument", "unknown session", "missing file", "unknown tool"}


async def make_calls(session: ClientSession, counts: CallCounts, calls: int, seed: int) -> None:
    """Make calls until all clients together have made so many."""
    dice = random.Random(seed)
    weights = [weight for weight, _, _ in MIX]
    while counts.calls < calls:
        _, name, workload = dice.choices(MIX, weights)[0]
        counts.calls_by_name[name] += 1
        try:
            count = await workload(session)
        except (AssertionError, MCPError) as error:
            counts.unexpected.append(f"{name}: {error!r}"[:500])
            count = 1
        counts.calls += count
        counts.provoked += count if name in PROVOKED_ERRORS else 0
