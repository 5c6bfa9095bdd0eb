"""Profiles of the bridge: the time in functions, without their callees, summed per package.

python -m benchmarks.profile_bridge FILE ARGUMENT… runs the bridge under the profiler, and writes FILE at the end.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from opencode_mcp import library
from opencode_mcp.cli import main
from opencode_mcp.server import tool_handlers
from opencode_mcp.server.stdio import transport

from .calls import HEALTH_TOOL, measure_cost
from .connections import call, open_stdio
from .setup import BenchmarkSetup
from .tasks import run_task

LOADED = (library, tool_handlers, transport)
"""What a call imports: loaded before the profile begins."""

PACKAGES: Mapping[str, Sequence[str]] = {
    "this package": ("/opencode_mcp/",),
    "the SDK, mcp": ("/mcp/", "/mcp_types/"),
    "httpx2, httpcore2, h11": ("/httpx2/", "/httpcore2/", "/h11/"),
    "anyio, asyncio, select": (
        "/anyio/",
        "/asyncio/",
        "/selectors.py",
        "/contextlib.py",
        "'select.",
        "_asyncio",
        "Context'",
    ),
    "pydantic": ("/pydantic/", "pydantic_core"),
    "json": ("/json/", "_json"),
    "sockets": ("socket", "posix."),
}
IDLE = "method 'poll'"


def time_shares(path: Path) -> dict[str, float]:
    """Return each package's share of the time, idle time excluded."""
    seconds_by_package = dict.fromkeys([*PACKAGES, "the rest of Python"], 0.0)
    for name, function in pstats.Stats(str(path)).get_stats_profile().func_profiles.items():
        location, own_seconds = f"{function.file_name} {name}", function.tottime
        if IDLE not in location:
            package = next((name for name, parts in PACKAGES.items() if any(part in location for part in parts)), None)
            seconds_by_package[package or "the rest of Python"] += own_seconds
    total = sum(seconds_by_package.values())
    return {name: own_seconds / total for name, own_seconds in seconds_by_package.items()}


async def measure_profiles(setup: BenchmarkSetup) -> dict[str, Mapping[str, float]]:
    """Profile short calls, and tasks."""
    file = setup.folder / "profile"
    command = (sys.executable, "-m", "benchmarks.profile_bridge", str(file))
    async with open_stdio(command, setup.attached_environ, str(setup.project)) as bridge:
        await measure_cost(lambda: call(bridge, HEALTH_TOOL), 2000, 16, bridge.process.pid)
    call_shares = time_shares(file)
    async with open_stdio(command, setup.attached_environ, str(setup.project)) as bridge:
        await measure_cost(lambda: run_task(bridge, "script:text hello"), 20, 1, bridge.process.pid)
    return {"`global_health`, 16 concurrent calls": call_shares, "`run_task`, sequential": time_shares(file)}


if __name__ == "__main__":
    profiler = cProfile.Profile()
    profiler.runcall(main, sys.argv[2:])
    profiler.dump_stats(sys.argv[1])
