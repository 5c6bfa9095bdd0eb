"""How figures grow with what there is: sessions, messages, subscribers."""

from __future__ import annotations

from statistics import median
from typing import Any

import httpx2

from .calls import seconds
from .events import MILLISECONDS, delays
from .figures import Curve, in_turns, percentile
from .stage import BRIDGE, Stage
from .wire import call, stdio

SIZES = (1, 3, 10)
SESSIONS, MESSAGES, SUBSCRIBERS = 50, 10, 20
"""The smallest of each size."""


async def curves(stage: Stage, scale: float) -> list[Curve]:
    """Measure the same at growing sizes."""
    rounds = max(3, round(15 * scale))
    async with stage.direct() as direct:
        return [
            await of_sessions(stage, direct, rounds),
            await of_messages(stage, direct, rounds),
            await of_subscribers(stage, scale),
        ]


async def of_sessions(stage: Stage, direct: httpx2.AsyncClient, rounds: int) -> Curve:
    """Measure a list of sessions."""
    sizes = [SESSIONS * size for size in SIZES]
    figures: dict[str, list[float]] = {"direct": [], "bridge": []}
    made = len((await direct.get("/session", params={"limit": 10_000})).json())
    async with stdio(BRIDGE, stage.attached, str(stage.project)) as bridge:
        for size in sizes:
            for _ in range(size - made):
                await direct.post("/session", json={})
            made = max(made, size)
            taken = await in_turns(
                rounds,
                {
                    "direct": lambda size=size: seconds(lambda: direct.get("/session", params={"limit": size})),
                    "bridge": lambda size=size: seconds(lambda: call(bridge, "session_list", limit=size)),
                },
            )
            for name, values in taken.items():
                figures[name].append(MILLISECONDS * median(values))
    return Curve("`session_list`", "ms", sizes, figures)


async def of_messages(stage: Stage, direct: httpx2.AsyncClient, rounds: int) -> Curve:
    """Measure the report of a task in a session with many messages."""
    sizes = [MESSAGES * size for size in SIZES]
    figures: dict[str, list[float]] = {"direct": [], "bridge": []}
    session: dict[str, Any] = (await direct.post("/session", json={})).json()
    path, made = f"/session/{session['id']}/message", 0
    async with stdio(BRIDGE, stage.attached, str(stage.project)) as bridge:
        for size in sizes:
            for _ in range(size - made):
                parts = [{"type": "text", "text": "script:text hello"}]
                (await direct.post(path, json={"parts": parts})).raise_for_status()
            made = size
            taken = await in_turns(
                rounds,
                {
                    "direct": lambda: seconds(lambda: direct.get(path, params={"limit": 1})),
                    "bridge": lambda: seconds(lambda: call(bridge, "report_task", session_id=session["id"])),
                },
            )
            for name, values in taken.items():
                figures[name].append(MILLISECONDS * median(values))
    return Curve("`report_task` in a session of so many turns (direct: its newest message)", "ms", sizes, figures)


async def of_subscribers(stage: Stage, scale: float) -> Curve:
    """Measure how long a notification takes."""
    sizes = [SUBSCRIBERS * size for size in SIZES]
    found = [MILLISECONDS * percentile(await delays(stage, size, max(2, round(5 * scale))), 99) for size in sizes]
    return Curve("notification of so many subscribers of 20 sessions, p99", "ms", sizes, {"bridge": found})
