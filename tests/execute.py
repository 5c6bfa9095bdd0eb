"""Operations executed on one server, from their arguments on, as a call of a tool executes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opencode_mcp.catalog import Operation
from opencode_mcp.opencode import Answer, OpenCodeClient, ProgressCallback, execute
from opencode_mcp.opencode.endpoint import ignore_progress


async def prepare_and_execute(
    opencode: OpenCodeClient,
    operation: Operation,
    arguments: Mapping[str, Any],
    report: ProgressCallback = ignore_progress,
) -> Answer:
    """Prepare and execute an operation."""
    return await execute(opencode, opencode.prepare(operation, arguments), report)
