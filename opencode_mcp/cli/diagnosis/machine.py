"""Checks of this machine, which need no OpenCode."""

from __future__ import annotations

import socket

from .finding import CheckResult


def check_port(number: int) -> CheckResult:
    """Check that `opencode-mcp http` could listen on a port."""
    try:
        socket.create_server(("127.0.0.1", number)).close()
    except OSError as error:
        message = f"{number} is not available ({error.strerror})"
        advice = "`opencode-mcp http` may be running there already; otherwise use --port"
        return CheckResult("port", "warning", message, advice, {"port": number})
    return CheckResult("port", "ok", f"{number} is free for `opencode-mcp http`", facts={"port": number})
