"""`python -m benchmarks`: run all benchmarks, and write docs/performance.md and its chart."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from . import calls, curves, events, profile_bridge, sharing, start, tasks
from .report import redraw_chart, write_report
from .results import ResultRow, Results
from .setup import REPOSITORY, BenchmarkSetup, open_setup

ROWS: dict[str, Callable[[BenchmarkSetup, float], Awaitable[list[ResultRow]]]] = {
    "start": start.measure_rows,
    "calls": calls.measure_rows,
    "tasks": tasks.measure_rows,
    "events": events.measure_rows,
    "sharing": sharing.measure_rows,
}
SHORT_RUN_SCALE = 0.1
"""The scale of a short run."""


async def measure_groups(names: list[str], scale: float, all_groups: bool) -> Results:
    """Measure groups of rows; with `all_groups` the curves and profiles as well."""
    results = Results()
    with tempfile.TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as folder:
        async with open_setup(Path(folder)) as setup:
            for name in names:
                for row in await ROWS[name](setup, scale):
                    results.rows.append(row)
                    print(
                        f"{'' if row.meets_target else '! '}{row.title}: {row.ratio_label} = {row.summary}", flush=True
                    )
                    for subject, samples in row.subjects.items():
                        print(f"    {subject}: {samples}", flush=True)
            if all_groups:
                results.profiles.update(await profile_bridge.measure_profiles(setup))
                results.curves.extend(await curves.measure_curves(setup))
    return results


def main() -> int:
    """Run; return 1 when a short run misses a target by more than its margin."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="GROUP", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--check", action="store_true", help="a short run with wide margins, which writes nothing")
    parser.add_argument("--redraw", action="store_true", help="redraw the chart from docs/performance.md")
    options = parser.parse_args()
    if options.redraw:
        redraw_chart(REPOSITORY / "docs")
        return 0
    if unknown := {*options.rows} - {*ROWS}:
        parser.error(f"unknown: {', '.join(unknown)}")
    whole = not options.check and not options.rows
    results = asyncio.run(measure_groups(options.rows or list(ROWS), SHORT_RUN_SCALE if options.check else 1.0, whole))
    if whole:
        write_report(results, REPOSITORY / "docs")
    failed = [row for row in results.rows if not row.is_tolerable]
    for row in failed:
        print(f"FAILED: {row.title}: {row.summary}", file=sys.stderr)
    return 1 if options.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())
