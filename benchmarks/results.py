"""Results: interleaved samples, their ratio, and its target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import TypeVar

from .targets import Target

T = TypeVar("T")

MILLISECONDS = 1000
"""Per second."""


@dataclass(frozen=True)
class Samples:
    """The measurements of one subject, in `unit`."""

    values: Sequence[float]
    unit: str

    @property
    def median(self) -> float:
        """The median."""
        return median(self.values)

    def __str__(self) -> str:
        """Return the median with its quartiles."""
        low, high = percentile(self.values, 25), percentile(self.values, 75)
        spread = f" ({format_number(low)} to {format_number(high)})" if len(self.values) > 1 else ""
        return f"{format_number(self.median)} {self.unit}{spread}"


@dataclass(frozen=True)
class CallCost:
    """What calls cost: how many were answered each second, and a process's seconds of CPU for one."""

    rate: float
    cpu: float


@dataclass(frozen=True)
class ResultRow:
    """One line of the table.

    `subjects` are the bridge and its baselines. `ratios`, one per round, are compared with `target`. `note` is an
    additional sentence.
    """

    title: str
    subjects: Mapping[str, Samples]
    ratios: Sequence[float]
    ratio_label: str
    target: Target
    note: str = ""

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return median(self.ratios)

    @property
    def meets_target(self) -> bool:
        """Whether the target is met."""
        return self.target.is_met(self.ratio)

    @property
    def passes_check(self) -> bool:
        """Whether a short run accepts the best round."""
        factor = self.target.check_factor
        return factor is None or any(self.target.is_met(ratio, factor) for ratio in self.ratios)

    @property
    def summary(self) -> str:
        """The ratio, the target, and the distance between them."""
        sign, bound = "≥" if self.target.at_least else "≤", self.target.bound
        distance = "" if self.meets_target else f", missed by {abs(self.ratio / bound - 1):.0%}"
        return f"{format_number(self.ratio)} {self.target.unit} (target {sign} {format_number(bound)}{distance})"


@dataclass(frozen=True)
class Curve:
    """A figure of each subject by size."""

    title: str
    unit: str
    sizes: Sequence[int]
    subjects: Mapping[str, Sequence[float]]


@dataclass
class Results:
    """The results of a run."""

    rows: list[ResultRow] = field(default_factory=list[ResultRow])
    curves: list[Curve] = field(default_factory=list[Curve])
    profiles: dict[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])

    def add(self, result: ResultRow | Curve) -> None:
        """Add a row or a curve."""
        if isinstance(result, ResultRow):
            self.rows.append(result)
        else:
            self.curves.append(result)


async def interleave(rounds: int, subjects: Mapping[str, Callable[[], Awaitable[T]]]) -> dict[str, list[T]]:
    """Measure subjects alternately, so that other load on the machine affects all of them."""
    values: dict[str, list[T]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, measure in subjects.items():
            values[name].append(await measure())
    return values


def summed_ratios(numerators: Sequence[float], *denominators: Sequence[float]) -> list[float]:
    """Return the ratios of measurements to the sums of the others' of the same round."""
    return pair_ratios(numerators, [sum(values) for values in zip(*denominators, strict=True)])


def pair_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratios of measurements of the same round."""
    return [numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` per cent of the values do not exceed."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def format_number(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
