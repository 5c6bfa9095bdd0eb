"""Who may use the HTTP endpoint: whoever sends the token, or one that an OAuth issuer made for this server.

Both are verifiers of the SDK, which answers 401 without a good one. A client's token goes no further than here.
"""

from __future__ import annotations

import hmac
import logging
import socket
from typing import Any

import anyio
import httpx2
import jwt
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings

from opencode_mcp.settings import Settings

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures of a key pair: with the others whoever can check a token could make one."""

METADATA = (".well-known/openid-configuration", ".well-known/oauth-authorization-server")
"""Where an issuer describes itself (OpenID Connect Discovery, RFC 8414)."""

RENEW_SECONDS = 60.0
"""The least time between two readings of an issuer's keys: an unknown key's name must not make us ask on and on."""

log = logging.getLogger(__name__)


def authorization(settings: Settings) -> dict[str, Any]:
    """Return what the SDK's HTTP application is to ask for: the token, a token of the issuer, or nothing."""
    if settings.oauth_issuer:
        verifier: TokenVerifier = IssuedToken(settings.oauth_issuer, settings.oauth_audience)
        issuer, resource = settings.oauth_issuer, settings.oauth_audience
    elif settings.token:
        # There is no issuer, and without a resource none is told of.
        verifier, issuer, resource = StaticToken(settings.token), "http://localhost", None
    else:
        return {}
    # The audience is checked by the verifier. URLs stay as they were given: they are compared letter by letter.
    auth = {"issuer_url": issuer, "resource_server_url": resource, "validate_token_resource": False}
    return {"auth": AuthSettings.model_validate(auth), "token_verifier": verifier}


def transport_security(settings: Settings, host: str) -> TransportSecuritySettings:
    """Return the names that a request may call this server by, and the web pages that may send one."""
    names = ["127.0.0.1", "localhost", "[::1]"]
    if host not in LOOPBACK:
        names += [f"[{host}]" if ":" in host else host, socket.gethostname(), socket.getfqdn()]
    hosts = [*names, *settings.names("allow_host")]
    return TransportSecuritySettings(
        allowed_hosts=[*hosts, *(f"{name}:*" for name in hosts)],
        allowed_origins=[*(f"http://{name}:*" for name in names[:3]), *settings.names("allow_origin")],
    )


class StaticToken:
    """Verifies the one token of this server."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what a token stands for, or None."""
        if not hmac.compare_digest(token.encode(), self._token):
            return None
        return AccessToken(token=token, client_id="token", scopes=[])


class IssuedToken:
    """Verifies the JSON Web Tokens of an issuer (RFC 9068): signature, issuer, audience and expiry."""

    def __init__(self, issuer: str, audience: str) -> None:
        self._issuer, self._audience = issuer, audience
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at = float("-inf")
        self._lock = anyio.Lock()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what a token stands for, or None; a token for somebody else is none."""
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
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
            log.info("a token was refused: %s", error)
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

    async def _key(self, name: str | None) -> jwt.PyJWK | None:
        """Return the issuer's key of this name; its keys are read when it is not known."""
        async with self._lock:
            if name not in self._keys and anyio.current_time() - self._read_at >= RENEW_SECONDS:
                try:
                    self._keys = await read_keys(self._issuer)
                    self._read_at = anyio.current_time()
                except (httpx2.HTTPError, ValueError, KeyError, jwt.PyJWTError) as error:
                    log.warning("the keys of %s cannot be read: %r", self._issuer, error)
        return self._keys.get(name)


async def read_keys(issuer: str) -> dict[str | None, jwt.PyJWK]:
    """Read an issuer's keys by their names.

    Raises:
        httpx2.HTTPError, ValueError, KeyError, jwt.PyJWTError: it does not tell them.
    """
    async with httpx2.AsyncClient(timeout=10) as client:
        answers = [await client.get(f"{issuer.rstrip('/')}/{path}") for path in METADATA]
        found = next((answer for answer in answers if answer.is_success), answers[0])
        metadata: dict[str, Any] = found.raise_for_status().json()
        if metadata.get("issuer") != issuer:
            raise ValueError(f"it says that it is {metadata.get('issuer')!r}")
        keys = (await client.get(metadata["jwks_uri"])).raise_for_status().json()
    return {key.key_id: key for key in jwt.PyJWKSet.from_dict(keys).keys}
