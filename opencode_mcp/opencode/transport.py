"""The HTTP client for a server: time limits, TLS, the errors of failed connections, and the trace context.

A call's trace context is propagated to OpenCode if an OpenTelemetry SDK is configured.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache, partial

import httpx2
from opentelemetry.propagate import inject
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import APIError, RequestTimeout, TLSError, TransportError

from .endpoint import Endpoint, OpenCodeServer
from .os_limits import find_shortage_in_error

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
"""For operations that do not wait for a model; `mcp.add` may take 30 s."""

UNKNOWN_ISSUER_CODES = frozenset({18, 19, 20, 21})
"""OpenSSL's codes for a certificate whose issuer is not trusted: self-signed, or the CA is not known."""

Observe = Callable[[Operation], AbstractContextManager[object]]
"""Returns the context manager that surrounds one request and its response."""

NOT_TLS_REASONS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE")
"""OpenSSL's reasons if the peer does not speak TLS."""


def create_http_client(server: OpenCodeServer, transport: httpx2.AsyncBaseTransport | None) -> httpx2.AsyncClient:
    """Return the HTTP client for a server."""
    return httpx2.AsyncClient(
        transport=transport or create_http_transport(server.current_endpoint()),
        trust_env=False,  # it would read credentials from ~/.netrc
        follow_redirects=False,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
    )


def create_http_transport(endpoint: Endpoint | None) -> httpx2.AsyncBaseTransport:
    """Return the transport for an endpoint; None is a managed server before its start, which uses no TLS.

    Proxies of the environment are not used: they would receive loopback traffic.
    """
    from .http11_transport import Http11Transport  # importing h11 would slow down the start

    # httpx2's transport checks all idle connections before each request, so it keeps few.
    create = partial(
        httpx2.AsyncHTTPTransport,
        trust_env=False,
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=16),
    )
    if endpoint is not None and endpoint.url.scheme == "https":
        return create(verify=create_ssl_context(endpoint.ca_file))
    # Without TLS no certificates are loaded, which takes longer than the rest.
    return Http11Transport(create_stream_transport=partial(create, verify=False))


def create_ssl_context(ca_file: str | None) -> ssl.SSLContext:
    """Return an SSL context that trusts the system's certificates and those of a PEM file.

    Raises:
        OSError: the file cannot be read, or holds no certificate.
    """
    context = httpx2.create_ssl_context(trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


def unreachable_error(server_name: str, error: Exception) -> TransportError:
    """Return the error for a failed connection, with its cause if known."""
    if problem := describe_tls_error(error):
        return TLSError(f"TLS with {server_name} failed: {problem}")
    shortage = find_shortage_in_error(error)
    return TransportError(
        f"{server_name} is not reachable ({error or type(error).__name__})" + (f"\n{shortage}" if shortage else "")
    )


@contextmanager
def map_transport_errors(
    operation: Operation, server: OpenCodeServer, observe: Observe, read_seconds: float | None = None
) -> Generator[None]:
    """Map transport exceptions to this package's, in one place; `observe` sees the mapped ones."""
    describe = server.describe
    with observe(operation):
        try:
            yield
        except APIError as error:
            if error.status < 500 or error.advice or not (shortage := server.describe_shortage()):
                raise
            raise error.with_advice(shortage) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise unreachable_error(describe(), error) from error
        except httpx2.TimeoutException as error:
            raise RequestTimeout(
                f"{operation.name}: no response within {read_seconds:g} s from {describe()}; the "
                "request may still take effect"
                if read_seconds is not None
                else f"{operation.name}: no response in time from {describe()} ({type(error).__name__})"
            ) from error
        except (httpx2.RequestError, OSError) as error:  # OSError: a TLS error is not wrapped
            reason = str(error) or type(error).__name__
            raise TransportError(
                f"the connection to {describe()} was lost during {operation.name} ({reason}); the "
                "request may have taken effect"
            ) from error


def describe_tls_error(error: BaseException | None) -> str | None:
    """Describe a TLS error and what to do; None for any other error."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        message = f"its certificate is not trusted: {error.verify_message}"
        if error.verify_code in UNKNOWN_ISSUER_CODES:
            message += "; for a private CA, set --ca-file or SSL_CERT_FILE to its certificate"
        return message
    reason = str(error.reason or error)
    if reason.replace(" ", "_").upper() in NOT_TLS_REASONS:
        return f"the server does not speak TLS ({reason}): does the URL need http:// instead of https://?"
    return reason


def inject_trace_context(request: httpx2.Request) -> None:
    """Inject the current trace context into a request's headers."""
    # Without an SDK, the API would forward the client's headers.
    if not isinstance(get_tracer_provider(), ProxyTracerProvider):
        inject(request.headers)


@lru_cache(maxsize=256)
def parse_url(url: str) -> httpx2.URL:
    """Return a URL; polls request the same few again and again."""
    return httpx2.URL(url)
