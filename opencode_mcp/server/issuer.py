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
from opencode_mcp.opencode.background import background_task

METADATA = (".well-known/openid-configuration", ".well-known/oauth-authorization-server")
"""Paths of an issuer's metadata (OpenID Connect Discovery, RFC 8414)."""

READ_SECONDS = 10.0
"""Limit for all requests of one refresh."""
WAIT_SECONDS = 5.0
"""How long a request waits for an unknown key."""
FRESH_SECONDS = 600.0
"""Older keys are refreshed in the background, and used meanwhile: the issuer may have revoked one."""
RENEW_SECONDS = 30.0
"""Minimum time between refreshes: unknown key ids must not cause a request each."""
RETRY_SECONDS = 10.0
"""The same after a failed refresh."""

log = logging.getLogger(__name__)


class IssuerKeys:
    """One issuer's keys by key id. Times are the event loop's, in seconds."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._failure: str | None = None
        self._wanted = anyio.Event()
        self._read = anyio.Event()

    @property
    def _next_at(self) -> float:
        """The earliest time of the next refresh."""
        return self._tried_at + (RETRY_SECONDS if self._failure else RENEW_SECONDS)

    @asynccontextmanager
    async def renewing(self) -> AsyncGenerator[None]:
        """Refresh the keys on request, for the duration of the block."""
        async with background_task(self._renew):
            yield

    async def key(self, name: str | None) -> jwt.PyJWK | None:
        """Return the key with this id, or None if the issuer has none.

        Raises:
            IssuerUnavailable: its keys cannot be fetched at the moment.
        """
        now = anyio.current_time()
        if name in self._keys:
            if now >= max(self._read_at + FRESH_SECONDS, self._next_at):
                self._wanted.set()
            return self._keys[name]
        if now >= self._next_at or self._wanted.is_set():
            self._wanted.set()
            with anyio.move_on_after(WAIT_SECONDS) as limit:
                await self._read.wait()
            if limit.cancelled_caught:
                raise IssuerUnavailable(f"the keys of {self._issuer} did not arrive within {WAIT_SECONDS:g} s")
        if name not in self._keys and self._failure is not None:
            raise IssuerUnavailable(f"the keys of {self._issuer} cannot be fetched: {self._failure}")
        return self._keys.get(name)

    async def _renew(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                with anyio.fail_after(READ_SECONDS):
                    self._keys = await read_keys(self._issuer)
                self._read_at, self._failure = anyio.current_time(), None
            except Exception as error:  # any failure: the next refresh may succeed
                self._failure = repr(error)
                log.warning("the keys of %s cannot be fetched: %r", self._issuer, error)
            self._tried_at = anyio.current_time()
            self._wanted = anyio.Event()
            self._read.set()
            self._read = anyio.Event()


async def read_keys(issuer: str) -> dict[str | None, jwt.PyJWK]:
    """Fetch an issuer's keys by key id.

    Raises:
        Exception: no answer, or not a key set.
    """
    async with httpx2.AsyncClient(timeout=READ_SECONDS) as client:
        answers = [await client.get(f"{issuer.rstrip('/')}/{path}") for path in METADATA]
        found = next((answer for answer in answers if answer.is_success), answers[0])
        metadata: dict[str, Any] = found.raise_for_status().json()
        if metadata.get("issuer") != issuer:
            raise ValueError(f"its metadata names the issuer {metadata.get('issuer')!r}")
        keys = (await client.get(metadata["jwks_uri"])).raise_for_status().json()
    return {key.key_id: key for key in jwt.PyJWKSet.from_dict(keys).keys}
