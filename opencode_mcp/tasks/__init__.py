"""Tasks: what needs more than one request. Start, wait, answer, stop, collect changes."""

from .blocking import execute_blocking
from .context import Context, Decision, Elicitor, Undecided
from .registry import TASK_TOOLS, TaskTool, task_tools_for

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
