"""Requests to OpenCode carry the trace that the call belongs to, if the bridge has an OpenTelemetry SDK."""

from __future__ import annotations

import httpx2
from opentelemetry.propagate import inject
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider


def pass_on_trace(request: httpx2.Request) -> None:
    """Put the current trace into a request's headers."""
    # Without an SDK the API would pass on what the client sent.
    if not isinstance(get_tracer_provider(), ProxyTracerProvider):
        inject(request.headers)
