"""Scenarios of tasks, by subject."""

from . import (
    blocking,
    cancellation,
    crashes,
    durations,
    interference,
    model_errors,
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
    )
    for scenario in subject.SCENARIOS
)

__all__ = ["SCENARIOS"]
