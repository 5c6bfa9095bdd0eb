"""Rows about tasks: one with a model that answers immediately, fifty concurrent ones, a reply of 5 MB."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2

from opencode_mcp.opencode.process.managed import managed_server

from .calls import MEGABYTE, time_call
from .connections import StdioConnection, call, open_stdio
from .processes import resident_bytes
from .results import MILLISECONDS, ResultRow, Samples, interleave, pair_ratios
from .setup import BRIDGE, READ_SECONDS, BenchmarkSetup
from .targets import TARGETS

REPLY_BYTES = 5_000_000


async def send_prompt(direct: httpx2.AsyncClient, prompt: str) -> None:
    """Create a session and send a blocking prompt to it, without the bridge.

    Raises:
        RuntimeError: the reply failed.
    """
    session = (await direct.post("/session", json={})).raise_for_status().json()
    parts = [{"type": "text", "text": prompt}]
    reply = (await direct.post(f"/session/{session['id']}/message", json={"parts": parts})).raise_for_status().json()
    if reply["info"].get("error"):
        raise RuntimeError(str(reply["info"]["error"]))


async def run_task(bridge: StdioConnection, prompt: str) -> None:
    """Run a task, and wait for its report.

    Raises:
        RuntimeError: it is not completed.
    """
    answer = await call(bridge, "run_task", prompt=prompt, timeout_seconds=READ_SECONDS)
    state: Any = json.loads(answer)["result"]["structuredContent"]["state"]
    if state != "completed":
        raise RuntimeError(f"the task is {state}")


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the rows about tasks."""
    concurrent = max(10, round(50 * scale))
    async with (
        setup.open_direct_client() as direct,
        open_stdio(BRIDGE, setup.attached_environ, str(setup.project)) as bridge,
    ):
        await send_prompt(direct, "script:text once")
        single = await interleave(
            max(5, round(25 * scale)),
            {
                "direct": lambda: time_call(lambda: send_prompt(direct, "script:text hello")),
                "bridge": lambda: time_call(lambda: run_task(bridge, "script:text hello")),
            },
        )
        concurrent_samples = await interleave(
            max(1, round(2 * scale)),
            {
                "direct": lambda: time_concurrently(concurrent, lambda: send_prompt(direct, "script:text hello")),
                "bridge": lambda: time_concurrently(concurrent, lambda: run_task(bridge, "script:text hello")),
            },
        )
        large = await measure_large_reply(direct, bridge, scale)
    return [
        ResultRow(
            "`run_task` with a model that answers immediately",
            {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in single.items()},
            pair_ratios(single["bridge"], single["direct"]),
            "bridge / create and blocking prompt",
            TARGETS["task"],
        ),
        ResultRow(
            f"{concurrent} concurrent tasks through one bridge",
            {name: Samples(values, "s") for name, values in concurrent_samples.items()},
            pair_ratios(concurrent_samples["bridge"], concurrent_samples["direct"]),
            "bridge / the same prompts sent directly",
            TARGETS["tasks at once"],
        ),
        large,
        await measure_large_answer(setup, scale),
    ]


async def time_concurrently(count: int, call: Any) -> float:
    """Return the seconds that concurrent calls take."""
    start = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(call())
    return perf_counter() - start


async def measure_large_reply(direct: httpx2.AsyncClient, bridge: StdioConnection, scale: float) -> ResultRow:
    """Measure a reply of 5 MB."""
    prompt = f"script:huge {REPLY_BYTES}"
    before = resident_bytes(bridge.process.pid)
    samples = await interleave(
        max(2, round(5 * scale)),
        {
            "direct": lambda: time_call(lambda: send_prompt(direct, prompt)),
            "bridge": lambda: time_call(lambda: run_task(bridge, prompt)),
        },
    )
    grown = (resident_bytes(bridge.process.pid) - before) / MEGABYTE
    return ResultRow(
        "a task with a reply of 5 MB",
        {name: Samples(values, "s") for name, values in samples.items()},
        pair_ratios(samples["bridge"], samples["direct"]),
        "bridge / create and blocking prompt",
        TARGETS["large reply"],
        note=f"The bridge's memory grew by {grown:.0f} MB over {len(samples['bridge'])} of them.",
    )


async def measure_large_answer(setup: BenchmarkSetup, scale: float) -> ResultRow:
    """Measure a response of 6.4 MB: all providers of an OpenCode whose configuration does not restrict them."""
    config: dict[str, Any] = json.loads(setup.environ["OPENCODE_CONFIG_CONTENT"])
    del config["enabled_providers"]
    home = Path(setup.folder, "everything")
    environ = {**setup.environ, "HOME": str(home), "OPENCODE_CONFIG_CONTENT": json.dumps(config)}
    async with managed_server(setup.program.command, str(setup.project), environ) as server:
        other_setup = BenchmarkSetup(setup.folder, setup.project, setup.program, environ, await server.endpoint())
        async with (
            other_setup.open_direct_client() as direct,
            open_stdio(BRIDGE, other_setup.attached_environ, str(setup.project)) as bridge,
        ):
            size = len((await direct.get("/provider")).content)
            await call(bridge, "provider_list")
            before = resident_bytes(bridge.process.pid)

            async def request_directly() -> None:
                (await direct.get("/provider")).raise_for_status().json()

            samples = await interleave(
                max(3, round(15 * scale)),
                {
                    "direct": lambda: time_call(request_directly),
                    "bridge": lambda: time_call(lambda: call(bridge, "provider_list")),
                },
            )
            grown = (resident_bytes(bridge.process.pid) - before) / MEGABYTE
    return ResultRow(
        f"an answer of {size / MEGABYTE:.1f} MB (`provider_list`)",
        {name: Samples([MILLISECONDS * value for value in values], "ms") for name, values in samples.items()},
        pair_ratios(samples["bridge"], samples["direct"]),
        "bridge / direct, parsed",
        TARGETS["large answer"],
        note=f"The bridge's memory grew by {grown:.0f} MB over {len(samples['bridge'])} more of them.",
    )
