"""Serve one client over stdin and stdout."""

from __future__ import annotations

import argparse

import anyio

from opencode_mcp.server.transports import serve_stdio
from opencode_mcp.settings import Settings

from .serving import prepared


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Serve until stdin ends."""
    anyio.run(serve_stdio, prepared(settings))
    return 0
