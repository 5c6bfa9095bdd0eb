"""Rows about tasks: one with a model that answers immediately, fifty concurrent ones, a reply of 5 MB."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2

from opencode_mcp.opencode.process import managed_server

from .calls import MEGABYTE, seconds
from .figures import MILLISECONDS, Row, Samples, interleave, pair_ratios
from .stage import BRIDGE, READ_SECONDS, Stage, resident_bytes
from .wire import Stdio, call, stdio

REPLY_BYTES = 5_000_000


async def send_prompt(direct: httpx2.AsyncClient, words: str) -> None:
    """Create a session and send a blocking prompt to it, without the bridge.

    Raises:
        RuntimeError: the reply failed.
    """
    session = (await direct.post("/session", json={})).raise_for_status().json()
    parts = [{"type": "text", "text": words}]
    reply = (await direct.post(f"/session/{session['id']}/message", json={"parts": parts})).raise_for_status().json()
    if reply["info"].get("error"):
        raise RuntimeError(str(reply["info"]["error"]))


async def run_task(bridge: Stdio, words: str) -> None:
    """Run a task, and wait for its report.

    Raises:
        RuntimeError: it is not completed.
    """
    answer = await call(bridge, "run_task", prompt=words, timeout_seconds=READ_SECONDS)
    state: Any = json.loads(answer)["result"]["structuredContent"]["state"]
    if state != "completed":
        raise RuntimeError(f"the task is {state}")


async def rows(stage: Stage, scale: float) -> list[Row]:
    """Measure the rows about tasks."""
    at_once = max(10, round(50 * scale))
    async with stage.direct() as direct, stdio(BRIDGE, stage.attached, str(stage.project)) as bridge:
        await send_prompt(direct, "script:text once")
        one = await interleave(
            max(5, round(25 * scale)),
            {
                "direct": lambda: seconds(lambda: send_prompt(direct, "script:text hello")),
                "bridge": lambda: seconds(lambda: run_task(bridge, "script:text hello")),
            },
        )
        many = await interleave(
            max(1, round(2 * scale)),
            {
                "direct": lambda: together(at_once, lambda: send_prompt(direct, "script:text hello")),
                "bridge": lambda: together(at_once, lambda: run_task(bridge, "script:text hello")),
            },
        )
        large = await reply(direct, bridge, scale)
    return [
        Row(
            "`run_task` with a model that answers immediately",
            {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in one.items()},
            pair_ratios(one["bridge"], one["direct"]),
            "bridge / create and blocking prompt",
            1.15,
        ),
        Row(
            f"{at_once} concurrent tasks through one bridge",
            {name: Samples(values, "s") for name, values in many.items()},
            pair_ratios(many["bridge"], many["direct"]),
            "bridge / the same prompts sent directly",
            1.10,
        ),
        large,
        await answer(stage, scale),
    ]


async def together(many: int, one: Any) -> float:
    """Return the seconds that concurrent calls take."""
    begin = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(many):
            tasks.create_task(one())
    return perf_counter() - begin


async def reply(direct: httpx2.AsyncClient, bridge: Stdio, scale: float) -> Row:
    """Measure a reply of 5 MB."""
    words = f"script:huge {REPLY_BYTES}"
    before = resident_bytes(bridge.process.pid)
    taken = await interleave(
        max(2, round(5 * scale)),
        {
            "direct": lambda: seconds(lambda: send_prompt(direct, words)),
            "bridge": lambda: seconds(lambda: run_task(bridge, words)),
        },
    )
    grown = (resident_bytes(bridge.process.pid) - before) / MEGABYTE
    return Row(
        "a task with a reply of 5 MB",
        {name: Samples(values, "s") for name, values in taken.items()},
        pair_ratios(taken["bridge"], taken["direct"]),
        "bridge / create and blocking prompt",
        1.5,
        note=f"The bridge's memory grew by {grown:.0f} MB over {len(taken['bridge'])} of them.",
    )


async def answer(stage: Stage, scale: float) -> Row:
    """Measure a response of 6.4 MB: all providers of an OpenCode whose configuration does not restrict them."""
    config: dict[str, Any] = json.loads(stage.environ["OPENCODE_CONFIG_CONTENT"])
    del config["enabled_providers"]
    home = Path(stage.folder, "everything")
    environ = {**stage.environ, "HOME": str(home), "OPENCODE_CONFIG_CONTENT": json.dumps(config)}
    async with managed_server(stage.program.command, str(stage.project), environ) as server:
        other = Stage(stage.folder, stage.project, stage.program, environ, await server.endpoint())
        async with other.direct() as direct, stdio(BRIDGE, other.attached, str(stage.project)) as bridge:
            size = len((await direct.get("/provider")).content)
            await call(bridge, "provider_list")
            before = resident_bytes(bridge.process.pid)

            async def asked() -> None:
                (await direct.get("/provider")).raise_for_status().json()

            taken = await interleave(
                max(3, round(15 * scale)),
                {
                    "direct": lambda: seconds(asked),
                    "bridge": lambda: seconds(lambda: call(bridge, "provider_list")),
                },
            )
            grown = (resident_bytes(bridge.process.pid) - before) / MEGABYTE
    return Row(
        f"an answer of {size / MEGABYTE:.1f} MB (`provider_list`)",
        {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in taken.items()},
        pair_ratios(taken["bridge"], taken["direct"]),
        "bridge / direct, parsed",
        1.5,
        note=f"The bridge's memory grew by {grown:.0f} MB over {len(taken['bridge'])} more of them.",
    )
