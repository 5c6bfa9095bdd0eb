"""Tasks: what needs more than one request. Start, wait, answer, stop, collect changes."""

from .context import Asker, Context, Decision, Undecided
from .table import WORKFLOWS, Workflow, workflows
from .turns import execute_blocking

__all__ = [
    "WORKFLOWS",
    "Asker",
    "Context",
    "Decision",
    "Undecided",
    "Workflow",
    "execute_blocking",
    "workflows",
]
