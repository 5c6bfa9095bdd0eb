"""Authentication of the HTTP endpoint: a static token, or a token that an OAuth issuer made for this server.

Both are token verifiers of the SDK, which answers 401 without a valid token. A client's token is not passed on.

The issuer's public keys are cached. One task reads them, as long as the application runs; a request with an unknown key
waits for that task, at most `KEY_TIMEOUT_SECONDS`, and starts no fetch of its own.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import jwt
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings

from opencode_mcp.exceptions import IssuerUnavailable
from opencode_mcp.opencode.concurrency import background_task
from opencode_mcp.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric algorithms only: with a symmetric one, a verifier could also forge tokens."""

ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt", ""})
"""Accepted `typ` values: RFC 9068's, and `jwt` or none, which many issuers still send. Any other value marks another
kind of token: dpop+jwt, logout+jwt, secevent+jwt."""
FOREIGN_CLAIMS = frozenset({"at_hash", "c_hash", "events"})
"""Claims of ID tokens and logout tokens, whose `typ` may be `jwt` too."""

RETRY_AFTER_SECONDS = 5
"""`Retry-After` when tokens cannot be verified."""

METADATA_PATHS = (".well-known/openid-configuration", ".well-known/oauth-authorization-server")
"""Paths of an issuer's metadata (OpenID Connect Discovery, RFC 8414)."""

FETCH_TIMEOUT_SECONDS = 10.0
"""Limit for all requests of one refresh."""
KEY_TIMEOUT_SECONDS = 5.0
"""How long a request waits for an unknown key."""
MAX_KEY_AGE_SECONDS = 600.0
"""Older keys are refreshed in the background, and used meanwhile: the issuer may have revoked one."""
MIN_REFRESH_SECONDS = 30.0
"""Minimum time between refreshes: unknown key ids must not cause a request each."""
RETRY_SECONDS = 10.0
"""Minimum time after a failed refresh."""

log = logging.getLogger(__name__)


def make_auth_options(settings: Settings) -> dict[str, Any]:
    """Return the auth options of the SDK's HTTP application: a static token, the issuer's JWTs, or none."""
    if settings.oauth_issuer and settings.oauth_audience:
        verifier: TokenVerifier = JWTVerifier(settings.oauth_issuer, settings.oauth_audience)
        issuer, resource = settings.oauth_issuer, settings.oauth_audience
    elif settings.token:
        # The SDK requires an issuer, but publishes none without a resource URL.
        verifier, issuer, resource = StaticTokenVerifier(settings.token), "http://localhost", None
    else:
        return {}
    # The verifier checks the audience. URLs stay as given: they are compared as strings.
    auth = {"issuer_url": issuer, "resource_server_url": resource, "validate_token_resource": False}
    return {"auth": AuthSettings.model_validate(auth), "token_verifier": verifier}


class StaticTokenVerifier:
    """Verifies the server's static token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the access token, or None if it is invalid."""
        if not hmac.compare_digest(token.encode(), self._token):
            return None
        return AccessToken(token=token, client_id="token", scopes=[])


class JWTVerifier:
    """Verifies the JSON Web Tokens of an issuer (RFC 9068): signature, issuer, audience and expiry."""

    def __init__(self, issuer: str, audience: str) -> None:
        self._issuer, self._audience = issuer, audience
        self.keys = IssuerKeys(issuer)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the access token, or None if it is invalid, or is for another server or another purpose.

        Raises:
            IssuerUnavailable: the issuer's keys cannot be fetched, so the token can be neither accepted nor rejected.
        """
        try:
            header = jwt.get_unverified_header(token)
            if str(header.get("typ") or "").lower() not in ACCESS_TOKEN_TYPES:
                log.info("token rejected: its typ is not that of an access token")
                return None
            key = await self.keys.get_key(header.get("kid"))
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidTokenError as error:
            log.info("token rejected: %s", error)
            return None
        if foreign := FOREIGN_CLAIMS & claims.keys():
            log.info("token rejected: %s is not a claim of an access token", ", ".join(sorted(foreign)))
            return None
        return AccessToken(
            token=token,
            client_id=str(claims.get("client_id") or claims.get("azp") or claims.get("sub") or ""),
            scopes=str(claims.get("scope") or "").split(),
            expires_at=int(claims["exp"]),
            resource=self._audience,
            subject=claims.get("sub"),
            claims={"iss": self._issuer},
        )


class IssuerUnavailableMiddleware:
    """ASGI middleware that answers 503 when a token cannot be verified."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request."""
        from starlette.responses import JSONResponse

        try:
            await self._app(scope, receive, send)
        except IssuerUnavailable as error:
            log.warning("a token could not be verified: %s", error)
            body = {"error": "temporarily_unavailable", "error_description": "The issuer's keys cannot be fetched"}
            await JSONResponse(body, 503, {"Retry-After": str(RETRY_AFTER_SECONDS)})(scope, receive, send)


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
            if now >= max(self._refreshed_at + MAX_KEY_AGE_SECONDS, self._next_attempt_at):
                self._refresh_requested.set()
            return self._keys[key_id]
        if now >= self._next_attempt_at or self._refresh_requested.is_set():
            self._refresh_requested.set()
            with anyio.move_on_after(KEY_TIMEOUT_SECONDS) as scope:
                await self._refreshed.wait()
            if scope.cancelled_caught:
                raise IssuerUnavailable(f"the keys of {self._issuer} did not arrive within {KEY_TIMEOUT_SECONDS:g} s")
        if key_id not in self._keys and self._failure is not None:
            raise IssuerUnavailable(f"the keys of {self._issuer} cannot be fetched: {self._failure}")
        return self._keys.get(key_id)

    async def _refresh_loop(self) -> None:
        while True:
            await self._refresh_requested.wait()
            try:
                with anyio.fail_after(FETCH_TIMEOUT_SECONDS):
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
    async with httpx2.AsyncClient(timeout=FETCH_TIMEOUT_SECONDS) as client:
        responses = [await client.get(f"{issuer.rstrip('/')}/{path}") for path in METADATA_PATHS]
        discovered = next((response for response in responses if response.is_success), responses[0])
        metadata: dict[str, Any] = discovered.raise_for_status().json()
        if metadata.get("issuer") != issuer:
            raise ValueError(f"its metadata names the issuer {metadata.get('issuer')!r}")
        keys = (await client.get(metadata["jwks_uri"])).raise_for_status().json()
    return {key.key_id: key for key in jwt.PyJWKSet.from_dict(keys).keys}
