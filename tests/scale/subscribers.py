"""Subscribers by the hundred: bare connections, as clients of the SDK would take longer than what is measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from anyio.abc import TaskStatus

from tests.server.connections import MODERN, TOKEN

HANDSHAKE = "2025-11-25"
ACCEPT = {"authorization": f"Bearer {TOKEN}", "accept": "application/json, text/event-stream"}
CLIENT = {"name": "bare", "version": "0"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}

Told = Callable[[], None]
"""Is called when a notification has come."""


async def listening(
    url: str, uri: str, told: Told, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Listen as in the 2026 era until the server goes away or this is cancelled; started when it is acknowledged."""
    params = {"notifications": {"resourceSubscriptions": [uri]}, "_meta": META}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"}
    started = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(streamed, url, "POST", headers, message("subscriptions/listen", params), told, started)
        await started.wait()
        task_status.started()


async def subscribed(
    url: str, uri: str, told: Told, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Subscribe as in the handshake era until the server goes away or this is cancelled; started when that is done."""
    # To load certificates a hundred times takes four seconds, and nothing here uses them.
    async with httpx2.AsyncClient(headers=ACCEPT, timeout=30, verify=False) as http:
        params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": CLIENT}
        answer = await http.post(url, json=message("initialize", params))
        session = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": HANDSHAKE}
        await http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
        started = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(streamed, url, "GET", session, None, told, started)
            await started.wait()
            answer = await http.post(url, json=message("resources/subscribe", {"uri": uri}), headers=session)
            assert '"result"' in answer.text
            task_status.started()


def message(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def streamed(
    url: str, method: str, headers: Mapping[str, str], body: Mapping[str, Any] | None, told: Told, started: anyio.Event
) -> None:
    """Send a request whose response is a stream, and call `told` for each notification on it."""
    address = urlsplit(url)
    content = b"" if body is None else json.dumps(body).encode()
    fields = {
        **ACCEPT,
        **headers,
        "host": address.netloc,
        "content-type": "application/json",
        "content-length": str(len(content)),
    }
    lines = [f"{method} {address.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        async with await anyio.connect_tcp(address.hostname or "", address.port or 0) as stream:
            await stream.send("\r\n".join(lines).encode() + content)
            async for chunk in stream:
                if body is None or b"notifications/subscriptions/acknowledged" in chunk:
                    started.set()
                if b"notifications/resources/updated" in chunk:
                    told()


SUBSCRIBERS = {"legacy": subscribed, "auto": listening}
"""By the SDK client's words for the era."""
