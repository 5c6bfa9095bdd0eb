"""The calls of a long run: what is called how often, and what has to come of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp import ClientSession, MCPError

Deed = Callable[[ClientSession], Awaitable[int]]
"""Makes calls, each of which must come out as it should; returns how many."""


@dataclass
class Tally:
    """What came of the calls: `lost` are those that did not come out as they should, in words."""

    calls: int = 0
    provoked: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    lost: list[str] = field(default_factory=list[str])


async def good(session: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    """Make a call that must succeed."""
    result = await session.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        raise AssertionError(f"{tool} failed: {result.content}")
    return result.structured_content


async def bad(session: ClientSession, tool: str, message: str, **arguments: Any) -> None:
    """Make a call that must fail in these words."""
    result = await session.call_tool(tool, arguments)
    text = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
    if not result.is_error or message not in text:
        raise AssertionError(f"{tool} was to fail with {message!r}: {text}")


def calling(tool: str, **arguments: Any) -> Deed:
    """One call that succeeds."""

    async def deed(session: ClientSession) -> int:
        await good(session, tool, **arguments)
        return 1

    return deed


def failing(tool: str, message: str, **arguments: Any) -> Deed:
    """One call that fails."""

    async def deed(session: ClientSession) -> int:
        await bad(session, tool, message, **arguments)
        return 1

    return deed


async def session_life(session: ClientSession) -> int:
    """Create a session, change it, read it, and delete it."""
    created = await good(session, "session_create", title="soak")
    await good(session, "session_update", sessionID=created["id"], title="soaked")
    seen = await good(session, "session_get", sessionID=created["id"])
    if seen["title"] != "soaked":
        raise AssertionError(f"session_get does not have what session_update wrote: {seen}")
    await good(session, "session_delete", sessionID=created["id"])
    return 4


async def unknown_tool(session: ClientSession) -> int:
    """Call what is not there."""
    try:
        await session.call_tool("no_such_tool", {})
    except MCPError as error:
        if "Unknown tool" in str(error):
            return 1
    raise AssertionError("an unknown tool was called")


async def resource(session: ClientSession) -> int:
    """Read a resource."""
    read = await session.read_resource("opencode://file/README.md")
    if "hello from the project" not in str(read.contents):
        raise AssertionError(f"the file has something else: {read.contents}")
    return 1


async def lists(session: ClientSession) -> int:
    """List what a client lists when it connects."""
    tools = (await session.list_tools()).tools
    await session.list_prompts()
    await session.list_resources()
    if len(tools) < 188:
        raise AssertionError(f"only {len(tools)} tools")
    return 3


MIX: tuple[tuple[int, str, Deed], ...] = (
    (20, "global_health", calling("global_health")),
    (12, "path_get", calling("path_get")),
    (10, "session_list", calling("session_list", limit=5)),
    (10, "file_read", calling("file_read", path="README.md")),
    (6, "find_text", calling("find_text", pattern="hello")),
    (6, "find_files", calling("find_files", query="README")),
    (5, "search_operations", calling("search_operations", query="list all sessions")),
    (5, "read_operation", calling("read_operation", operation="app_agents", pointer="/result/0/name")),
    (3, "describe_operation", calling("describe_operation", operation="session_prompt")),
    (3, "config_get", calling("config_get")),
    (6, "session life", session_life),
    (3, "resource", resource),
    (1, "lists", lists),
    (4, "wrong argument", failing("session_get", "nothing was sent", sessionID="wrong")),
    (3, "unknown session", failing("session_get", "HTTP 404", sessionID="ses_doesnotexist")),
    (2, "missing file", failing("file_read", "the file 'missing.txt' does not exist", path="missing.txt")),
    (1, "unknown tool", unknown_tool),
)
"""Weight, name, and what is done."""

PROVOKED = {"wrong argument", "unknown session", "missing file", "unknown tool"}


async def work(session: ClientSession, tally: Tally, calls: int, seed: int) -> None:
    """Make calls until there were so many in all, whoever made them."""
    dice = random.Random(seed)
    weights = [weight for weight, _, _ in MIX]
    while tally.calls < calls:
        _, name, deed = dice.choices(MIX, weights)[0]
        tally.kinds[name] += 1
        try:
            made = await deed(session)
        except (AssertionError, MCPError) as error:
            tally.lost.append(f"{name}: {error!r}"[:500])
            made = 1
        tally.calls += made
        tally.provoked += made if name in PROVOKED else 0
