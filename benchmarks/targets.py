"""The targets of all results, and how far a short run may miss them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CHECK_FACTOR = 1.5
"""The factor by which the best round of a short run may miss a target: other load comes in bursts."""


@dataclass(frozen=True)
class Target:
    """What a result is compared with: an upper bound, or a lower one with `at_least`.

    `check_factor` is None if a short run does not judge the result, for the `reason`.
    """

    bound: float
    unit: str = "times"
    at_least: bool = False
    check_factor: float | None = CHECK_FACTOR
    reason: str = ""

    def is_met(self, result: float, factor: float = 1.0) -> bool:
        """Return whether a result misses the bound by no more than a factor."""
        return result >= self.bound / factor if self.at_least else result <= self.bound * factor

    @property
    def check_limit(self) -> str:
        """What a short run accepts, or why it accepts everything."""
        if self.check_factor is None:
            return f"not checked: {self.reason}"
        sign, limit = (
            (">=", self.bound / self.check_factor) if self.at_least else ("<=", self.bound * self.check_factor)
        )
        why = f", as {self.reason}" if self.reason else ""
        return f"checked: {sign} {limit:.3g}{why}"


def unchecked(bound: float, reason: str, unit: str = "times", *, at_least: bool = False) -> Target:
    """Return a target that a short run does not judge."""
    return Target(bound, unit, at_least, None, reason)


TIMED = "other load changes times more than the bridge does, so its CPU is checked"
LONG = "it takes longer than a short run"

TARGETS: Mapping[str, Target] = {
    "start": unchecked(0.75, TIMED),
    "start CPU": Target(0.75),
    "first result": unchecked(1.05, TIMED),
    "list": unchecked(6, TIMED, "ms"),
    "list size": Target(120, "KB"),
    "overhead": unchecked(1.3, TIMED),
    "rate, stdio": unchecked(0.9, TIMED, at_least=True),
    "rate, HTTP": unchecked(0.7, TIMED, at_least=True),
    "CPU, stdio": Target(0.6),
    "CPU, HTTP": Target(1.0),
    "CPU, many clients": unchecked(1.0, LONG),
    "memory": Target(1.15),
    "task": unchecked(1.25, TIMED),
    "tasks at once": unchecked(1.15, TIMED),
    "large reply": unchecked(1.5, TIMED),
    "large answer": unchecked(1.5, TIMED),
    "notifications": unchecked(100, TIMED, "ms"),
    "idle, stdio": Target(0.1, "/s"),
    "idle, HTTP": unchecked(0.1, "uvicorn's own timer drifts on a busy machine", "/s"),
    "polls": Target(1.0, "/s"),
    "report growth": unchecked(1.1, LONG),
    "session list": unchecked(1.3, LONG),
    "second result": unchecked(0.3, TIMED, "s"),
    "second memory": unchecked(5, LONG, "MB"),
    "reads beside": unchecked(250, TIMED, "ms"),
    "assistants": unchecked(0.4, LONG),
}
"""By row. An idle bridge must have no wakeups of its own: 0.1 per second is one or two in a measurement."""
