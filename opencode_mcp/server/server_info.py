"""What the server says about itself. It imports no SDK, so that `initialize` can be answered before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opencode_mcp import __version__

from .instructions import ALL_LISTED

NAME, TITLE = "opencode", "OpenCode"
ICON = (
    "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%2016%2016'%20fill='none'"
    "%20stroke='%2358c4a3'%3E%3Cpath%20d='M1%209h14M5%204v8M11%204v8M1%209l4-5q3%207%206%200l4%205'/%3E%3C/svg%3E"
)
"""Kept short: from 2026-07-28 on it is sent with every result."""

SANDBOX_STATE = "codex/sandbox-state-meta"
"""An experimental capability: Codex (0.169) adds its working directory to the `_meta` of calls of a server with it."""

INITIALIZE_RESULT: Mapping[str, Any] = {
    "capabilities": {
        "completions": {},
        "experimental": {SANDBOX_STATE: {}},
        "prompts": {"listChanged": True},
        "resources": {"listChanged": False, "subscribe": True},
        "tools": {"listChanged": False},
    },
    "instructions": ALL_LISTED,
    "serverInfo": {
        "icons": [{"mimeType": "image/svg+xml", "sizes": ["any"], "src": ICON}],
        "name": NAME,
        "title": TITLE,
        "version": __version__,
    },
}
"""The result of `initialize` while every tool is listed, without the protocol version."""
