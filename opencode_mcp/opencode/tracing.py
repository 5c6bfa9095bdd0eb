"""Propagates the trace context of a call to OpenCode, if an OpenTelemetry SDK is configured."""

from __future__ import annotations

import httpx2
from opentelemetry.propagate import inject
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider


def inject_trace_context(request: httpx2.Request) -> None:
    """Inject the current trace context into a request's headers."""
    # Without an SDK, the API would forward the client's headers.
    if not isinstance(get_tracer_provider(), ProxyTracerProvider):
        inject(request.headers)
