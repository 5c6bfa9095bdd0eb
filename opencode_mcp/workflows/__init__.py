"""Several operations at once: tasks that a model can start, watch, answer, stop and collect."""

from .context import Asker, Context, Decision, InputRequired, Undecided
from .table import WORKFLOWS, Workflow, workflows
from .turns import perform_any

__all__ = [
    "WORKFLOWS",
    "Asker",
    "Context",
    "Decision",
    "InputRequired",
    "Undecided",
    "Workflow",
    "perform_any",
    "workflows",
]
