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
from .processes import cpu_seconds
from .results import ResultRow, Samples, interleave, pair_ratios
from .setup import BRIDGE, FLOOR, FROM_OPENAPI, READY_SECONDS, BenchmarkSetup
from .targets import TARGETS

LISTENING = re.compile(rb"listening on (http://[\d.:]+)")


async def time_initialize(command: Sequence[str], environ: Mapping[str, str], cwd: str) -> tuple[float, float]:
    """Return the seconds from the start of a server to its response to `initialize`, and its CPU time until then."""
    start = perf_counter()
    async with open_stdio(command, environ, cwd) as connection:
        return perf_counter() - start, cpu_seconds(connection.process.pid)


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
    useful = await interleave(
        max(2, round(4 * scale)),
        {"opencode serve": lambda: time_opencode_serve(setup), "bridge": lambda: time_first_result(setup)},
    )
    return [
        *await measure_initialize(setup, scale),
        ResultRow(
            "first result: until the first operation is answered, with a managed OpenCode",
            {name: Samples(values, "s") for name, values in useful.items()},
            pair_ratios(useful["bridge"], useful["opencode serve"]),
            "bridge / opencode serve",
            TARGETS["first result"],
        ),
    ]


async def measure_initialize(setup: BenchmarkSetup, scale: float) -> list[ResultRow]:
    """Measure the time and the CPU until `initialize` is answered."""
    commands = {"floor": FLOOR, "bridge": BRIDGE, **({"from_openapi": FROM_OPENAPI} if scale >= 1 else {})}
    started = await interleave(
        max(3, round(9 * scale)),
        {
            name: lambda command=command: time_initialize(command, setup.attached_environ, str(setup.project))
            for name, command in commands.items()
        },
    )
    rows: list[ResultRow] = []
    for number, (title, target) in enumerate((("", "start"), ("CPU ", "start CPU"))):
        figures = {name: [values[number] for values in rounds] for name, rounds in started.items()}
        rows.append(
            ResultRow(
                f"start: {title}until `initialize` is answered",
                {name: Samples(values, "s") for name, values in figures.items()},
                pair_ratios(figures["bridge"], figures["floor"]),
                "bridge / floor",
                TARGETS[target],
            )
        )
    return rows
