"""What every serving command does first: logging to stderr, the document, the server."""

from __future__ import annotations

import logging
import sys
from typing import Any

from mcp.server.lowlevel import Server

from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings

from .document import chosen_catalog


def prepared(settings: Settings) -> Server[Any]:
    """Set up logging and build the server."""
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    return create_server(settings, chosen_catalog(settings))
