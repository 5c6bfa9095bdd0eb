"""The figures of docs/scaling.md: the simulation's sessions, unit costs from its figures, the page and its chart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import chart, scaling_report
from benchmarks.capacity import UnitCosts, Workload
from benchmarks.fanout import (
    CHANGES_PER_SECOND,
    SECONDS,
    FanoutFigures,
    ProcessFigures,
    due_times,
    sessions_of,
    subscribers_of,
    uri_of,
)

DOCS = Path(__file__).parents[1] / "docs"
MEASURED = {
    name: 0.001
    for name in UnitCosts.__dataclass_fields__
    if name not in {"change", "change_scan", "renewal", "redis_change", "redis_renewal"}
}


def figures(replicas: int, subscribers: int, idle_cpu: float, cpu: float) -> FanoutFigures:
    """Return figures of two processes that share the load."""
    one = ProcessFigures([0.001, 0.002], 1, idle_cpu / 2, cpu / 2, 10_000_000)
    return FanoutFigures(replicas, subscribers, [one, one], 0.1, 0.2)


def test_the_subscribers_of_each_session_are_on_two_replicas() -> None:
    followed = [sessions_of(replica, 5, 1000) for replica in range(5)]

    assert Counter(session for sessions in followed for session in sessions) == dict.fromkeys(range(100), 2)
    assert {len(sessions) * len(subscribers_of("a URI")) for sessions in followed} == {1000 // 5}


@pytest.mark.parametrize("subscribers", [100, 10_000, 100_000])
def test_each_session_changes_at_most_once(subscribers: int) -> None:
    times = due_times(subscribers)

    assert len(times) == min(SECONDS * CHANGES_PER_SECOND, subscribers // 10)
    assert [*times.values()] == sorted(times.values())
    assert max(times.values()) < SECONDS
    assert {*times} <= {uri_of(session) for session in range(subscribers // 10)}


def test_costs_per_change_are_a_line_through_two_simulations() -> None:
    """A change costs 1 ms and 10 µs for each of a replica's subscribers."""
    few = figures(10, 1_000, 0.5, 0.5 + 10 * CHANGES_PER_SECOND * (0.001 + 100 * 0.00001))
    many = figures(4, 4_000, 0.8, 0.8 + 4 * CHANGES_PER_SECOND * (0.001 + 1000 * 0.00001))

    costs = scaling_report.combine_costs(MEASURED, few, many)

    assert costs.change == pytest.approx(0.001)
    assert costs.change_scan == pytest.approx(0.00001)
    assert costs.renewal == pytest.approx(0.8 / 800)
    assert costs.redis_renewal == pytest.approx(0.1 / 800)
    assert costs.redis_change == pytest.approx(0.1 / CHANGES_PER_SECOND / 4)
    assert (costs.call, costs.opencode_memory) == (0.001, 0.001)


def test_noise_makes_no_cost_negative() -> None:
    costs = scaling_report.combine_costs(MEASURED, figures(10, 1_000, 0.5, 0.6), figures(4, 4_000, 0.8, 0.7))

    assert min(vars(costs).values()) >= 0


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("call", 0.0034, "3.4 ms"),
        ("event", 0.000415, "415 µs"),
        ("opencode_task", 1.25, "1,250 ms"),
        ("session_memory", 32_300.0, "32.3 KB"),
        ("replica_memory", 99_500_000.0, "99.5 MB"),
    ],
)
def test_costs_have_a_unit_that_fits(name: str, value: float, text: str) -> None:
    assert scaling_report.format_cost(name, value).endswith(f" | {text} |")


def test_the_page_has_every_cost_plan_and_curve_and_the_chart_is_drawn_from_it() -> None:
    runs = [figures(replicas, 1000 * replicas, 0.1 * replicas, 0.3 * replicas) for replicas in (10, 30, 100)]
    costs = UnitCosts(**dict.fromkeys(UnitCosts.__dataclass_fields__, 1e-5))

    page = scaling_report.format_page(costs, Workload(), runs)
    _, results = chart.parse_tables(page)

    assert [label in page for label in scaling_report.LABELS.values()] == [True] * len(UnitCosts.__dataclass_fields__)
    assert [f"\n| {count:,} |" in page for count in scaling_report.ASSISTANTS] == [True] * 3
    assert "6 notifications lost" in page
    assert [curve.title for curve in results.curves] == [curve.title for curve in scaling_report.draw_curves(runs)]
    assert results.curves[0].subjects == {"p50": [1, 1, 1], "p99": [2, 2, 2]}


def test_the_chart_is_drawn_from_the_committed_figures() -> None:
    drawn = scaling_report.draw((DOCS / "scaling.md").read_text(encoding="utf-8"))

    assert (DOCS / "scaling.svg").read_text(encoding="utf-8") == drawn, "run `python -m benchmarks.scaling --redraw`"
    assert drawn.count("<polyline") == 5
