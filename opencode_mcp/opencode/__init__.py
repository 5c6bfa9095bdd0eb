"""The OpenCode server: its address or process, and the async client of its operations."""

from .client import OpenCode
from .execute import execute, execute_operation
from .responses import Answer
from .server import AttachedServer, Endpoint, Report
from .servers import Servers

__all__ = ["Answer", "AttachedServer", "Endpoint", "OpenCode", "Report", "Servers", "execute", "execute_operation"]
