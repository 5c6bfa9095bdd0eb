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
PAGE = (DOCS / "scaling.md").read_text(encoding="utf-8")
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


def cpu_of_changes(replicas: int, subscribers: int, published: float = 0.0) -> float:
    """Return the CPU of each second: a change costs 1 ms, 10 µs for each subscriber of a replica, and `published`."""
    return CHANGES_PER_SECOND * (replicas * (0.001 + subscribers / replicas * 0.00001) + published)


def test_costs_per_change_are_those_of_replicas_without_a_subscriber_of_it() -> None:
    """What grows with subscribers is seen with one number of replicas; publishing is least of the largest number."""
    few = figures(10, 1_000, 0.5, 0.5 + cpu_of_changes(10, 1_000, 0.01))
    many = figures(10, 4_000, 0.8, 0.8 + cpu_of_changes(10, 4_000, 0.01))
    largest = figures(1_000, 1_000_000, 5.0, 5.0 + cpu_of_changes(1_000, 1_000_000, 0.01))

    costs = scaling_report.combine_costs(MEASURED, few, many, largest)

    assert costs.change_scan == pytest.approx(0.00001)
    assert costs.change == pytest.approx(0.00101)
    assert costs.renewal == pytest.approx(0.8 / 800)
    assert costs.redis_renewal == pytest.approx(0.1 / 800)
    assert costs.redis_change == pytest.approx(0.1 / CHANGES_PER_SECOND / 10)
    assert (costs.call, costs.opencode_memory) == (0.001, 0.001)


def test_simulations_of_different_numbers_of_replicas_are_not_compared() -> None:
    with pytest.raises(AssertionError):
        scaling_report.combine_costs(MEASURED, figures(8, 2_000, 0, 1), figures(2, 2_000, 0, 1), figures(2, 2, 0, 1))


def test_noise_makes_no_cost_negative() -> None:
    costs = scaling_report.combine_costs(
        MEASURED, figures(4, 1_000, 0.5, 0.6), figures(4, 4_000, 0.8, 0.7), figures(9, 9_000, 0.8, 0.7)
    )

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


def test_costs_are_those_that_the_page_shows() -> None:
    """Three digits of them, so that a reader gets the plans of the page from its costs."""
    costs = {name: 12345.6 if "memory" in name else 1.23456e-5 for name in UnitCosts.__dataclass_fields__}
    page = "\n".join(scaling_report.format_cost(name, value) for name, value in costs.items())
    shown = {name: 12300.0 if "memory" in name else 1.23e-5 for name in costs}

    assert vars(scaling_report.parse_costs(page)) == pytest.approx(shown)


def test_the_page_is_of_the_sizes_that_the_command_measures() -> None:
    _, results = chart.parse_tables(PAGE)

    assert [tuple(curve.sizes) for curve in results.curves] == [scaling_report.SUBSCRIBERS] * 3


def test_the_plans_of_the_page_follow_from_its_unit_costs() -> None:
    plans = "\n".join(scaling_report.format_plans(scaling_report.parse_costs(PAGE), Workload()))

    assert plans in PAGE, "run `python -m benchmarks.scaling --redraw`"


def test_a_redrawn_page_and_chart_are_those_that_were_written(tmp_path: Path) -> None:
    for name in ("scaling.md", "scaling.svg"):
        (tmp_path / name).write_bytes((DOCS / name).read_bytes())
    (tmp_path / "scaling.md").write_text(PAGE.replace("| 1,000 |", "| 999 |"), encoding="utf-8")

    scaling_report.redraw(tmp_path)

    assert (tmp_path / "scaling.md").read_text(encoding="utf-8") == PAGE
    assert (tmp_path / "scaling.svg").read_bytes() == (DOCS / "scaling.svg").read_bytes()


def test_the_chart_is_drawn_from_the_committed_figures() -> None:
    drawn = scaling_report.draw(PAGE)

    assert (DOCS / "scaling.svg").read_text(encoding="utf-8") == drawn, "run `python -m benchmarks.scaling --redraw`"
    assert drawn.count("<polyline") == 5
