"""Serves stdio. A module of its own, as it imports the server, which takes most of a start."""

from __future__ import annotations

import logging
import os
import sys

import anyio

from opencode_mcp.connect import expected_generation
from opencode_mcp.server import create_server
from opencode_mcp.server.stdio.first_answer import FirstAnswer
from opencode_mcp.server.stdio.transport import serve_stdio
from opencode_mcp.settings import Settings

from .document_option import load_catalog
from .logs import set_up_logging

log = logging.getLogger(__name__)

AT_A_TERMINAL = """\
opencode-mcp: waiting for an MCP client on stdin. A client starts this command itself; here, type one of:
  opencode-mcp install CLIENT              register this server with a client
  opencode-mcp doctor                      check the installation
  opencode-mcp call run_task prompt="…"    give OpenCode a task
  opencode-mcp --help
Ctrl-C ends it."""
"""For a user who starts the server at a terminal, where it would wait without a word."""


def serve(settings: Settings, first: FirstAnswer) -> int:
    """Serve until stdin ends, and return the exit code."""
    set_up_logging(settings)
    server = create_server(settings, load_catalog(settings, expected_generation(settings)))
    if sys.stdin.isatty():
        print(AT_A_TERMINAL, file=sys.stderr, flush=True)  # noqa: T201 - for the user; stdout belongs to the protocol
    try:
        anyio.run(serve_stdio, server, first)
    except Exception:
        log.exception("the server failed")
        logging.shutdown()
        # Where stdin is not a pipe a thread still reads it, and would keep the process alive until the client closes
        # it.
        os._exit(1)
    return 0
