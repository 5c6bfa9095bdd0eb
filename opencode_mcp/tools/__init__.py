"""Operations, workflows and the gateway as MCP tools."""

from .results import failure, noted
from .tool import operation_tool
from .toolbox import Toolbox
from .toolsets import VIEWS, Selection, select, view

__all__ = ["VIEWS", "Selection", "Toolbox", "failure", "noted", "operation_tool", "select", "view"]
