"""The OpenCode server: its address or process, and the async client of its operations."""

from .client import OpenCodeClient
from .endpoint import AttachedServer, Endpoint, ProgressCallback
from .execute import execute, execute_operation
from .pool import ServerPool
from .responses import Answer

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
