"""A trace goes from the client through the bridge to OpenCode, if the bridge has an OpenTelemetry SDK."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.server.lowlevel import Server
from opentelemetry.trace import NoOpTracerProvider

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.server import bridge_server, create_server
from opencode_mcp.settings import Settings

from .conftest import call
from .tcp_proxy import RecordingProxy, open_recording_proxy

pytestmark = pytest.mark.anyio

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
META: Any = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=value"}
"""What a client sends that has a span of its own."""


@asynccontextmanager
async def open_traced_bridge(
    era: str, environ: Mapping[str, str], endpoint: Endpoint, project: Path, *command: str
) -> AsyncGenerator[tuple[Client, RecordingProxy]]:
    """Run a program that serves over stdio, and see what it sends to OpenCode."""
    async with open_recording_proxy(endpoint) as proxy:
        settings = {
            "OPENCODE_MCP_URL": proxy.url,
            "OPENCODE_SERVER_PASSWORD": endpoint.password or "",
            "OPENCODE_MCP_DIRECTORY": str(project),
        }
        args, env = ["-m", *command], {**environ, **settings}
        async with Client(StdioServerParameters(command=sys.executable, args=args, env=env), mode=era) as client:
            yield client, proxy


def trace_headers(proxy: RecordingProxy) -> dict[str, str | None]:
    """The header of each request by its path, or None where there was none."""
    headers_by_path: dict[str, str | None] = {}
    for head in proxy.sent:
        line, *headers = head.partition(b"\r\n\r\n")[0].decode(errors="replace").split("\r\n")
        if line.endswith(" HTTP/1.1"):
            values = dict(header.lower().split(": ", 1) for header in headers)
            headers_by_path[line.split()[1].partition("?")[0]] = values.get("traceparent")
    return headers_by_path


async def test_requests_streams_and_terminals_carry_the_trace_of_the_call(
    mode: str, environ: Mapping[str, str], endpoint: Endpoint, project: Path, tmp_path: Path
) -> None:
    """The span of tools/call is the client's child and the parent of what OpenCode is sent, questions included."""
    file = tmp_path / "spans"
    async with open_traced_bridge(mode, environ, endpoint, project, "tests.server.tracing", str(file)) as (
        client,
        relay,
    ):
        for tool, arguments in (
            ("session_list", {}),
            ("event_subscribe", {"max_events": 1, "timeout_seconds": 30}),
        ):
            answer = await client.call_tool(tool, arguments, meta=META)
            assert not answer.is_error, answer.content
        terminal = (await call(client, "pty_create", command="/bin/cat"))["id"]
        connected = {"ptyID": terminal, "input": "", "timeout_seconds": 1}
        assert not (await client.call_tool("pty_connect", connected, meta=META)).is_error
        await call(client, "pty_remove", ptyID=terminal)
    spans = {span["name"]: span for span in map(json.loads, file.read_text().splitlines())}

    sent = trace_headers(relay)
    for tool, path in (
        ("session_list", "/global/health"),
        ("session_list", "/path"),
        ("session_list", "/session"),
        ("event_subscribe", "/event"),
        ("pty_connect", f"/pty/{terminal}/connect"),
    ):
        span = spans[f"tools/call {tool}"]
        assert span["parent_id"] == f"0x{SPAN}", tool
        assert span["context"]["trace_id"] == f"0x{TRACE}", tool
        assert sent[path] == f"00-{TRACE}-{span['context']['span_id'][2:]}-01", tool
    assert b"\r\ntracestate: vendor=value\r\n" in relay.sent[0]


async def test_no_trace_header_is_sent_without_a_tracing_sdk(
    mode: str, environ: Mapping[str, str], endpoint: Endpoint, project: Path
) -> None:
    """Whatever the client sends; and an argument never becomes a header."""
    async with open_traced_bridge(mode, environ, endpoint, project, "opencode_mcp") as (client, relay):
        assert not (await client.call_tool("session_list", {}, meta=META)).is_error
        refused = await client.call_tool("session_list", META)

    assert trace_headers(relay) == dict.fromkeys(("/global/health", "/path", "/session"))
    assert refused.is_error
    assert not re.search(rb"trace(parent|state)", b"".join(relay.sent))


def test_spans_are_made_only_for_a_tracing_sdk(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made by the only middleware that the MCP SDK adds by itself."""
    [span_maker] = map(type, Server[Any]("sdk").middleware)
    assert span_maker.__name__ == "OpenTelemetryMiddleware"

    without = create_server(Settings(), catalog)
    monkeypatch.setattr(bridge_server, "get_tracer_provider", NoOpTracerProvider)  # of an SDK, not the API's own
    traced = create_server(Settings(), catalog)

    assert span_maker not in map(type, without.middleware)
    assert type(traced.middleware[0]) is span_maker
