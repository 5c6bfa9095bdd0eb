"""MCP tools: operations, task tools and the gateway; how they are listed, called, searched and rendered."""

from .definition import operation_definition
from .registry import ToolRegistry
from .results import add_note, facts_of, failure, sent_once
from .selection import VIEWS, Selection, select_tools, select_view

__all__ = [
    "VIEWS",
    "Selection",
    "ToolRegistry",
    "add_note",
    "facts_of",
    "failure",
    "operation_definition",
    "select_tools",
    "select_view",
    "sent_once",
]
