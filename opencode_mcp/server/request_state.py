"""Seals the state of elicitations, which travels through the client, against changes.

The SDK does it (`mcp.server.request_state`). It is imported when it is needed, as its cryptography takes 6 MB, and most
servers see no state and no MCP task.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from mcp.server.context import CallNext, HandlerResult
from mcp_types.methods import is_input_required

from .lifespan import RequestContext

if TYPE_CHECKING:
    from mcp.server.request_state import RequestStateBoundary


class StateSeal:
    """Middleware that hands requests and results with a state to the SDK's boundary.

    Replicas with the same `key` can open each other's states; without a key, only this process can.
    """

    def __init__(self, key: str | None, audience: str) -> None:
        self._key = key
        self._audience = audience

    async def __call__(self, ctx: RequestContext, call_next: CallNext) -> HandlerResult:
        """Open the state of a request before it is handled, and seal that of a result."""
        if ctx.params is not None and ctx.params.get("requestState") is not None:
            return await self._boundary(ctx, call_next)
        result = await call_next(ctx)
        if not is_input_required(result):
            return result

        async def return_result(ctx: RequestContext) -> HandlerResult:
            return result

        return await self._boundary(ctx, return_result)

    @cached_property
    def _boundary(self) -> RequestStateBoundary:
        from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity

        security = (
            RequestStateSecurity(keys=[sha256(self._key.encode()).digest()])
            if self._key
            else RequestStateSecurity.ephemeral()
        )
        return RequestStateBoundary(security, default_audience=self._audience)


def principal_of(context: RequestContext) -> str | None:
    """Return who has sent a request; None without authentication."""
    from mcp.server.request_state import authenticated_principal

    return authenticated_principal(context)
