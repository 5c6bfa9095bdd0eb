"""A terminal (PTY) over WebSocket. Each call types input, reads the output, and returns the cursor.

The server sends the replay from `cursor` as text frames, then one binary frame
`\\x00{"cursor": N}`, then live output as text. Cursors count UTF-16 code units.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2
from httpx2.websockets import (
    AsyncWebSocketSession,
    WebSocketDisconnect,
    WebSocketNetworkError,
    WebSocketUpgradeError,
)
from wsproto.events import BytesMessage, TextMessage

from opencode_mcp.catalog import Operation
from opencode_mcp.exceptions import APIError, RequestTimeout, TransportError

from .client import OpenCodeClient
from .endpoint import Endpoint, ProgressCallback, ignore_progress
from .prepare import RequestParts
from .responses import Answer
from .transport import CONNECT_SECONDS, map_transport_errors

QUIET_SECONDS = 1.0
"""Without `until`, output counts as complete after a pause this long."""

MAX_MESSAGE_BYTES = 8 * 1024 * 1024


@dataclass
class TerminalOutput:
    """The output read so far.

    `cursor` is the position after it; `ready` is set once the replay is over, `replayed` is its length in characters;
    `ended` is the reason for the end.
    """

    cursor: int
    text: str = ""
    ready: bool = False
    ended: str = "timeout"
    replayed: int = 0

    def receive(self, event: Any) -> None:
        """Append the output of a text frame, or read the cursor of a binary frame."""
        if isinstance(event, TextMessage):
            self.text += event.data
            if self.ready:
                self.cursor += utf16_units(event.data)
        elif isinstance(event, BytesMessage):
            self.cursor = json.loads(bytes(event.data[1:]))["cursor"]
            self.ready = True
            self.replayed = len(self.text)


async def drive_terminal(
    opencode: OpenCodeClient,
    operation: Operation,
    parts: RequestParts,
    report_progress: ProgressCallback = ignore_progress,
) -> Answer:
    """Connect, type `input`, and read until `until`, a pause, `timeout_seconds` or the terminal's end.

    The answer is `{"output", "cursor", "ended": "until" | "quiet" | "timeout" | "closed"}`. If there is more than
    `max_chars`, `ended` is "max_chars", and `cursor` is the end of the returned output, from which the next call
    continues.
    """
    endpoint = await opencode.endpoint_for(operation, report_progress)
    request = opencode.build_request(operation, parts, endpoint)
    await report_progress(f"connected to {request.url.path}")
    terminal_output = TerminalOutput(cursor=0)
    with map_transport_errors(operation, opencode.server, opencode.observe):
        try:
            with anyio.move_on_after(parts.controls["timeout_seconds"]) as limit:
                async with opencode.http.websocket(
                    request.url,
                    headers=request.headers,
                    auth=endpoint.auth,
                    max_message_size_bytes=MAX_MESSAGE_BYTES,
                    timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
                ) as socket:
                    terminal_output.ended = await type_and_read(socket, terminal_output, parts.controls)
        except WebSocketUpgradeError as error:  # its response is closed, its body lost
            raise upgrade_error(operation, endpoint, error.response) from error
    if limit.cancelled_caught and not terminal_output.ready and not terminal_output.text:
        seconds = parts.controls["timeout_seconds"]
        raise RequestTimeout(f"{operation.name}: {parts.path} sent nothing within {seconds:g} s; try again")
    if terminal_output.ended == "broken":
        raise TransportError(
            f"{operation.name}: the terminal's connection broke; output so far: {terminal_output.text!r}"
        )
    return Answer(build_excerpt(terminal_output, parts.controls["max_chars"]))


def upgrade_error(operation: Operation, endpoint: Endpoint, response: httpx2.Response) -> APIError | TransportError:
    """Return the error for a rejected WebSocket upgrade."""
    if response.status_code >= 400:
        message = "the WebSocket upgrade failed; the terminal may have just exited"
        listing = operation.name.replace("connect", "list")
        return APIError(
            operation.name, response.status_code, "", message, advice=f"{listing} lists the existing terminals."
        )
    return TransportError(f"{operation.name}: {endpoint.display_url} did not open a WebSocket")


async def type_and_read(socket: AsyncWebSocketSession, terminal_output: TerminalOutput, controls: Any) -> str:
    """Read frames, and type the input after the replay; return the reason for the end."""
    until: str | None = controls["until"]
    typed = False
    while True:
        try:
            if terminal_output.ready and not typed:
                typed = True
                await socket.send_text(controls["input"] or "")
            event = await socket.receive(QUIET_SECONDS if terminal_output.ready and until is None else None)
        except TimeoutError:
            return "quiet"
        except WebSocketDisconnect:
            return "closed"
        except WebSocketNetworkError:
            return "broken"
        terminal_output.receive(event)
        if (
            until is not None
            and terminal_output.ready
            and until in terminal_output.text[search_start(terminal_output, controls) :]
        ):
            return "until"


def search_start(terminal_output: TerminalOutput, controls: Any) -> int:
    """Return the offset from which `until` is searched: the end of the replay if input was typed, else 0."""
    return terminal_output.replayed if controls["input"] else 0


def build_excerpt(terminal_output: TerminalOutput, max_chars: int) -> dict[str, Any]:
    """Return the output, cut to `max_chars`, and the cursor at its end."""
    output, remainder = terminal_output.text[:max_chars], terminal_output.text[max_chars:]
    return {
        "output": output,
        "cursor": terminal_output.cursor - utf16_units(remainder),
        "ended": "max_chars" if remainder else terminal_output.ended,
    }


def utf16_units(text: str) -> int:
    """Count the UTF-16 code units of a text, as the server's cursors do."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
