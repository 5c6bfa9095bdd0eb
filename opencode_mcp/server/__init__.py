"""The MCP server and its transports. The server is imported when it is needed, as the SDK takes most of a start."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bridge_server import BridgeServer, create_server

__all__ = ["BridgeServer", "create_server"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import bridge_server

        return getattr(bridge_server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
