"""The checks of `doctor`. None of them calls a model or changes anything."""

from .examination import run_checks
from .finding import CheckResult

__all__ = ["CheckResult", "run_checks"]
