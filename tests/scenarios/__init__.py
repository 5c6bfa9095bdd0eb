"""Scenarios of tasks, by subject."""

from . import (
    access,
    ask_timeouts,
    blocking,
    cancellation,
    checks,
    crashes,
    durations,
    events,
    interference,
    limits,
    model_errors,
    model_that_ran,
    output_schemas,
    permissions,
    policies,
    queued,
    refusals,
    repeats,
    setups,
    several_models,
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
        checks,
        limits,
        several_models,
        access,
        ask_timeouts,
        events,
        setups,
        output_schemas,
        queued,
    )
    for scenario in subject.SCENARIOS
)

__all__ = ["SCENARIOS"]
