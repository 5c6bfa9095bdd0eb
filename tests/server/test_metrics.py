"""The metrics: calls, requests and gauges are counted correctly, and no content of them is exposed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest
from anyio.abc import SocketAttribute, SocketStream
from mcp import Client, ClientSession, MCPError
from mcp.client import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import CallNext, HandlerResult
from prometheus_client.parser import text_string_to_metric_families

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.server import create_server
from opencode_mcp.server.http.app import create_http_app
from opencode_mcp.server.lifespan import RequestContext
from opencode_mcp.settings import Settings
from tests.bridge import environ_for
from tests.eventually import eventually
from tests.facts import facts

from .conftest import call, new_session
from .connections import HANDSHAKE_VERSIONS, MODERN_VERSION, TOKEN, negotiate, open_authorized_streams, run_http_bridge
from .test_http import AUDIENCE, ISSUER, bearer, issue_token, issuer

__all__ = ["issuer"]

pytestmark = pytest.mark.anyio

VERSIONS = (HANDSHAKE_VERSIONS[-1], MODERN_VERSION)


class MetricValues(dict[str, float]):
    """Samples by their name and labels, as Prometheus writes them; those that are not there are 0."""

    def __missing__(self, key: str) -> float:
        return 0.0


def parse_metrics(text: str) -> MetricValues:
    """Parse metrics, as Prometheus does."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return MetricValues({sample_name(sample.name, sample.labels): sample.value for sample in samples})


def sample_name(name: str, labels: Mapping[str, str]) -> str:
    """Write a sample's name with its labels."""
    return name + "".join(f" {label}={value}" for label, value in sorted(labels.items()))


def calls_metric(tool: str, outcome: str) -> str:
    """The number of calls of a tool that ended so."""
    return f"opencode_mcp_tool_call_duration_seconds_count outcome={outcome} tool={tool}"


def requests_metric(operation: str, status: str) -> str:
    """The number of requests to OpenCode that ended so."""
    return f"opencode_mcp_request_duration_seconds_count operation={operation} status={status}"


