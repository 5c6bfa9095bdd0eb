"""Several operations at once: tasks that a model can start, watch, answer, stop and collect."""

from .context import Asker, Context, Decision, InputRequired
from .table import WORKFLOWS, Workflow, workflows
from .turns import perform_any

__all__ = ["WORKFLOWS", "Asker", "Context", "Decision", "InputRequired", "Workflow", "perform_any", "workflows"]
