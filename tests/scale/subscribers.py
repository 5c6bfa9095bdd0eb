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

from tests.server.connections import MODERN_VERSION, TOKEN

HANDSHAKE = "2025-11-25"
ACCEPT = {"authorization": f"Bearer {TOKEN}", "accept": "application/json, text/event-stream"}
CLIENT = {"name": "bare", "version": "0"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}

OnNotification = Callable[[], None]
"""Is called when a notification has come."""


async def listen(
    url: str, uri: str, on_notification: OnNotification, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Listen as in the 2026 era until the server goes away or this is cancelled; started when it is acknowledged."""
    params = {"notifications": {"resourceSubscriptions": [uri]}, "_meta": META}
    headers = {"mcp-protocol-version": MODERN_VERSION, "mcp-method": "subscriptions/listen"}
    started = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            read_stream, url, "POST", headers, make_request("subscriptions/listen", params), on_notification, started
        )
        await started.wait()
        task_status.started()


async def subscribe(
    url: str, uri: str, on_notification: OnNotification, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Subscribe as in the handshake era until the server goes away or this is cancelled; started when that is done."""
    # To load certificates a hundred times takes four seconds, and nothing here uses them.
    async with httpx2.AsyncClient(headers=ACCEPT, timeout=30, verify=False) as http:
        params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": CLIENT}
        answer = await http.post(url, json=make_request("initialize", params))
        session = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": HANDSHAKE}
        await http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
        started = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_stream, url, "GET", session, None, on_notification, started)
            await started.wait()
            answer = await http.post(url, json=make_request("resources/subscribe", {"uri": uri}), headers=session)
            assert '"result"' in answer.text
            task_status.started()


def make_request(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def read_stream(
    url: str,
    method: str,
    headers: Mapping[str, str],
    body: Mapping[str, Any] | None,
    on_notification: OnNotification,
    started: anyio.Event,
) -> None:
    """Send a request whose response is a stream, and call `on_notification` for each notification on it."""
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
                    on_notification()


SUBSCRIBERS = {"legacy": subscribe, "auto": listen}
"""By the SDK client's words for the era."""
