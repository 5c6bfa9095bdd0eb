"""Serve streamable HTTP, for clients of both protocol eras."""

from __future__ import annotations

import argparse
from functools import partial

import anyio

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.server.transports import serve_http
from opencode_mcp.settings import Settings

from .serving import prepared

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add where to listen."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default 8000)")
    parser.add_argument("--path", default="/mcp", help="path of the endpoint (default /mcp)")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    if options.host not in LOOPBACK:
        raise SettingsError(
            f"--host {options.host}: only loopback addresses are served, as whoever reaches the endpoint "
            "can run commands; put a proxy that authenticates in front"
        )
    anyio.run(partial(serve_http, prepared(settings), options.host, options.port, options.path))
    return 0
