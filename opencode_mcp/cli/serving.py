"""What every serving command does first: logging to stderr, the document, the server."""

from __future__ import annotations

from typing import Any

from mcp.server.lowlevel import Server

from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings

from .document import chosen_catalog
from .logs import set_up_logging


def prepared(settings: Settings) -> Server[Any]:
    """Set up logging and build the server."""
    set_up_logging(settings)
    return create_server(settings, chosen_catalog(settings))
