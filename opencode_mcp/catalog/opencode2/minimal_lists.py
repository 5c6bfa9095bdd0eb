"""The lists that are returned in a minimal form: the same as those of OpenCode 1."""

from __future__ import annotations

from collections.abc import Mapping

from opencode_mcp.catalog.minimal_lists import MinimalList

MINIMAL_LISTS: Mapping[str, MinimalList] = {
    "agent.list": MinimalList("located agents"),
    "model.list": MinimalList("located models"),
    "session.list": MinimalList("located sessions", {"limit": 20}),
}
"""The lists by operationId."""
