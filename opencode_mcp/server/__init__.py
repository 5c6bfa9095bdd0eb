"""The MCP server and its transports."""

from .server import BridgeServer, create_server

__all__ = ["BridgeServer", "create_server"]
