"""Requests to the OpenCode 1.18.33 behind the shim."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.opencode2.store import Json


class UpstreamError(Exception):
    """OpenCode refused a request: its status and body, whose form is that of OpenCode 2."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"HTTP {status}: {body}")
        self.status, self.body = status, body


class NotInVersion1(Exception):
    """A request needs what 1.18.33 does not have."""


@dataclass
class Seen:
    """What the shim knows of sessions beyond what OpenCode says: what passed through it.

    - admitted: prompts by session, in their order; those that are not delivered are the inbox.
    - interrupted: prompts that were interrupted; without a reply OpenCode leaves no trace of that.
    - rejected_calls: tool calls whose request was rejected, with what OpenCode 2 says of that; in 1.18.33 they end as
      those of an interruption do.
    """

    admitted: dict[str, list[Json]] = field(default_factory=dict[str, list[Json]])
    interrupted: set[str] = field(default_factory=set[str])
    rejected_calls: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Upstream:
    """The OpenCode behind the shim, and what the shim has seen."""

    http: httpx2.AsyncClient
    seen: Seen = field(default_factory=Seen)

    async def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request; return the JSON of the answer, None without one.

        Raises:
            UpstreamError: it was refused.
            NotInVersion1: there is no such operation: OpenCode returned its web page.
        """
        response = await self.http.request(method, path, **options)
        if response.headers.get("content-type", "").startswith("text/html"):
            raise NotInVersion1(f"{method} {path}")
        if not response.is_success:
            raise UpstreamError(response.status_code, response.json() if response.content else {})
        return response.json() if response.content else None

    async def get(self, path: str, **query: Any) -> Any:
        """Return what is there."""
        return await self.request("GET", path, params=query)

    async def post(self, path: str, body: Json | None = None, **query: Any) -> Any:
        """Send a body, or none."""
        return await self.request("POST", path, params=query, json=body)

    async def is_active(self, session_id: str) -> bool:
        """Whether a session runs."""
        return session_id in (await self.get("/api/session/active"))["data"]

    async def messages(self, session_id: str) -> list[Json]:
        """Return all messages of a session as OpenCode has them, oldest first."""
        found: list[Json] = []
        query: Json = {"order": "asc"}
        while True:
            page = await self.get(f"/api/session/{session_id}/message", limit=200, **query)
            found += page["data"]
            if len(page["data"]) < 200:
                return found
            query = {"cursor": page["cursor"]["next"]}