async def scrape(url: str) -> tuple[str, MetricValues]:
    """Do what Prometheus does from time to time."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(url.replace("/mcp", "/metrics"), headers=bearer(TOKEN))
    assert answer.status_code == 200
    return answer.text, parse_metrics(answer.text)


async def read_metrics(url: str) -> MetricValues:
    """The figures alone."""
    return (await scrape(url))[1]


@pytest.fixture
async def url(environ: Mapping[str, str], attached: Settings) -> AsyncGenerator[str]:
    """The endpoint of a bridge with metrics."""
    async with run_http_bridge({**environ, **environ_for(replace(attached, metrics=True))}) as url:
        yield url


@asynccontextmanager
async def open_session(url: str, version: str) -> AsyncGenerator[ClientSession]:
    """Connect as a client of a version."""
    async with open_authorized_streams(url) as (read, write), ClientSession(read, write) as session:
        await negotiate(session, version)
        yield session


@pytest.mark.parametrize("version", VERSIONS)
async def test_calls_and_requests_are_counted_by_outcome(url: str, version: str) -> None:
    """Also the second time that Prometheus looks. The question which version OpenCode is counts as no operation."""
    async with open_session(url, version) as client:
        assert not (await client.call_tool("session_list", {})).is_error
        assert (await client.call_tool("session_get", {"sessionID": "ses_none"})).is_error
        assert (await client.call_tool("session_get", {"sessionID": "nothing is sent"})).is_error
        first = await read_metrics(url)
        assert not (await client.call_tool("session_list", {})).is_error
        second = await read_metrics(url)

    assert first[calls_metric("session_list", "ok")] == 1
    assert first[calls_metric("session_get", "error")] == 2
    assert first[requests_metric("session_list", "2xx")] == 1
    assert first[requests_metric("path_get", "2xx")] == 1
    assert not [name for name in first if "operation=global_health" in name]
    assert first[requests_metric("session_get", "4xx")] == 1
    assert first["opencode_mcp_tool_call_duration_seconds_bucket le=3600.0 outcome=ok tool=session_list"] == 1
    assert 0 < first["opencode_mcp_tool_call_duration_seconds_sum outcome=ok tool=session_list"] < 60
    assert first["process_resident_memory_bytes"] > 10_000_000
    changed = {name for name in second if second[name] != first[name] and "_bucket" not in name}
    assert {name for name in changed if "_count" in name} == {
        calls_metric("session_list", "ok"),
        requests_metric("path_get", "2xx"),
        requests_metric("session_list", "2xx"),
    }


async def test_a_call_that_requires_input_is_not_counted_as_success(url: str) -> None:
    """In the 2026 era a question to the user ends the call, and its answer is another."""

    async def blue(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"answer_1": "Blue"})

    async with httpx2.AsyncClient(headers=bearer(TOKEN), trust_env=False, timeout=120) as http:
        over = streamable_http_client(url, http_client=http)
        async with Client(over, mode=MODERN_VERSION, elicitation_callback=blue) as client:
            report = await call(client, "run_task", prompt="script:question")
            told = await read_metrics(url)

    assert report["state"] == "completed"
    assert (told[calls_metric("run_task", "input_required")], told[calls_metric("run_task", "ok")]) == (1, 1)


@pytest.mark.parametrize("version", VERSIONS)
async def test_client_input_is_never_in_the_metrics(url: str, version: str) -> None:
    """Names of tools that there are not would be as many as a client likes."""
    async with open_session(url, version) as client:
        for name in (*(f"made-up-{number}" for number in range(20)), "", '"} 1\nforged 1', "(unknown)"):
            with pytest.raises(MCPError):
                await client.call_tool(name, {})
        created = await client.call_tool("session_create", {"title": "confidential"})
        told, seen = await scrape(url)

    assert seen[calls_metric("(unknown)", "error")] == 23
    for content in ("made-up", "forged", "confidential", "ses_", facts(created)["directory"]):
        assert content not in told


@pytest.mark.parametrize("version", VERSIONS)
async def test_running_calls_are_counted_until_they_end(url: str, version: str) -> None:
    """A call that waits for events, and is given up."""

    async def seen(**wanted: float) -> None:
        names = {f"opencode_mcp_{name}": value for name, value in wanted.items()}
        await eventually(lambda: read_metrics(url), lambda now: all(now[name] == names[name] for name in names))

    running = "opencode_mcp_tool_calls_running tool=event_subscribe"
    async with open_session(url, version) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "event_subscribe", {"timeout_seconds": 120, "types": ["none"]})
        await seen(event_streams=1)
        assert (await read_metrics(url))[running] == 1
        tasks.cancel_scope.cancel()
    await seen(event_streams=0)
    ended = await eventually(lambda: read_metrics(url), lambda now: now[calls_metric("event_subscribe", "cancelled")])
    assert ended[running] == 0
    assert ended[requests_metric("event_subscribe", "cancelled")] == 1


async def test_sessions_and_subscriptions_are_counted_while_they_last(url: str) -> None:
    """A session and what it subscribed to end together."""

    async def seen(sessions: float, subscriptions: float) -> None:
        def right(now: MetricValues) -> bool:
            return (now["opencode_mcp_sessions"], now["opencode_mcp_subscriptions"]) == (sessions, subscriptions)

        await eventually(lambda: read_metrics(url), right)

    await seen(0, 0)
    async with open_session(url, HANDSHAKE_VERSIONS[-1]) as client:
        created = facts(await client.call_tool("session_create", {}))
        uri = f"opencode://session/{created['id']}"
        await client.send_request(
            types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri)), types.EmptyResult
        )
        await seen(1, 1)
    await seen(0, 0)


async def test_a_client_that_listens_is_a_subscriber(url: str) -> None:
    """In the 2026 era it has no session."""
    async with httpx2.AsyncClient(headers=bearer(TOKEN), trust_env=False) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=MODERN_VERSION) as client:
            uri = f"opencode://session/{await new_session(client)}"
            async with client.listen(resource_subscriptions=[uri]):
                await eventually(lambda: read_metrics(url), lambda now: now["opencode_mcp_subscriptions"] == 1)
            await call(client, "session_list")
    await eventually(lambda: read_metrics(url), lambda now: now["opencode_mcp_subscriptions"] == 0)
    assert (await read_metrics(url))["opencode_mcp_sessions"] == 0


@asynccontextmanager
async def run_silent_server(*answers: bytes) -> AsyncGenerator[str]:
    """Serve an OpenCode that gives these answers to the first requests, and then no more; return its address."""
    left = list(answers)

    async def serve(client: SocketStream) -> None:
        async with client:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while await client.receive():
                    if left:
                        await client.send(left.pop(0))

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, background_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"


VERSION = b'{"healthy":true,"version":"1.18.33"}'
HEALTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(VERSION), VERSION)


@pytest.mark.slow
@pytest.mark.parametrize(("answers", "waiting"), [((HEALTH,), 8), ((), 39)], ids=["known", "unknown"])
async def test_queued_requests_are_counted(
    environ: Mapping[str, str], answers: tuple[bytes, ...], waiting: int
) -> None:
    """Of forty at once an OpenCode that does not answer is asked thirty-two; one asks which version it is."""
    async with run_silent_server(*answers) as silent:
        given = {"OPENCODE_MCP_METRICS": "1", "OPENCODE_MCP_URL": silent}

        async def seen(number: int) -> None:
            name = "opencode_mcp_requests_waiting"
            await eventually(lambda: read_metrics(url), lambda now: now[name] == number)

        async with run_http_bridge({**environ, **given}) as url, open_session(url, MODERN_VERSION) as client:
            async with anyio.create_task_group() as tasks:
                for _ in range(40):
                    tasks.start_soon(client.call_tool, "session_list")
                await seen(waiting)
                tasks.cancel_scope.cancel()
            await seen(0)


@asynccontextmanager
async def application(*defects: Any, **given: str) -> AsyncGenerator[httpx2.AsyncClient]:
    """Serve with these settings in this process, and provide an HTTP client without any token."""
    settings = Settings.load(given, {})
    server = create_server(settings, Catalog.from_snapshot())
    server.middleware.extend(defects)
    app = create_http_app(server, settings, "127.0.0.1", "/mcp")
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8000") as http,
    ):
        yield http


async def defect(ctx: RequestContext, call_next: CallNext) -> HandlerResult:
    """Stand for a bug in this package."""
    raise RuntimeError("a defect")


async def test_an_unexpected_exception_is_counted_apart_from_an_error() -> None:
    """It is what an alarm is for."""
    async with application(defect, no_auth="true", metrics="true") as http:
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        sent = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN_VERSION,
            "mcp-method": "tools/call",
            "mcp-name": "session_list",
        }
        params = {"name": "session_list", "_meta": meta}
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        assert "Internal" in (await http.post("/mcp", json=request, headers=sent)).text
        told = parse_metrics((await http.get("/metrics")).text)

    assert told[calls_metric("session_list", "failed")] == 1


async def test_metrics_require_the_endpoint_s_token() -> None:
    """Who has the token, by a name of this server, and no web page of another site."""
    async with application(token=TOKEN, metrics="true") as http:
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/metrics", headers=bearer(f"{TOKEN}x"))).status_code == 401
        assert (await http.get("/metrics", headers=bearer(TOKEN))).status_code == 200
        assert (await http.get("/metrics", headers={**bearer(TOKEN), "host": "evil.test"})).status_code == 421
        assert (await http.get("/metrics", headers={**bearer(TOKEN), "origin": "http://evil.test"})).status_code == 403
        assert (await http.post("/metrics", headers=bearer(TOKEN))).status_code == 405
    async with application(no_auth="true", metrics="true") as http:
        assert (await http.get("/metrics")).status_code == 200


async def test_metrics_accept_a_token_of_the_issuer(issuer: list[str]) -> None:
    """As it opens the endpoint."""
    async with application(oauth_issuer=ISSUER, oauth_audience=AUDIENCE, metrics="true") as http:
        assert (await http.get("/metrics", headers=bearer(issue_token()))).status_code == 200
        assert (await http.get("/metrics", headers=bearer(issue_token(aud="https://other.test")))).status_code == 401


async def test_metrics_are_off_by_default() -> None:
    """Nothing is measured then either."""
    async with application(token=TOKEN) as http:
        assert (await http.get("/metrics", headers=bearer(TOKEN))).status_code == 404


async def test_two_servers_in_one_process_have_separate_metrics(attached: Settings) -> None:
    """Nothing is kept beside a server."""
    async with application(no_auth="true", metrics="true") as one, application(no_auth="true", metrics="true") as two:
        assert [parse_metrics((await http.get("/metrics")).text)["opencode_mcp_sessions"] for http in (one, two)] == [
            0,
            0,
        ]


@pytest.mark.usefixtures("spawns")
def test_a_missing_metrics_package_is_named_at_start(tmp_path: Path) -> None:
    """At the start, and not when Prometheus comes."""
    (tmp_path / "prometheus_client.py").write_text("raise ImportError")
    command = (sys.executable, "-m", "opencode_mcp", "http", "--port", "0", "--metrics")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stderr == "opencode-mcp: --metrics needs prometheus-client: pip install 'opencode-mcp[metrics]'\n"
