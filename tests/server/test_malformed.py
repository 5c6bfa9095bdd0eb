"""What no client should send: malformed, truncated, oversized; and clients that leave. The server goes on serving."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp_types import INVALID_REQUEST, PARSE_ERROR

from opencode_mcp.settings import Settings
from tests.bridge import Bridge, environ_for, run_bridge
from tests.eventually import eventually
from tests.facts import raw_facts

from .connections import TOKEN, run_http_bridge_process

pytestmark = pytest.mark.anyio

HEALTH: dict[str, Any] = {"name": "global_health", "arguments": {}}
CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": HEALTH}
JSON = {"content-type": "application/json"}
DEEPLY_NESTED = "[" * 100_000
MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "white space": b"   \t ",
    "no JSON": b"hello",
    "half a message": json.dumps(CALL).encode()[:40],
    "not UTF-8": b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}',
    "NUL": b"\x00\x00\x00",
    "half a surrogate pair": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "\\ud800"}}',
    "a number": b"1",
    "a list": json.dumps([CALL, CALL]).encode(),
    "an empty list": b"[]",
    "an empty object": b"{}",
    "no version": json.dumps({key: value for key, value in CALL.items() if key != "jsonrpc"}).encode(),
    "another version": json.dumps({**CALL, "jsonrpc": "1.0"}).encode(),
    "no method": b'{"jsonrpc": "2.0", "id": 1}',
    "an unknown method": b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}',
    "a method that is no text": b'{"jsonrpc": "2.0", "id": 1, "method": 7}',
    "an id that is an object": json.dumps({**CALL, "id": {}}).encode(),
    "an id that is null": json.dumps({**CALL, "id": None}).encode(),
    "params that are a list": json.dumps({**CALL, "params": [1]}).encode(),
    "params that are missing": b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}',
    "arguments that are a text": json.dumps({**CALL, "params": {"name": "global_health", "arguments": "x"}}).encode(),
    "a name that is a number": json.dumps({**CALL, "params": {"name": 1}}).encode(),
    "a tool that is not there": json.dumps({**CALL, "params": {"name": "../../x\x00"}}).encode(),
    "an answer to nothing": b'{"jsonrpc": "2.0", "id": 99, "result": {}}',
    "a cancellation of nothing": b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}',
    "very deep": DEEPLY_NESTED.encode(),
    "very deep arguments": (
        f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {{"x": {DEEPLY_NESTED}'.encode()
    ),
    "a very long number": b'{"jsonrpc": "2.0", "id": ' + b"9" * 5000 + b', "method": "ping"}',
    "a key twice": b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "ping", "method": "x"}',
    "state that is forged": json.dumps({**CALL, "params": {**CALL["params"], "requestState": "x"}}).encode(),
}


@pytest.fixture
def bridge_environ(attached: Settings, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of a bridge process that attaches to the running OpenCode."""
    return {**environ, **environ_for(replace(attached, directory=None))}


async def check_healthy(running: Bridge) -> None:
    """See that a bridge still answers."""
    with anyio.fail_after(60):
        assert raw_facts(await running.call("global_health"))["healthy"] is True


async def test_malformed_lines_are_answered_with_an_error(bridge_environ: Mapping[str, str], project: Path) -> None:
    """After each of them the next call over stdio is answered, and stdout had nothing but JSON-RPC."""
    async with run_bridge(bridge_environ, project) as running:
        await running.initialize()
        assert running.process.stdin is not None
        for line in MALFORMED.values():
            await running.process.stdin.send(line + b"\n")
            await check_healthy(running)
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in running.lines)


