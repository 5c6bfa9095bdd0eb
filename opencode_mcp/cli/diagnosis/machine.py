"""What concerns this machine, whether OpenCode is there or not."""

from __future__ import annotations

import socket

from .finding import Finding


def port(number: int) -> Finding:
    """See whether `opencode-mcp http` could listen."""
    try:
        socket.create_server(("127.0.0.1", number)).close()
    except OSError as error:
        said = f"{number} is not available ({error.strerror})"
        advice = "`opencode-mcp http` may be running there already; otherwise use --port"
        return Finding("port", "warning", said, advice, {"port": number})
    return Finding("port", "ok", f"{number} is free for `opencode-mcp http`", facts={"port": number})
