"""The truth table's rows, by subject."""

from . import (
    asking,
    breaking,
    cancelling,
    failing,
    interfering,
    lasting,
    policies,
    raw,
    refusing,
    repeating,
    stopping,
    worktrees,
)

SCENARIOS = tuple(
    row
    for subject in (
        failing,
        breaking,
        worktrees,
        lasting,
        cancelling,
        interfering,
        repeating,
        refusing,
        policies,
        raw,
        stopping,
        asking,
    )
    for row in subject.SCENARIOS
)

__all__ = ["SCENARIOS"]
