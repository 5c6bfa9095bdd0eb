"""`python -m benchmarks.scaling`: measure unit costs, simulate the fan-out, and write docs/scaling.md and its chart.

`--redraw` draws the chart, and computes the plans, again from the figures in the page.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from .capacity import Workload
from .fanout import FanoutFigures, simulate
from .scaling_report import PER_REPLICA, SUBSCRIBERS, combine_costs, format_page, redraw, write_page
from .setup import REPOSITORY, open_setup
from .unit_costs import measure_unit_costs

FEW_PER_REPLICA = 250


async def measure() -> str:
    """Measure everything; return what stands between the markers."""
    figures: list[FanoutFigures] = []
    fewest = SUBSCRIBERS[0] // PER_REPLICA
    for replicas, subscribers in (
        (fewest, fewest * FEW_PER_REPLICA),
        *((subscribers // PER_REPLICA, subscribers) for subscribers in SUBSCRIBERS),
    ):
        one = await simulate(replicas, subscribers)
        figures.append(one)
        print(
            f"{subscribers:,} subscribers of {replicas} replicas: p99 {1000 * one.latency(99):.0f} ms, {one.lost} lost",
            flush=True,
        )
    with tempfile.TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as folder:
        async with open_setup(Path(folder)) as setup:
            measured = await measure_unit_costs(setup)
    few, *curve = figures
    return format_page(combine_costs(asdict(measured), few, curve[0], curve[-1]), Workload(), curve)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--redraw", action="store_true", help="redraw chart and plans from docs/scaling.md")
    if parser.parse_args().redraw:
        redraw(REPOSITORY / "docs")
        return 0
    text = asyncio.run(measure())
    print(text)
    write_page(text, REPOSITORY / "docs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
