"""Figures: samples taken in turns, the ratio that counts, and the target that it is held against."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median

Measure = Callable[[], Awaitable[float]]

MILLISECONDS = 1000
"""In a second."""

MARGIN = 3.0
"""How far a target may be missed by before a short run on a busy machine counts as a fault."""


@dataclass(frozen=True)
class Samples:
    """What was measured of one subject, in `unit`."""

    values: Sequence[float]
    unit: str

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    def __str__(self) -> str:
        """Return the median with the quarters below and above it."""
        low, high = percentile(self.values, 25), percentile(self.values, 75)
        spread = f" ({shown(low)} to {shown(high)})" if len(self.values) > 1 else ""
        return f"{shown(self.middle)} {self.unit}{spread}"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `subjects` are those that were measured, the bridge and its anchors; `ratios` are what the target is about, one of
    each turn, and `at_least` whether that is a lower bound. `note` says what else is to be known.
    """

    what: str
    subjects: Mapping[str, Samples]
    ratios: Sequence[float]
    of: str
    target: float
    at_least: bool = False
    unit: str = "times"
    note: str = ""

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return median(self.ratios)

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target

    @property
    def tolerable(self) -> bool:
        """Whether the best turn of a short run misses the target by no more than its margin.

        The best one, as it has few, and what else a machine does comes in bursts.
        """
        if self.at_least:
            return max(self.ratios) >= self.target / MARGIN
        return min(self.ratios) <= self.target * MARGIN

    @property
    def verdict(self) -> str:
        """The ratio, the target, and how far it is from it."""
        sign = "≥" if self.at_least else "≤"
        distance = "" if self.met else f", missed by {abs(self.ratio / self.target - 1):.0%}"
        return f"{shown(self.ratio)} {self.unit} (target {sign} {shown(self.target)}{distance})"


@dataclass(frozen=True)
class Curve:
    """How something grows: for each size the figure of each subject."""

    what: str
    unit: str
    sizes: Sequence[int]
    subjects: Mapping[str, Sequence[float]]


@dataclass
class Results:
    """All that a run has measured."""

    rows: list[Row] = field(default_factory=list[Row])
    curves: list[Curve] = field(default_factory=list[Curve])
    profiles: dict[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])


async def in_turns(rounds: int, subjects: Mapping[str, Measure]) -> dict[str, list[float]]:
    """Measure several subjects in turns, so that what else the machine does hits all of them."""
    values: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, measure in subjects.items():
            values[name].append(await measure())
    return values


def paired(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratios of what was measured in the same turn."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many per cent of the values do not exceed."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def shown(value: float) -> str:
    """Write a number with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
