"""Requests to an OpenCode that is already running: a list neither starts it nor waits for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient

T = TypeVar("T")

LIST_TIMEOUT_SECONDS = 1.0
"""Clients list resources and prompts while they connect; some allow 1.5 s in all."""

log = logging.getLogger(__name__)


async def call_if_running(
    opencode: OpenCodeClient, query: Callable[[OpenCodeClient], Awaitable[T]], seconds: float = LIST_TIMEOUT_SECONDS
) -> T | None:
    """Return the result of `query`, or None if OpenCode is not running or does not answer within `seconds`."""
    if opencode.server.current_endpoint() is None:
        return None
    try:
        with anyio.fail_after(seconds):
            return await query(opencode.with_options(retry_seconds=()))
    except (OpenCodeError, TimeoutError) as error:
        log.debug("%s returned no list: %r", opencode.server.describe(), error)
        return None
