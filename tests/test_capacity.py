"""The arithmetic of docs/scaling.md: from unit costs to replicas."""

from __future__ import annotations

from dataclasses import replace
from math import inf

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


def test_assistants_are_split_into_cells_before_a_cell_is_full() -> None:
    """No number of replicas is enough for 200 assistants; two cells are."""
    costs = replace(FREE, call=0.007, event=USED_SHARE / 2 / (100 * 0.5 * 10))

    whole = plan(costs, LOAD, 200)

    assert whole.cells > 1
    assert whole.replicas < 2 * 200 / 100 * 2
    assert whole.opencode_servers >= whole.cells


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
