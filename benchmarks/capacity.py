"""Capacity on paper: from unit costs and a workload to replicas, and what limits them first.

A cell is a set of replicas with a Redis and OpenCode servers of their own: all of its replicas read every event of
those servers and get every change from Redis, so that its size is limited however many replicas it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf

from opencode_mcp.server.http.app import MAX_SESSIONS
from opencode_mcp.server.subscriptions.listen_streams import MAX_STREAMS

USED_SHARE = 0.7
"""How much of a core is used on average; the rest is for peaks."""


@dataclass(frozen=True)
class Workload:
    """What an assistant does on average, per second; `polls` and `changes` while it has a running task.

    `busy_share` is the share of the time in which it has one. `events` are those of OpenCode about that task.
    """

    calls: float = 1 / 60
    tasks: float = 6 / 3600
    busy_share: float = 0.2
    polls: float = 1.0
    changes: float = 2.0
    events: float = 20.0


@dataclass(frozen=True)
class UnitCosts:
    """Seconds of CPU and bytes of memory: of the bridge, of OpenCode, and of Redis.

    `change_scan` is what a replica spends on any change for each of its subscribers, `change` the part that does not
    depend on them. `renewal` is per subscribed resource and second. `replica_memory` is that without clients.
    """

    call: float
    poll: float
    notification: float
    task: float
    event: float
    change: float
    change_scan: float
    renewal: float
    redis_change: float
    redis_renewal: float
    opencode_call: float
    opencode_task: float
    replica_memory: float
    session_memory: float
    subscriber_memory: float
    opencode_memory: float


@dataclass(frozen=True)
class Plan:
    """How many of each there are for a number of assistants, and what limits the number of assistants per replica."""

    assistants: int
    cells: int
    replicas: int
    opencode_servers: int
    redis_cpu: float
    memory: float
    limit: str


def replica_loads(costs: UnitCosts, load: Workload, cell: float, local: float) -> dict[str, float]:
    """Return the seconds of CPU per second that a replica spends, by what for, with `local` of a cell's assistants."""
    return {
        "calls": local * load.calls * costs.call,
        "polls of running tasks": local * load.busy_share * load.polls * costs.poll,
        "tasks": local * load.tasks * costs.task,
        "notifications": local * load.busy_share * load.changes * costs.notification,
        "renewal of leases": local * costs.renewal,
        "events of the cell's OpenCode": cell * load.busy_share * load.events * costs.event,
        "changes from Redis": cell * load.busy_share * load.changes * (costs.change + local * costs.change_scan),
    }


def replicas_of_cell(costs: UnitCosts, load: Workload, assistants: int) -> tuple[int, str] | None:
    """Return how many replicas a cell needs, and what limits them; None if no number is enough.

    Half of the assistants use each protocol generation.
    """
    streams = ceil(assistants / 2 / min(MAX_STREAMS, MAX_SESSIONS))
    shared = sum(replica_loads(costs, load, assistants, 0).values())
    if shared >= USED_SHARE:
        return None
    local = sum(replica_loads(costs, load, assistants, 1).values()) - shared
    by_cpu = ceil(assistants * local / (USED_SHARE - shared))
    replicas = max(1, streams, by_cpu)
    if replicas > by_cpu and replicas == streams:
        return replicas, "subscription streams per replica"
    loads = replica_loads(costs, load, assistants, assistants / replicas)
    return replicas, max(loads, key=lambda name: loads[name])


def plan(costs: UnitCosts, load: Workload, assistants: int) -> Plan:
    """Return the plan with the fewest replicas, and of these the one with the fewest cells, which are of one size.

    Every size is tried, up to the one at which no number of replicas is enough.

    Raises:
        ValueError: not even a cell of one assistant fits a replica.
    """
    plans: list[tuple[int, int, int, str]] = []
    for size in range(1, assistants + 1):
        if (cell := replicas_of_cell(costs, load, size)) is None:
            break
        cells = ceil(assistants / size)
        plans.append((cells * cell[0], cells, size, cell[1]))
    if not plans:
        raise ValueError("no cell is small enough")
    replicas, cells, size, limit = min(plans)
    opencode_cpu = size * (load.calls * costs.opencode_call + load.tasks * costs.opencode_task)
    servers = cells * max(1, ceil(opencode_cpu / USED_SHARE))
    in_cell, changes = assistants / cells, load.busy_share * load.changes
    return Plan(
        assistants,
        cells,
        replicas,
        servers,
        in_cell * (changes * costs.redis_change * (replicas / cells) + costs.redis_renewal),
        replicas * costs.replica_memory
        + assistants * (costs.session_memory / 2 + costs.subscriber_memory)
        + servers * costs.opencode_memory,
        limit,
    )


def limits(costs: UnitCosts, load: Workload) -> Mapping[str, float]:
    """Return the number of assistants at which each part is full, the first to break first.

    Those of a replica, of one OpenCode, and of a cell whatever the number of replicas. Half of the assistants use each
    protocol generation.
    """
    costs_of_one = {
        "one OpenCode: CPU": load.calls * costs.opencode_call + load.tasks * costs.opencode_task,
        "one replica: CPU for its own assistants": sum(replica_loads(costs, load, 0, 1).values()),
        "one cell: each replica reads every event": load.busy_share * load.events * costs.event,
        "one cell: each replica gets every change": load.busy_share
        * load.changes
        * (costs.change + MAX_STREAMS * costs.change_scan),
        "one Redis: CPU of the leases": costs.redis_renewal,
    }
    full = {
        **{name: USED_SHARE / cost if cost else inf for name, cost in costs_of_one.items()},
        f"one replica: {MAX_STREAMS:,} subscription streams": 2.0 * MAX_STREAMS,
        f"one replica: {MAX_SESSIONS:,} sessions": 2.0 * MAX_SESSIONS,
    }
    return dict(sorted(full.items(), key=lambda one: one[1]))
