"""Operations, workflows and the gateway as MCP tools."""

from .definition import operation_definition
from .registry import ToolRegistry
from .results import add_note, failure
from .selection import VIEWS, Selection, select_tools, select_view

__all__ = [
    "VIEWS",
    "Selection",
    "ToolRegistry",
    "add_note",
    "failure",
    "operation_definition",
    "select_tools",
    "select_view",
]
