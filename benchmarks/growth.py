"""Curves: results by number of sessions, messages and subscribers."""

from __future__ import annotations

from statistics import median
from typing import Any

import httpx2

from .calls import seconds
from .events import delays
from .figures import MILLISECONDS, Curve, interleave, percentile
from .stage import BRIDGE, Stage
from .wire import call, stdio

SIZES = (1, 3, 10)
SESSIONS, MESSAGES, SUBSCRIBERS = 50, 10, 20
"""The smallest size of each curve."""

ROUNDS, ROUNDS_OF_SUBSCRIBERS = 15, 5


async def curves(stage: Stage) -> list[Curve]:
    """Measure the curves."""
    async with stage.direct() as direct:
        return [await of_sessions(stage, direct), await of_messages(stage, direct), await of_subscribers(stage)]


async def of_sessions(stage: Stage, direct: httpx2.AsyncClient) -> Curve:
    """Measure `session_list`."""
    sizes = [SESSIONS * size for size in SIZES]
    figures: dict[str, list[float]] = {"direct": [], "bridge": []}
    created = len((await direct.get("/session", params={"limit": 10_000})).json())
    async with stdio(BRIDGE, stage.attached, str(stage.project)) as bridge:
        for size in sizes:
            for _ in range(size - created):
                await direct.post("/session", json={})
            created = max(created, size)
            taken = await interleave(
                ROUNDS,
                {
                    "direct": lambda size=size: seconds(lambda: direct.get("/session", params={"limit": size})),
                    "bridge": lambda size=size: seconds(lambda: call(bridge, "session_list", limit=size)),
                },
            )
            for name, values in taken.items():
                figures[name].append(MILLISECONDS * median(values))
    return Curve("`session_list`", "ms", sizes, figures)


async def of_messages(stage: Stage, direct: httpx2.AsyncClient) -> Curve:
    """Measure `report_task` in a session with many messages."""
    sizes = [MESSAGES * size for size in SIZES]
    figures: dict[str, list[float]] = {"direct": [], "bridge": []}
    session: dict[str, Any] = (await direct.post("/session", json={})).json()
    path, created = f"/session/{session['id']}/message", 0
    async with stdio(BRIDGE, stage.attached, str(stage.project)) as bridge:
        for size in sizes:
            for _ in range(size - created):
                parts = [{"type": "text", "text": "script:text hello"}]
                (await direct.post(path, json={"parts": parts})).raise_for_status()
            created = size
            taken = await interleave(
                ROUNDS,
                {
                    "direct": lambda: seconds(lambda: direct.get(path, params={"limit": 1})),
                    "bridge": lambda: seconds(lambda: call(bridge, "report_task", session_id=session["id"])),
                },
            )
            for name, values in taken.items():
                figures[name].append(MILLISECONDS * median(values))
    return Curve("`report_task` by turns in the session (direct: newest message)", "ms", sizes, figures)


async def of_subscribers(stage: Stage) -> Curve:
    """Measure the latency of notifications."""
    sizes = [SUBSCRIBERS * size for size in SIZES]
    found = [MILLISECONDS * percentile(await delays(stage, size, ROUNDS_OF_SUBSCRIBERS), 99) for size in sizes]
    return Curve("notification latency by subscribers of 20 sessions, p99", "ms", sizes, {"bridge": found})
