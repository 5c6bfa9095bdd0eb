"""Where a bridge's time goes: the time of its own of every function, summed up by the package that has it.

python -m benchmarks.profiled FILE ARGUMENT…: the bridge under the profiler, which writes FILE at the end.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from opencode_mcp.cli import main

from .calls import HEALTH, rate
from .stage import Stage
from .tasks import ran
from .wire import call, stdio

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


def shares(path: Path) -> dict[str, float]:
    """Return each package's share of the time that was not idle."""
    found = dict.fromkeys([*PACKAGES, "the rest of Python"], 0.0)
    for name, function in pstats.Stats(str(path)).get_stats_profile().func_profiles.items():
        where, own = f"{function.file_name} {name}", function.tottime
        if IDLE not in where:
            package = next((name for name, parts in PACKAGES.items() if any(part in where for part in parts)), None)
            found[package or "the rest of Python"] += own
    total = sum(found.values())
    return {name: own / total for name, own in found.items()}


async def profiles(stage: Stage) -> dict[str, Mapping[str, float]]:
    """Profile calls that do next to nothing, and tasks."""
    file = stage.folder / "profile"
    command = (sys.executable, "-m", "benchmarks.profiled", str(file))
    async with stdio(command, stage.attached, str(stage.project)) as bridge:
        await rate(lambda: call(bridge, HEALTH), 2000, 16)
    of_calls = shares(file)
    async with stdio(command, stage.attached, str(stage.project)) as bridge:
        await rate(lambda: ran(bridge, "script:text hello"), 20, 1)
    return {"`global_health`, 16 concurrent calls": of_calls, "`run_task`, sequential": shares(file)}


if __name__ == "__main__":
    for module in ("server.calls", "server.transports", "client.library"):  # so that imports are no part of it
        import_module(f"opencode_mcp.{module}")
    profiler = cProfile.Profile()
    profiler.runcall(main, sys.argv[2:])
    profiler.dump_stats(sys.argv[1])
