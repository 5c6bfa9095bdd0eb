"""Serve one client over stdin and stdout."""

from __future__ import annotations

import argparse

from opencode_mcp.cli.deferred_package import defer_package
from opencode_mcp.importing import importing
from opencode_mcp.server.stdio.first_answer import answer_first
from opencode_mcp.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Answer `initialize`, import the server, and serve until stdin ends."""
    first = answer_first(settings)
    with importing():
        for package in ("mcp", "mcp.server"):
            defer_package(package)
        from opencode_mcp.cli.serve_stdio import serve
    return serve(settings, first)
