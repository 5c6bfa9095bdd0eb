"""The MCP server and its transports."""

from .server import create_server

__all__ = ["create_server"]
