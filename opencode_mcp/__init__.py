"""Drive OpenCode, the open coding agent, from any MCP client, or from Python: `from opencode_mcp import OpenCode`."""

from typing import TYPE_CHECKING, Any

from .exceptions import (
    APIError,
    DocumentError,
    InvalidArguments,
    OpenCodeError,
    RequestTimeout,
    ServerStalled,
    ServerStartError,
    SettingsError,
    TLSError,
    TransportError,
    UnexpectedResponse,
    UnsupportedServer,
    WorkflowError,
)

if TYPE_CHECKING:
    from .library import Answer, OpenCode

__all__ = [
    "APIError",
    "Answer",
    "DocumentError",
    "InvalidArguments",
    "OpenCode",
    "OpenCodeError",
    "RequestTimeout",
    "ServerStalled",
    "ServerStartError",
    "SettingsError",
    "TLSError",
    "TransportError",
    "UnexpectedResponse",
    "UnsupportedServer",
    "WorkflowError",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The client takes half a second to import, which would slow down `opencode-mcp --version`.
    if name in {"Answer", "OpenCode"}:
        from . import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
