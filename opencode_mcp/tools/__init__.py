"""Operations, workflows and the gateway as MCP tools."""

from .results import add_note, failure
from .tool import operation_definition
from .toolbox import ToolRegistry
from .toolsets import VIEWS, Selection, select_tools, select_view

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
