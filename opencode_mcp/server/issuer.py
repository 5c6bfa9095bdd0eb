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
from opencode_mcp.opencode.background import alongside

METADATA = (".well-known/openid-configuration", ".well-known/oauth-authorization-server")
"""Where an issuer describes itself (OpenID Connect Discovery, RFC 8414)."""

READ_SECONDS = 10.0
"""All requests of one reading together."""
WAIT_SECONDS = 5.0
"""How long a request waits for a key that is not known."""
FRESH_SECONDS = 600.0
"""Keys that were read longer ago are read again, while they still serve: an issuer may have withdrawn one."""
RENEW_SECONDS = 30.0
"""The least time between two readings: unknown names of keys must not make us ask again and again."""
RETRY_SECONDS = 10.0
"""The same after a reading that failed."""

log = logging.getLogger(__name__)


class IssuerKeys:
    """The keys of one issuer by their names. Times are of the event loop's clock, in seconds."""

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
        """When the next reading may begin."""
        return self._tried_at + (RETRY_SECONDS if self._failure else RENEW_SECONDS)

    @asynccontextmanager
    async def renewing(self) -> AsyncGenerator[None]:
        """Read the keys when they are wanted, while the block lasts."""
        async with alongside(self._renew):
            yield

    async def key(self, name: str | None) -> jwt.PyJWK | None:
        """Return the key of this name, None if the issuer has none.

        Raises:
            IssuerUnavailable: its keys cannot be read at the moment.
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
            except Exception as error:  # whatever an issuer sends, the next reading may find it well again
                self._failure = repr(error)
                log.warning("the keys of %s cannot be fetched: %r", self._issuer, error)
            self._tried_at = anyio.current_time()
            self._wanted = anyio.Event()
            self._read.set()
            self._read = anyio.Event()


async def read_keys(issuer: str) -> dict[str | None, jwt.PyJWK]:
    """Read an issuer's keys by their names.

    Raises:
        Exception: it does not answer, or with something else.
    """
    async with httpx2.AsyncClient(timeout=READ_SECONDS) as client:
        answers = [await client.get(f"{issuer.rstrip('/')}/{path}") for path in METADATA]
        found = next((answer for answer in answers if answer.is_success), answers[0])
        metadata: dict[str, Any] = found.raise_for_status().json()
        if metadata.get("issuer") != issuer:
            raise ValueError(f"its metadata names the issuer {metadata.get('issuer')!r}")
        keys = (await client.get(metadata["jwks_uri"])).raise_for_status().json()
    return {key.key_id: key for key in jwt.PyJWKSet.from_dict(keys).keys}
