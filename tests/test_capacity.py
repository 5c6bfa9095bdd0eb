"""The arithmetic of docs/scaling.md: from unit costs to replicas."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf

import pytest

from benchmarks.capacity import (
    MAX_STREAMS,
    USED_SHARE,
    UnitCosts,
    Workload,
    limits,
    plan,
    replica_loads,
    replicas_of_cell,
)

FREE = UnitCosts(**dict.fromkeys(UnitCosts.__dataclass_fields__, 0.0))
"""Nothing costs anything."""

LOAD = Workload(calls=1.0, tasks=0.01, busy_share=0.5, polls=1.0, changes=2.0, events=10.0)


def test_replicas_follow_from_the_cpu_of_their_own_assistants() -> None:
    """A call a second of 7 ms, or a poll every other second of 14 ms: 100 assistants fill what a core may do."""
    for costs in (
        replace(FREE, call=0.007),
        replace(FREE, poll=0.014),
        replace(FREE, task=0.7),
        replace(FREE, notification=0.007),
        replace(FREE, renewal=0.007),
    ):
        assert replicas_of_cell(costs, LOAD, 100) is not None
        assert [plan(costs, LOAD, count).replicas for count in (1, 99, 101, 1000)] == [1, 1, 2, 10]


def test_events_of_others_leave_less_of_each_replica() -> None:
    """Events of 100 assistants take half of what a core may do, and their calls nearly all of it."""
    costs = replace(FREE, call=0.006, event=USED_SHARE / 2 / (100 * 0.5 * 10))

    assert replicas_of_cell(costs, LOAD, 100) == (2, "events of the cell's OpenCode")
    assert replicas_of_cell(costs, LOAD, 200) is None


CELLS = replace(FREE, call=0.007, event=USED_SHARE / 2 / (100 * 0.5 * 10))
"""A replica is full with 66 assistants in a cell of 66, and with 50 in one of nearly 100; no cell can have 200."""


@pytest.mark.parametrize(
    ("assistants", "replicas", "cells"),
    [(66, 1, 1), (67, 2, 1), (99, 2, 1), (101, 2, 2), (132, 2, 2), (200, 4, 4), (300, 5, 5), (660, 10, 10)],
)
def test_cells_have_the_size_that_needs_the_fewest_replicas(assistants: int, replicas: int, cells: int) -> None:
    one = plan(CELLS, LOAD, assistants)

    assert (one.replicas, one.cells) == (replicas, cells)


@pytest.mark.parametrize("assistants", [1, 50, 67, 100, 150, 1000])
def test_a_thousand_times_the_assistants_need_at_most_a_thousand_times_the_replicas(assistants: int) -> None:
    whole, part = plan(CELLS, LOAD, 1000 * assistants), plan(CELLS, LOAD, assistants)

    assert 1000 * assistants / 66 <= whole.replicas <= 1000 * part.replicas


def test_no_other_cells_need_fewer_replicas() -> None:
    """The plan is compared with every number of cells."""
    for assistants in range(1, 400, 7):
        cells = {count: replicas_of_cell(CELLS, LOAD, ceil(assistants / count)) for count in range(1, assistants + 1)}
        counts = [count * cell[0] for count, cell in cells.items() if cell is not None]
        assert plan(CELLS, LOAD, assistants).replicas == min(counts), assistants


def test_each_cell_has_opencode_servers_of_its_own() -> None:
    """Four cells of 50 assistants, 40 of which fill an OpenCode: two for each, although five could hold all."""
    one = plan(replace(CELLS, opencode_call=USED_SHARE / 40), LOAD, 200)

    assert (one.cells, one.opencode_servers) == (4, 8)


def test_the_scan_of_subscribers_counts_for_each_change_of_the_cell() -> None:
    costs = replace(FREE, change=0.001, change_scan=0.00001)

    loads = replica_loads(costs, LOAD, 100, 20)

    assert loads["changes from Redis"] == pytest.approx(100 * 0.5 * 2 * (0.001 + 20 * 0.00001))
    assert sum(loads.values()) == loads["changes from Redis"]


def test_streams_limit_the_assistants_of_a_replica_that_has_nothing_to_do() -> None:
    one = plan(FREE, LOAD, 20 * MAX_STREAMS)

    assert (one.replicas, one.limit) == (10, "subscription streams per replica")


def test_memory_and_opencode_servers_are_added_up() -> None:
    costs = replace(
        FREE,
        call=0.0007,
        opencode_call=0.007,
        replica_memory=100.0,
        session_memory=10.0,
        subscriber_memory=5.0,
        opencode_memory=1000.0,
    )

    one = plan(costs, LOAD, 1000)

    assert (one.replicas, one.cells, one.opencode_servers) == (1, 1, 10)
    assert one.memory == pytest.approx(100 + 1000 * (10 / 2 + 5) + 10 * 1000)


def test_a_workload_that_fits_no_replica_is_an_error() -> None:
    with pytest.raises(ValueError, match="small enough"):
        plan(replace(FREE, event=1.0), LOAD, 1000)


def test_limits_name_what_is_full_first() -> None:
    costs = replace(
        FREE,
        call=0.007,
        opencode_call=0.07,
        event=1e-4,
        change=1e-4,
        redis_renewal=1e-6,
    )

    counts = limits(costs, LOAD)

    assert [*counts.values()] == sorted(counts.values())
    assert next(iter(counts.items())) == ("one OpenCode: CPU", pytest.approx(10))
    assert counts["one replica: 1,024 subscription streams"] == 2048
    assert counts["one cell: each replica gets every change"] == pytest.approx(USED_SHARE / (0.5 * 2 * 1e-4))
    assert counts["one cell: each replica reads every event"] == pytest.approx(USED_SHARE / (0.5 * 10 * 1e-4))


def test_what_costs_nothing_is_never_full() -> None:
    counts = limits(FREE, LOAD)

    assert [*counts.values()][-1] == inf
    assert next(iter(counts)) == "one replica: 1,024 subscription streams"
