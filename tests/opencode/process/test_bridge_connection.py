"""The supervisor's side of a connection to a bridge."""

from __future__ import annotations

import socket

import pytest

from opencode_mcp.opencode.process.bridge_connection import BridgeConnection


def test_what_a_bridge_has_sent_is_read_after_it_has_gone() -> None:
    """The supervisor may send to it before it reads: that fails, and what the bridge has promised must not be lost."""
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    with ours:
        connection = BridgeConnection(ours)
        with theirs:
            theirs.sendall(b'{"set": {"promised": {"ses_1": "/project"}}}\n')
        connection.queue({"bridges": []})
        connection.flush()
        assert connection.unsent == b""
        assert connection.receive() == [{"set": {"promised": {"ses_1": "/project"}}}]
        with pytest.raises(ConnectionResetError):
            connection.receive()
