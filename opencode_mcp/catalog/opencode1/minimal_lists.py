"""The lists that are returned in a minimal form.

Measured on 1.18.33: seven agents are 18,796 characters with their permission rules and prompts, a model is about 1,000
with its limits, prices and options, a session about 700, and OpenCode lists 100 of these.
"""

from __future__ import annotations

from collections.abc import Mapping

from opencode_mcp.catalog.minimal_lists import MinimalList

MINIMAL_LISTS: Mapping[str, MinimalList] = {
    "app.agents": MinimalList("agents"),
    "config.providers": MinimalList("models"),
    "session.list": MinimalList("sessions", {"limit": 20}),
    "experimental.session.list": MinimalList("sessions", {"limit": 20}),
}
"""The lists by operationId."""
