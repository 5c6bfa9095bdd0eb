"""The OpenCode server: its address or process, and the async client of its operations."""

from .client import OpenCodeClient
from .execute import execute, execute_operation
from .responses import Answer
from .server import AttachedServer, Endpoint, ProgressCallback
from .servers import ServerPool

__all__ = [
    "Answer",
    "AttachedServer",
    "Endpoint",
    "OpenCodeClient",
    "ProgressCallback",
    "ServerPool",
    "execute",
    "execute_operation",
]
