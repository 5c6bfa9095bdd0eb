"""How the HTTP server writes responses."""

from __future__ import annotations

import asyncio

import pytest

from opencode_mcp.server.http.serve import MERGED_BYTES, MergingTransport

pytestmark = pytest.mark.anyio


class Wire(asyncio.Transport):
    """Takes note of what would be sent, and of the end."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.sent.append(b"(closed)")


async def test_the_head_and_the_body_of_a_response_are_one_packet() -> None:
    """What is written later is another one."""
    wire = Wire()
    transport = MergingTransport(wire, asyncio.get_running_loop())
    transport.write(b"head")
    transport.write(b"body")
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)

    assert wire.sent == [b"headbody", b"next"]


async def test_what_is_written_before_a_close_is_sent() -> None:
    """And once."""
    wire = Wire()
    transport = MergingTransport(wire, asyncio.get_running_loop())
    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)

    assert wire.sent == [b"last", b"(closed)"]


async def test_a_long_body_is_sent_at_once() -> None:
    """So that a client that reads slowly slows its sender down."""
    wire = Wire()
    transport = MergingTransport(wire, asyncio.get_running_loop())
    transport.write(b"head")
    transport.write(bytes(MERGED_BYTES + 1))

    assert wire.sent == [b"head" + bytes(MERGED_BYTES + 1)]
