"""What a tool's result says, in either form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types

from opencode_mcp.tools import facts_of


def facts(result: types.CallToolResult) -> dict[str, Any]:
    """Return the facts of a result that has some."""
    found = facts_of(result)
    assert found is not None, result.content
    return found


def raw_facts(result: Mapping[str, Any]) -> Any:
    """Return the facts of a result as JSON-RPC has it."""
    return facts(types.CallToolResult.model_validate(result))
