"""`python -m benchmarks`: run all benchmarks, and write docs/performance.md and its chart."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from . import calls, clients, events, growth, idle, polling, profile_bridge, sharing, start, tasks
from .report import redraw_chart, write_report
from .results import Curve, ResultRow, Results
from .setup import REPOSITORY, BenchmarkSetup, open_setup

ROWS: dict[str, Callable[[BenchmarkSetup, float], Awaitable[Sequence[ResultRow | Curve]]]] = {
    "start": start.measure_rows,
    "calls": calls.measure_rows,
    "clients": clients.measure_rows,
    "idle": idle.measure_rows,
    "tasks": tasks.measure_rows,
    "polling": polling.measure_rows,
    "events": events.measure_rows,
    "growth": growth.measure_rows,
    "sharing": sharing.measure_rows,
}
SHORT_RUN_SCALE = 0.05
"""The scale of a short run."""


async def measure_groups(names: list[str], scale: float, all_groups: bool) -> Results:
    """Measure groups of rows; with `all_groups` the profiles as well."""
    results = Results()
    with tempfile.TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as folder:
        async with open_setup(Path(folder)) as setup:
            for name in names:
                for result in await ROWS[name](setup, scale):
                    results.add(result)
                    if isinstance(result, ResultRow):
                        print_row(result, is_check=scale < 1)
            if all_groups:
                results.profiles.update(await profile_bridge.measure_profiles(setup))
    return results


def print_row(row: ResultRow, is_check: bool) -> None:
    """Print a row, and in a short run what is checked of it."""
    print(f"{'' if row.meets_target else '! '}{row.title}: {row.ratio_label} = {row.summary}")
    if is_check:
        print(f"    {row.target.check_limit}")
    for subject, samples in row.subjects.items():
        print(f"    {subject}: {samples}")
    if row.note:
        print(f"    {row.note}")
    sys.stdout.flush()


def main() -> int:
    """Run; return 1 when a short run misses a target by more than its margin."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="GROUP", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--check", action="store_true", help="a short run with margins, which writes nothing")
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
    failed = [row for row in results.rows if not row.passes_check]
    for row in failed:
        print(f"FAILED: {row.title}: {row.summary}", file=sys.stderr)
    return 1 if options.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())