INVALID_REQUESTS: dict[str, tuple[bytes, int, Any]] = {
    "a fraction": (b'{"jsonrpc": "2.0", "id": 2.5, "method": "ping"}', INVALID_REQUEST, None),
    "null": (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', INVALID_REQUEST, None),
    "true": (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', INVALID_REQUEST, None),
    "an object": (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', INVALID_REQUEST, None),
    "a list": (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', INVALID_REQUEST, None),
    "no JSON": (b"hello", PARSE_ERROR, None),
    "params that are a list": (b'{"jsonrpc": "2.0", "id": "a", "method": "ping", "params": [1]}', INVALID_REQUEST, "a"),
    "another version": (b'{"jsonrpc": "1.0", "id": 7, "method": "ping"}', INVALID_REQUEST, 7),
    "an answer that is none": (b'{"jsonrpc": "2.0", "id": 7}', INVALID_REQUEST, None),
}
"""What is no request, the code of the error that answers it, and the id of that."""
UNANSWERED = (
    b'{"jsonrpc": "2.0", "method": "notifications/initialized"}',
    b'{"jsonrpc": "2.0", "method": "ping"}',
    b'{"jsonrpc": "2.0", "id": 99, "result": {}}',
    b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Invalid request"}}',
    b"   ",
)
"""What asks for no answer."""


async def test_lines_that_are_not_requests_are_answered_with_an_error(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    """With an error of JSON-RPC, whose id is null where the request has none that could be repeated."""
    async with run_bridge(environ, tmp_path) as running:
        await running.initialize()
        assert running.process.stdin is not None
        before = len(running.lines)
        for line in (*UNANSWERED, *(line for line, _, _ in INVALID_REQUESTS.values())):
            await running.process.stdin.send(line + b"\n")
        with anyio.fail_after(60):
            await running.request("ping", {})

    found = [json.loads(line) for line in running.lines[before:]]
    errors = [(message["error"]["code"], message["id"]) for message in found if "error" in message]
    assert errors == [(code, number) for _, code, number in INVALID_REQUESTS.values()]
    assert len(found) == len(errors) + 1


async def test_malformed_first_lines_do_not_end_the_server(bridge_environ: Mapping[str, str], project: Path) -> None:
    """A client that begins with rubbish can still begin."""
    async with run_bridge(bridge_environ, project) as running:
        assert running.process.stdin is not None
        await running.process.stdin.send(b"rubbish\n[]\n\n")
        await running.initialize()
        await check_healthy(running)


async def test_an_oversized_line_does_not_end_the_server(bridge_environ: Mapping[str, str], project: Path) -> None:
    """Twenty megabytes are an argument like any other: refused in words, and not repeated in them."""
    async with run_bridge(bridge_environ, project) as running:
        await running.initialize()
        with anyio.fail_after(60):
            answer = await running.call("session_get", sessionID="x" * 20_000_000)
        assert answer["isError"]
        assert len(answer["content"][0]["text"]) < 2000
        await check_healthy(running)


async def test_an_endless_line_does_not_exhaust_memory(bridge_environ: Mapping[str, str], project: Path) -> None:
    """A client that dies within a message leaves nothing running."""
    async with run_bridge(bridge_environ, project) as running:
        await running.initialize()
        assert running.process.stdin is not None
        await running.process.stdin.send(json.dumps(CALL).encode()[:-5])
        await running.process.stdin.aclose()
        with anyio.fail_after(60):
            assert await running.process.wait() == 0


@pytest.fixture
async def http(bridge_environ: Mapping[str, str]) -> AsyncGenerator[httpx2.AsyncClient]:
    """An HTTP client of a bridge that serves HTTP."""
    async with run_http_bridge_process(bridge_environ) as (_, url):
        headers = {"authorization": f"Bearer {TOKEN}", "accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(base_url=url.removesuffix("/mcp"), headers=headers, timeout=60) as http:
            yield http


VERSIONS = {"handshake": "2025-11-25", "modern": "2026-07-28"}


async def test_malformed_bodies_are_refused(http: httpx2.AsyncClient) -> None:
    """Each is answered with a 4xx status, or accepted where it asks for nothing; none with a 5xx or a traceback."""
    for version in VERSIONS.values():
        headers = {"mcp-protocol-version": version, "content-type": "application/json", "mcp-method": "tools/call"}
        for name, body in MALFORMED.items():
            answer = await http.post("/mcp", content=body, headers=headers)
            assert answer.status_code < 500, f"{name}: {answer.status_code} {answer.text[:200]}"
            assert "Traceback" not in answer.text
            assert answer.status_code >= 400 or "error" in answer.text or answer.status_code == 202, name
    await check_still_serves(http)


async def test_an_oversized_body_is_refused(http: httpx2.AsyncClient) -> None:
    """More than four megabytes are refused, however they are announced."""
    big = b"x" * 5_000_000

    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(50):
            yield big[:100_000]

    for content in (big, pieces()):
        assert (await http.post("/mcp", content=content, headers=JSON)).status_code == 413
    await check_still_serves(http)


@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_clients_that_disconnect_do_not_harm_others(http: httpx2.AsyncClient, how: str) -> None:
    """A hundred clients leave while their calls are on; nothing of that hinders the next one."""
    port = http.base_url.port
    assert port is not None
    body = json.dumps({**CALL, "params": {**modern("event_subscribe", timeout_seconds=60)}}).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {TOKEN}\r\n"
        "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: event_subscribe\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode()

    async def leave() -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(head + body)
            with anyio.move_on_after(0.3):
                await stream.receive()
            if how == "reset":
                raw: socket.socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(leave)
    await check_still_serves(http)


async def check_still_serves(http: httpx2.AsyncClient) -> None:
    """See that the server answers a call."""

    async def status() -> int:
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "global_health"}
        answer = await http.post("/mcp", json={**CALL, "params": modern("global_health")}, headers=headers)
        assert raw_facts(answer.json()["result"])["healthy"] is True
        return answer.status_code

    await eventually(status, until=lambda code: code == 200)


def modern(tool: str, **arguments: Any) -> dict[str, Any]:
    """Return the parameters of a call in the protocol of 2026-07-28."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {"name": tool, "arguments": arguments, "_meta": meta}
