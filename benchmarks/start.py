"""Rows about the start: until `initialize` is answered, and until the first operation is answered."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import perf_counter

import httpx2

from .connections import call, open_stdio
from .results import ResultRow, Samples, interleave, pair_ratios
from .setup import BRIDGE, FLOOR, FROM_OPENAPI, READY_SECONDS, BenchmarkSetup

LISTENING = re.compile(rb"listening on (http://[\d.:]+)")


async def time_initialize(command: Sequence[str], environ: Mapping[str, str], cwd: str) -> float:
    """Return the seconds from the start of a server to its response to `initialize`."""
    start = perf_counter()
    async with open_stdio(command, environ, cwd):
        return perf_counter() - start


async def time_first_result(setup: BenchmarkSetup) -> float:
    """Return the seconds from the start of a bridge to the first response of the OpenCode that it starts."""
    start = perf_counter()
    async with open_stdio(BRIDGE, setup.environ, str(setup.project)) as connection:
        await call(connection, "global_health")
        return perf_counter() - start


async def time_opencode_serve(setup: BenchmarkSetup) -> float:
    """Return the seconds from the start of `opencode serve` to its first response."""
    start = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *setup.program.command,
        "serve",
        "--port",
        "0",
        cwd=setup.project,
        env=dict(setup.environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            async for line in process.stdout:
                if match := LISTENING.search(line):
                    async with httpx2.AsyncClient(trust_env=False) as http:
                        (await http.get(f"{match[1].decode()}/global/health")).raise_for_status()
                    return perf_counter() - start
        raise RuntimeError("opencode serve ended before it listened")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def measure_rows(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the rows about the start."""
    cwd = str(setup.project)
    commands = {"floor": FLOOR, "bridge": BRIDGE, **({"from_openapi": FROM_OPENAPI} if scale >= 1 else {})}
    started = await interleave(
        max(5, round(9 * scale)),
        {
            name: lambda command=command: time_initialize(command, setup.attached_environ, cwd)
            for name, command in commands.items()
        },
    )
    useful = await interleave(
        max(2, round(4 * scale)),
        {"opencode serve": lambda: time_opencode_serve(setup), "bridge": lambda: time_first_result(setup)},
    )
    return [
        ResultRow(
            "start: until `initialize` is answered",
            {name: Samples(values, "s") for name, values in started.items()},
            pair_ratios(started["bridge"], started["floor"]),
            "bridge / floor",
            1.10,
        ),
        ResultRow(
            "first result: until the first operation is answered, with a managed OpenCode",
            {name: Samples(values, "s") for name, values in useful.items()},
            pair_ratios(useful["bridge"], useful["opencode serve"]),
            "bridge / opencode serve",
            1.05,
        ),
    ]
