"""Serve one client over stdin and stdout."""

from __future__ import annotations

import argparse
import logging
import os

import anyio

from opencode_mcp.cli.document_option import load_catalog
from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.server import create_server
from opencode_mcp.server.stdio.transport import serve_stdio
from opencode_mcp.settings import Settings

log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Serve until stdin ends."""
    set_up_logging(settings)
    server = create_server(settings, load_catalog(settings))
    try:
        anyio.run(serve_stdio, server)
    except Exception:
        log.exception("the server failed")
        logging.shutdown()
        # Where stdin is not a pipe a thread still reads it, and would keep the process alive until the client closes
        # it.
        os._exit(1)
    return 0
