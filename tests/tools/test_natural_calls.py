"""First calls of models: carried out as they were meant, or refused with the words for the next call."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode import AttachedServer, OpenCodeClient, ServerPool
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.redaction import Redactor
from opencode_mcp.tasks import TASK_TOOLS, Context
from opencode_mcp.tasks.arguments import validate_arguments
from opencode_mcp.tools import ToolRegistry, select_tools
from opencode_mcp.tools.gateway import GATEWAY_TOOLS
from tests.opencode.conftest import FAKE_ENDPOINT, Wire

from .natural_calls import NATURAL_CALLS, Refused, Sent, Taken

pytestmark = pytest.mark.anyio


@pytest.fixture
def wire() -> Wire:
    """What goes to an OpenCode that is not there."""
    return Wire()


@pytest.fixture
async def context(wire: Wire, catalog: Catalog) -> AsyncGenerator[Context]:
    """The context of a call to it."""
    transport = httpx2.MockTransport(wire.handle)
    async with OpenCodeClient(AttachedServer(FAKE_ENDPOINT), catalog, "/project", transport=transport) as opencode:
        yield Context(ServerPool({"": opencode}), ignore_progress)


@pytest.fixture
def registry(catalog: Catalog) -> ToolRegistry:
    """Every tool."""
    return ToolRegistry(catalog, select_tools(catalog), 10_000)


async def carry_out(
    registry: ToolRegistry, context: Context, wire: Wire, tool: str, arguments: Mapping[str, Any]
) -> list[Sent | Taken]:
    """Call a tool; return the requests that were sent, or what a tool of several requests takes.

    Raises:
        InvalidArguments: it is refused.
    """
    own_tools = {**TASK_TOOLS, **GATEWAY_TOOLS}
    if tool in own_tools and not tool.endswith("_operation"):
        taken = validate_arguments(tool, own_tools[tool].arguments, arguments, lenient=True)
        return [Taken(taken.model_dump(exclude_unset=True))]
    await registry.call(context, Redactor(), tool, arguments)
    return [
        Sent(
            f"{request.method} {request.url.raw_path.decode()}",
            json.loads(request.content) if request.content else None,
        )
        for request in wire.requests
    ]


def test_there_are_sixty_calls() -> None:
    """Most are carried out; only what has two meanings, or is not known, is refused."""
    refused = sum(isinstance(outcome, Refused) for _, _, outcome in NATURAL_CALLS)

    assert len(NATURAL_CALLS) == 60
    assert refused <= 20


@pytest.mark.parametrize("number", range(len(NATURAL_CALLS)))
async def test_a_natural_call_leads_to_success(
    registry: ToolRegistry, context: Context, wire: Wire, number: int
) -> None:
    """At once, or by what the refusal says."""
    tool, arguments, outcome = NATURAL_CALLS[number]
    if not isinstance(outcome, Refused):
        assert outcome in await carry_out(registry, context, wire, tool, arguments)
        return
    with pytest.raises(InvalidArguments) as caught:
        await carry_out(registry, context, wire, tool, arguments)

    assert [words for words in outcome.words if words not in str(caught.value)] == []
    if tool.endswith("_operation") and caught.value.example is not None:
        assert caught.value.example["operation"] == arguments["operation"]
    assert wire.requests == []
    await carry_out(registry, context, wire, outcome.tool or tool, outcome.repaired)
