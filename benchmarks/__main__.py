"""`python -m benchmarks`: run all benchmarks, and write docs/performance.md and its chart."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from . import calls, events, growth, profiled, start, tasks
from .figures import Results, Row
from .report import redraw, write
from .stage import REPOSITORY, Stage, stage

ROWS: dict[str, Callable[[Stage, float], Awaitable[list[Row]]]] = {
    "start": start.rows,
    "calls": calls.rows,
    "tasks": tasks.rows,
    "events": events.rows,
}
SHORT = 0.1
"""The scale of a short run."""


async def measured(names: list[str], scale: float, whole: bool) -> Results:
    """Measure groups of rows; with `whole` the curves and profiles as well."""
    results = Results()
    with tempfile.TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as folder:
        async with stage(Path(folder)) as here:
            for name in names:
                for row in await ROWS[name](here, scale):
                    results.rows.append(row)
                    print(f"{'' if row.met else '! '}{row.what}: {row.of} = {row.verdict}", flush=True)
                    for subject, samples in row.subjects.items():
                        print(f"    {subject}: {samples}", flush=True)
            if whole:
                results.profiles.update(await profiled.profiles(here))
                results.curves.extend(await growth.curves(here))
    return results


def main() -> int:
    """Run; return 1 when a short run misses a target by more than its margin."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="GROUP", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--check", action="store_true", help="a short run with wide margins, which writes nothing")
    parser.add_argument("--redraw", action="store_true", help="redraw the chart from docs/performance.md")
    options = parser.parse_args()
    if options.redraw:
        redraw(REPOSITORY / "docs")
        return 0
    if unknown := {*options.rows} - {*ROWS}:
        parser.error(f"unknown: {', '.join(unknown)}")
    whole = not options.check and not options.rows
    results = asyncio.run(measured(options.rows or list(ROWS), SHORT if options.check else 1.0, whole))
    if whole:
        write(results, REPOSITORY / "docs")
    failed = [row for row in results.rows if not row.tolerable]
    for row in failed:
        print(f"FAILED: {row.what}: {row.verdict}", file=sys.stderr)
    return 1 if options.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())
