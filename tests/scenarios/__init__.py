"""Scenarios of tasks, by subject."""

from . import (
    blocking,
    cancellation,
    crashes,
    durations,
    interference,
    model_errors,
    model_that_ran,
    permissions,
    policies,
    refusals,
    repeats,
    stop,
    worktrees,
)

SCENARIOS = tuple(
    scenario
    for subject in (
        model_errors,
        crashes,
        worktrees,
        durations,
        cancellation,
        interference,
        repeats,
        refusals,
        policies,
        blocking,
        stop,
        permissions,
        model_that_ran,
    )
    for scenario in subject.SCENARIOS
)

__all__ = ["SCENARIOS"]
