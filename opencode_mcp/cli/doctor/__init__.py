"""The checks of `doctor`. None of them calls a model or changes anything."""

from .check_result import CheckResult
from .checks import run_checks

__all__ = ["CheckResult", "run_checks"]
