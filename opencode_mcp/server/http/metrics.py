"""Metrics for Prometheus: tool calls, requests to OpenCode, and gauges of sessions, streams and subscriptions.

Labels are names of tools and operations and their outcomes, never text of a client or of OpenCode.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sized
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import anyio
from mcp.server.auth.middleware.bearer_auth import RequireAuthMiddleware
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from mcp_types.methods import is_input_required
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import APIError, SettingsError, TransportError, UnexpectedResponse
from opencode_mcp.server.lifespan import Lifespan, RequestContext

from .request_validation import HostPolicy

try:
    from prometheus_client import CollectorRegistry, Gauge, Histogram
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.process_collector import ProcessCollector
except ImportError as error:
    raise SettingsError("--metrics needs prometheus-client: pip install 'opencode-mcp[metrics]'") from error

PATH = "/metrics"
BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)
"""From a read to a task of an hour."""
UNKNOWN_TOOL = "(unknown)"
"""The label of a tool that does not exist."""

InputSchema = Callable[[str], Mapping[str, Any] | None]
"""Returns the input schema of a tool by name, or None for an unknown tool."""


def metrics_route(metrics: Metrics, endpoint: ASGIApp, policy: HostPolicy) -> Route:
    """Return the route of the metrics, with the authentication of the endpoint."""

    async def expose(request: Request) -> Response:
        if (error := policy.error_response(request.scope)) is not None:
            return error
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), media_type=media_type)

    if isinstance(endpoint, RequireAuthMiddleware):
        protected = RequireAuthMiddleware(
            request_response(expose), endpoint.required_scopes, endpoint.resource_metadata_url
        )
        return Route(PATH, protected, methods=["GET"])
    return Route(PATH, expose)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, input_schema: InputSchema) -> None:
        self.registry = registry = CollectorRegistry()
        self._input_schema = input_schema
        self._call_durations = Histogram(
            "opencode_mcp_tool_call_duration_seconds",
            "Tool calls: ok, input_required, error (of the tool or its arguments), failed (a bug), cancelled.",
            ("tool", "outcome"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._active_calls = Gauge(
            "opencode_mcp_tool_calls_running", "Tool calls in progress.", ("tool",), registry=registry
        )
        self._request_durations = Histogram(
            "opencode_mcp_request_duration_seconds",
            "Requests to OpenCode: 2xx, 4xx, 5xx, none (no answer), unexpected (not in the API), cancelled, failed.",
            ("operation", "status"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._open_streams = make_gauge("event_streams", "Open event streams of OpenCode.", registry)
        self._waiting_requests = make_gauge(
            "requests_waiting", "Requests that wait for the concurrency limit.", registry
        )
        self._subscriptions = make_gauge("subscriptions", "Resources with a subscription.", registry)
        self._sessions = make_gauge("sessions", "Open MCP sessions (protocol up to 2025-11-25).", registry)
        ProcessCollector(registry=registry)

    def count(self, lifespan: Lifespan) -> None:
        """Read the gauges of waiting requests and of subscriptions from a started server."""
        clients = lifespan.servers.clients.values()
        self._waiting_requests.set_function(lambda: sum(opencode.waiting_count for opencode in clients))
        self._subscriptions.set_function(lambda: lifespan.watchers.subscriber_count)

    def count_sessions(self, sessions: Sized) -> None:
        """Read the gauge of MCP sessions."""
        self._sessions.set_function(lambda: len(sessions))

    async def measure_call(self, ctx: RequestContext, call_next: CallNext) -> HandlerResult:
        """Middleware: measure tools/call."""
        if ctx.method != "tools/call":
            return await call_next(ctx)
        tool = self._tool_name(ctx.params or {})
        started, outcome = perf_counter(), ""
        with self._active_calls.labels(tool).track_inprogress():
            try:
                result = await call_next(ctx)
                outcome = outcome_of(result)
                return result
            except BaseException as error:
                outcome = failure_of(error)
                raise
            finally:
                self._call_durations.labels(tool, outcome).observe(perf_counter() - started)

    def _tool_name(self, params: Mapping[str, Any]) -> str:
        """Return the name of the called tool, or UNKNOWN_TOOL: a client may send any name."""
        name = params.get("name")
        return name if isinstance(name, str) and self._input_schema(name) is not None else UNKNOWN_TOOL

    @contextmanager
    def measure_request(self, operation: Operation) -> Generator[None]:
        """Measure the block as one request to OpenCode."""
        started, status = perf_counter(), "2xx"
        if operation.execution_mode == "events":
            self._open_streams.inc()
        try:
            yield
        except BaseException as error:
            status = failure_of(error)
            raise
        finally:
            if operation.execution_mode == "events":
                self._open_streams.dec()
            self._request_durations.labels(operation.name, status).observe(perf_counter() - started)


def make_gauge(name: str, documentation: str, registry: CollectorRegistry) -> Gauge:
    """Return a gauge without labels."""
    return Gauge(f"opencode_mcp_{name}", documentation, registry=registry)


def outcome_of(result: HandlerResult) -> str:
    """Return the outcome of a call with a result, which the SDK has already serialized."""
    if is_input_required(result):
        return "input_required"
    match result:
        case {"isError": True}:
            return "error"
        case {"resultType": "task"}:
            return "task"
        case _:
            return "ok"


def failure_of(error: BaseException) -> str:
    """Return the outcome of a call or request that raised; "failed" is a bug."""
    match error:
        case APIError():
            return f"{error.status // 100}xx"
        case UnexpectedResponse():
            return "unexpected"
        case TransportError():
            return "none"
        case ValidationError():
            return "error"
        case MCPError():
            return "failed" if error.error.code == INTERNAL_ERROR else "error"
        case _:
            return "cancelled" if isinstance(error, anyio.get_cancelled_exc_class()) else "failed"
