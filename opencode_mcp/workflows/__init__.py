"""Several operations at once: tasks that a model can start, watch, answer, stop and collect."""

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
