"""The public keys of an OAuth issuer: known ones are served at once, and read again apart from any request.

One task reads them, as long as the application runs. A request that needs a key which is not known waits for that
reading, at most for `WAIT_SECONDS`; no request starts a reading of its own.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import jwt

from opencode_mcp.exceptions import IssuerUnavailable
from opencode_mcp.opencode.concurrency import background_task

METADATA_PATHS = (".well-known/openid-configuration", ".well-known/oauth-authorization-server")
"""Paths of an issuer's metadata (OpenID Connect Discovery, RFC 8414)."""

READ_SECONDS = 10.0
"""Limit for all requests of one refresh."""
WAIT_SECONDS = 5.0
"""How long a request waits for an unknown key."""
MAX_AGE_SECONDS = 600.0
"""Older keys are refreshed in the background, and used meanwhile: the issuer may have revoked one."""
MIN_REFRESH_SECONDS = 30.0
"""Minimum time between refreshes: unknown key ids must not cause a request each."""
RETRY_SECONDS = 10.0
"""The same after a failed refresh."""

log = logging.getLogger(__name__)


class IssuerKeys:
    """One issuer's keys by key id. Times are the event loop's, in seconds."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._refreshed_at = float("-inf")
        self._attempted_at = float("-inf")
        self._failure: str | None = None
        self._refresh_requested = anyio.Event()
        self._refreshed = anyio.Event()

    @property
    def _next_attempt_at(self) -> float:
        """The earliest time of the next refresh."""
        return self._attempted_at + (RETRY_SECONDS if self._failure else MIN_REFRESH_SECONDS)

    @asynccontextmanager
    async def refresh_in_background(self) -> AsyncGenerator[None]:
        """Refresh the keys on request, for the duration of the block."""
        async with background_task(self._refresh_loop):
            yield

    async def get_key(self, key_id: str | None) -> jwt.PyJWK | None:
        """Return the key with this id, or None if the issuer has none.

        Raises:
            IssuerUnavailable: its keys cannot be fetched at the moment.
        """
        now = anyio.current_time()
        if key_id in self._keys:
            if now >= max(self._refreshed_at + MAX_AGE_SECONDS, self._next_attempt_at):
                self._refresh_requested.set()
            return self._keys[key_id]
        if now >= self._next_attempt_at or self._refresh_requested.is_set():
            self._refresh_requested.set()
            with anyio.move_on_after(WAIT_SECONDS) as scope:
                await self._refreshed.wait()
            if scope.cancelled_caught:
                raise IssuerUnavailable(f"the keys of {self._issuer} did not arrive within {WAIT_SECONDS:g} s")
        if key_id not in self._keys and self._failure is not None:
            raise IssuerUnavailable(f"the keys of {self._issuer} cannot be fetched: {self._failure}")
        return self._keys.get(key_id)

    async def _refresh_loop(self) -> None:
        while True:
            await self._refresh_requested.wait()
            try:
                with anyio.fail_after(READ_SECONDS):
                    self._keys = await fetch_keys(self._issuer)
                self._refreshed_at, self._failure = anyio.current_time(), None
            except Exception as error:  # any failure: the next refresh may succeed
                self._failure = repr(error)
                log.warning("the keys of %s cannot be fetched: %r", self._issuer, error)
            self._attempted_at = anyio.current_time()
            self._refresh_requested = anyio.Event()
            self._refreshed.set()
            self._refreshed = anyio.Event()


async def fetch_keys(issuer: str) -> dict[str | None, jwt.PyJWK]:
    """Fetch an issuer's keys by key id.

    Raises:
        Exception: no answer, or not a key set.
    """
    async with httpx2.AsyncClient(timeout=READ_SECONDS) as client:
        responses = [await client.get(f"{issuer.rstrip('/')}/{path}") for path in METADATA_PATHS]
        discovered = next((response for response in responses if response.is_success), responses[0])
        metadata: dict[str, Any] = discovered.raise_for_status().json()
        if metadata.get("issuer") != issuer:
            raise ValueError(f"its metadata names the issuer {metadata.get('issuer')!r}")
        keys = (await client.get(metadata["jwks_uri"])).raise_for_status().json()
    return {key.key_id: key for key in jwt.PyJWKSet.from_dict(keys).keys}
