"""Curves, and the rows about their ends: results by number of sessions, turns and subscribers."""

from __future__ import annotations

from typing import Any

import httpx2

from .calls import time_call
from .connections import call, open_stdio
from .events import measure_delays
from .results import MILLISECONDS, Curve, ResultRow, Samples, interleave, pair_ratios, percentile
from .setup import BRIDGE, BenchmarkSetup
from .targets import TARGETS

SESSIONS = (50, 150, 500)
TURNS = (10, 100, 1000)
SUBSCRIBERS = (20, 60, 200)
ROUNDS, ROUNDS_OF_SUBSCRIBERS = 15, 5

Figures = dict[str, list[Samples]]
"""The milliseconds of each subject at each size."""


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow | Curve]:
    """Measure the curves, and the rows about their ends."""
    async with setup.open_direct_client() as direct:
        listed = await measure_session_list(setup, direct)
        reported = await measure_report(setup, direct)
        return [
            ResultRow(
                f"`session_list` of {SESSIONS[-1]} sessions",
                {name: values[-1] for name, values in listed.items()},
                pair_ratios(listed["bridge"][-1].values, listed["direct"][-1].values),
                "bridge / direct",
                TARGETS["session list"],
            ),
            ResultRow(
                f"`report_task` in a session of {TURNS[-1]:,} turns",
                {f"{name}, {turns:,} turns": reported[name][at] for name in reported for at, turns in enumerate(TURNS)},
                pair_ratios(reported["bridge"][-1].values, [reported["bridge"][0].median] * ROUNDS),
                f"bridge / the same with {TURNS[0]} turns",
                TARGETS["report growth"],
            ),
            as_curve("`session_list`", SESSIONS, listed),
            as_curve("`report_task` by turns in the session (direct: newest message)", TURNS, reported),
            await measure_notifications(setup),
        ]


def as_curve(title: str, sizes: tuple[int, ...], figures: Figures) -> Curve:
    """Return the curve of the medians."""
    return Curve(title, "ms", sizes, {name: [one.median for one in values] for name, values in figures.items()})


async def measure_session_list(setup: BenchmarkSetup, direct: httpx2.AsyncClient) -> Figures:
    """Measure `session_list`."""
    figures: Figures = {"direct": [], "bridge": []}
    created = len((await direct.get("/session", params={"limit": 10_000})).json())
    async with open_stdio(BRIDGE, setup.attached_environ, str(setup.project)) as bridge:
        for size in SESSIONS:
            for _ in range(size - created):
                await direct.post("/session", json={})
            created = max(created, size)
            samples = await interleave(
                ROUNDS,
                {
                    "direct": lambda size=size: time_call(lambda: direct.get("/session", params={"limit": size})),
                    "bridge": lambda size=size: time_call(lambda: call(bridge, "session_list", limit=size)),
                },
            )
            for name, values in samples.items():
                figures[name].append(Samples([MILLISECONDS * value for value in values], "ms"))
    return figures


async def measure_report(setup: BenchmarkSetup, direct: httpx2.AsyncClient) -> Figures:
    """Measure `report_task` in a session with many messages."""
    figures: Figures = {"direct": [], "bridge": []}
    session: dict[str, Any] = (await direct.post("/session", json={})).json()
    path, turns = f"/session/{session['id']}/message", 0
    async with open_stdio(BRIDGE, setup.attached_environ, str(setup.project)) as bridge:
        for size in TURNS:
            await add_turns(direct, path, size - turns)
            turns = size
            samples = await interleave(
                ROUNDS,
                {
                    "direct": lambda: time_call(lambda: direct.get(path, params={"limit": 1})),
                    "bridge": lambda: time_call(lambda: call(bridge, "report_task", session_id=session["id"])),
                },
            )
            for name, values in samples.items():
                figures[name].append(Samples([MILLISECONDS * value for value in values], "ms"))
    return figures


async def add_turns(direct: httpx2.AsyncClient, path: str, count: int) -> None:
    """Add turns to a session: pairs of messages without a reply, which cost no model, and one whole turn at the end."""
    parts = [{"type": "text", "text": "script:text hello"}]
    for _ in range(2 * (count - 1)):
        (await direct.post(path, json={"parts": parts, "noReply": True})).raise_for_status()
    (await direct.post(path, json={"parts": parts})).raise_for_status()


async def measure_notifications(setup: BenchmarkSetup) -> Curve:
    """Measure the latency of notifications."""
    latencies = [
        MILLISECONDS * percentile(await measure_delays(setup, size, ROUNDS_OF_SUBSCRIBERS), 99) for size in SUBSCRIBERS
    ]
    return Curve("notification latency by subscribers of 20 sessions, p99", "ms", SUBSCRIBERS, {"bridge": latencies})
