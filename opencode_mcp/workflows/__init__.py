"""Tasks: what needs more than one request. Start, wait, answer, stop, collect changes."""

from .context import Context, Decision, Elicitor, Undecided
from .table import TASK_TOOLS, TaskTool, task_tools_for
from .turns import execute_blocking

__all__ = [
    "TASK_TOOLS",
    "Context",
    "Decision",
    "Elicitor",
    "TaskTool",
    "Undecided",
    "execute_blocking",
    "task_tools_for",
]
