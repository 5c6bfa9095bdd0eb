"""The MCP server and its transports."""

from .bridge_server import BridgeServer, create_server

__all__ = ["BridgeServer", "create_server"]
