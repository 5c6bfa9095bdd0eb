"""Curves: results by number of sessions, messages and subscribers."""

from __future__ import annotations

from statistics import median
from typing import Any

import httpx2

from .calls import time_call
from .connections import call, open_stdio
from .events import measure_delays
from .results import MILLISECONDS, Curve, interleave, percentile
from .setup import BRIDGE, BenchmarkSetup

SIZES = (1, 3, 10)
SESSIONS, MESSAGES, SUBSCRIBERS = 50, 10, 20
"""The smallest size of each curve."""

ROUNDS, ROUNDS_OF_SUBSCRIBERS = 15, 5


async def measure_curves(setup: BenchmarkSetup) -> list[Curve]:
    """Measure the curves."""
    async with setup.open_direct_client() as direct:
        return [
            await measure_session_list(setup, direct),
            await measure_report(setup, direct),
            await measure_notifications(setup),
        ]


async def measure_session_list(setup: BenchmarkSetup, direct: httpx2.AsyncClient) -> Curve:
    """Measure `session_list`."""
    sizes = [SESSIONS * size for size in SIZES]
    figures: dict[str, list[float]] = {"direct": [], "bridge": []}
    created = len((await direct.get("/session", params={"limit": 10_000})).json())
    async with open_stdio(BRIDGE, setup.attached_environ, str(setup.project)) as bridge:
        for size in sizes:
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
                figures[name].append(MILLISECONDS * median(values))
    return Curve("`session_list`", "ms", sizes, figures)


async def measure_report(setup: BenchmarkSetup, direct: httpx2.AsyncClient) -> Curve:
    """Measure `report_task` in a session with many messages."""
    sizes = [MESSAGES * size for size in SIZES]
    figures: dict[str, list[float]] = {"direct": [], "bridge": []}
    session: dict[str, Any] = (await direct.post("/session", json={})).json()
    path, created = f"/session/{session['id']}/message", 0
    async with open_stdio(BRIDGE, setup.attached_environ, str(setup.project)) as bridge:
        for size in sizes:
            for _ in range(size - created):
                parts = [{"type": "text", "text": "script:text hello"}]
                (await direct.post(path, json={"parts": parts})).raise_for_status()
            created = size
            samples = await interleave(
                ROUNDS,
                {
                    "direct": lambda: time_call(lambda: direct.get(path, params={"limit": 1})),
                    "bridge": lambda: time_call(lambda: call(bridge, "report_task", session_id=session["id"])),
                },
            )
            for name, values in samples.items():
                figures[name].append(MILLISECONDS * median(values))
    return Curve("`report_task` by turns in the session (direct: newest message)", "ms", sizes, figures)


async def measure_notifications(setup: BenchmarkSetup) -> Curve:
    """Measure the latency of notifications."""
    sizes = [SUBSCRIBERS * size for size in SIZES]
    latencies = [
        MILLISECONDS * percentile(await measure_delays(setup, size, ROUNDS_OF_SUBSCRIBERS), 99) for size in sizes
    ]
    return Curve("notification latency by subscribers of 20 sessions, p99", "ms", sizes, {"bridge": latencies})
