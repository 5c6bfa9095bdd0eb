"""Unit costs, the simulation and the plans -> docs/scaling.md (between its markers) and the chart beside it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from . import chart
from .capacity import USED_SHARE, Plan, UnitCosts, Workload, limits, plan
from .fanout import CHANGES_PER_SECOND, FanoutFigures
from .report import format_curve
from .results import Curve, format_number

BEGIN, END = "<!-- figures: written by python -m benchmarks.scaling -->", "<!-- end figures -->"
ASSISTANTS = (10**3, 10**5, 10**7)
PER_REPLICA = 1_000
SUBSCRIBERS = (10_000, 30_000, 100_000)
"""The sizes of the simulation."""
TITLE = f"Changes of sessions on their way through Redis, with {PER_REPLICA:,} subscribers on each replica"

LABELS: Mapping[str, str] = {
    "call": "a read (`global_health`): a replica",
    "poll": "a `tasks/get` of a running task: a replica",
    "notification": "a notification to a subscriber: a replica",
    "task": "a task whose model answers at once: a replica",
    "event": "an event of OpenCode that no subscriber follows: each replica",
    "change": "a change of a session, from Redis: each replica",
    "change_scan": "the same: each replica, for each of its subscribers",
    "renewal": "the lease of a subscribed resource, per second: a replica",
    "redis_change": "a change of a session: Redis, for each replica",
    "redis_renewal": "the lease of a subscribed resource, per second: Redis",
    "opencode_call": "a read: OpenCode",
    "opencode_task": "a task whose model answers at once: OpenCode",
    "replica_memory": "a replica without clients",
    "session_memory": "a session of the handshake versions",
    "subscriber_memory": "a subscription stream with its connection",
    "opencode_memory": "an OpenCode",
}
"""What each unit cost is of."""

UNITS: Mapping[str, float] = {"µs": 1e-6, "ms": 1e-3, "KB": 1e3, "MB": 1e6}
PLANS_BEGIN, PLANS_END = "| full first", "![The simulation"


def combine_costs(
    measured: Mapping[str, float], few: FanoutFigures, many: FanoutFigures, largest: FanoutFigures
) -> UnitCosts:
    """Combine the measured costs with those of simulations.

    `few` and `many` differ in the subscribers of each replica only. In the `largest` the smallest share of the replicas
    publishes and delivers each change, which is a part of a notification's cost.
    """
    assert few.replicas == many.replicas
    scan = max(0.0, (many.cpu_of_change - few.cpu_of_change) / (many.subscribers - few.subscribers) * many.replicas)
    return UnitCosts(
        **measured,
        change=max(0.0, largest.cpu_of_change - scan * largest.subscribers / largest.replicas),
        change_scan=scan,
        renewal=many.idle_cpu / many.watched,
        redis_change=max(0.0, many.redis_cpu_of_change),
        redis_renewal=many.redis_idle_cpu / many.watched,
    )


def draw_curves(figures: Sequence[FanoutFigures]) -> list[Curve]:
    """Return the curves of the simulation."""
    sizes = [one.subscribers for one in figures]
    return [
        Curve(
            "from a change to each subscriber, by subscribers",
            "ms",
            sizes,
            {f"p{percent}": [1000 * one.latency(percent) for one in figures] for percent in (50, 99)},
        ),
        Curve(
            "CPU of all replicas for one change, by subscribers",
            "ms",
            sizes,
            {"replicas": [1000 * one.cpu_of_change * one.replicas for one in figures]},
        ),
        Curve(
            "CPU per second for leases alone, by subscribers",
            "ms/s",
            sizes,
            {
                "Redis": [1000 * one.redis_idle_cpu for one in figures],
                "all replicas": [1000 * one.idle_cpu for one in figures],
            },
        ),
    ]


def format_cost(name: str, value: float) -> str:
    """Return a line of the table of unit costs."""
    small, large, factor = ("KB", "MB", 1e-3) if name.endswith("_memory") else ("µs", "ms", 1e6)
    scaled = value * factor
    text = f"{format_number(scaled / 1000)} {large}" if scaled >= 1000 else f"{format_number(scaled)} {small}"
    return f"| {LABELS[name]} | {text} |"


def parse_costs(page: str) -> UnitCosts:
    """Parse the table of unit costs, whose numbers have three digits."""
    costs = {
        name: re.search(rf"^\| {re.escape(label)} \| (\S+) (\S+) \|$", page, re.MULTILINE)
        for name, label in LABELS.items()
    }
    return UnitCosts(
        **{name: chart.parse_number(match[1]) * UNITS[match[2]] for name, match in costs.items() if match is not None}
    )


def format_plan(one: Plan) -> str:
    """Return a line of the table of plans."""
    return (
        f"| {one.assistants:,} | {one.replicas:,} | {one.cells:,} | {one.opencode_servers:,} | {one.redis_cpu:.1%} | "
        f"{format_number(one.memory / 1e9)} GB | {one.limit} |"
    )


def format_plans(costs: UnitCosts, load: Workload) -> list[str]:
    """Return the tables of what is full first, and of the plans."""
    return [
        f"{PLANS_BEGIN}: what, with {USED_SHARE:.0%} of a core in use | at so many assistants |",
        "|---|---|",
        *(f"| {name} | {count:,.0f} |" for name, count in limits(costs, load).items()),
        "",
        "| assistants | replicas | cells | OpenCode servers | a Redis' CPU | memory in all | most of a replica |",
        "|---|---|---|---|---|---|---|",
        *(format_plan(plan(costs, load, assistants)) for assistants in ASSISTANTS),
        "",
    ]


def format_page(costs: UnitCosts, load: Workload, figures: Sequence[FanoutFigures]) -> str:
    """Return what stands between the markers; the plans follow from the unit costs as the page shows them."""
    lost = sum(one.lost for one in figures)
    unit_costs = [format_cost(name, value) for name, value in asdict(costs).items()]
    return "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
            f"Python {platform.python_version()}.",
            "",
            "| unit cost | |",
            "|---|---|",
            *unit_costs,
            "",
            *format_plans(parse_costs("\n".join(unit_costs)), load),
            f"{PLANS_END}: latency and CPU by number of subscribers](scaling.svg)",
            "",
            f"{PER_REPLICA:,} subscribers per replica, {CHANGES_PER_SECOND} changes per second, {lost:,} notifications "
            "lost:",
            "",
            "| simulation | subscribers | figures |",
            "|---|---|---|",
            *map(format_curve, draw_curves(figures)),
        ]
    )


def write_page(text: str, folder: Path) -> None:
    """Write the figures between the markers of scaling.md, and draw the chart."""
    path = folder / "scaling.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    redraw(folder)


def redraw(folder: Path) -> None:
    """Redraw the chart, and compute the plans again, from the figures in scaling.md."""
    path = folder / "scaling.md"
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(PLANS_BEGIN)
    plans = "\n".join(format_plans(parse_costs(page), Workload()))
    path.write_text(f"{before}{plans}\n{PLANS_END}{rest.partition(PLANS_END)[2]}", encoding="utf-8")
    (folder / "scaling.svg").write_text(draw(page), encoding="utf-8")


def draw(page: str) -> str:
    """Return the chart of the figures in a page."""
    run, results = chart.parse_tables(page)
    return chart.draw_curves(TITLE, run, results.curves)
