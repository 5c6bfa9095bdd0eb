"""What every serving command does first: logging, the document, the server."""

from __future__ import annotations

from opencode_mcp.server import BridgeServer, create_server
from opencode_mcp.settings import Settings

from .document import chosen_catalog
from .logs import set_up_logging


def prepared(settings: Settings) -> BridgeServer:
    """Set up logging and build the server."""
    set_up_logging(settings)
    return create_server(settings, chosen_catalog(settings))
