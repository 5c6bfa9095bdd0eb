"""Results -> docs/performance.md (between its markers) and the chart beside it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from opencode_mcp.openapi import SNAPSHOT_VERSION

from . import chart
from .results import Curve, ResultRow, Results, format_number

BEGIN, END = "<!-- figures: written by python -m benchmarks -->", "<!-- end figures -->"


def write_report(results: Results, folder: Path) -> None:
    """Write the results between the markers of performance.md, and draw the chart."""
    path = folder / "performance.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{format_tables(results)}\n{END}{after}", encoding="utf-8")
    redraw_chart(folder)


def redraw_chart(folder: Path) -> None:
    """Redraw the chart from the figures in performance.md."""
    figures = (folder / "performance.md").read_text(encoding="utf-8")
    (folder / "performance.svg").write_text(chart.draw_chart(*chart.parse_tables(figures)), encoding="utf-8")


def format_tables(results: Results) -> str:
    """Return the tables."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = ", ".join(f"{name} {version(name)}" for name in ("mcp", "httpx2", "fastmcp"))
    machine = f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.machine()}"
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, "
        f"OpenCode {SNAPSHOT_VERSION}, {versions}.",
        "",
        "| result | median (quartiles) | ratio | met |",
        "|---|---|---|---|",
        *map(format_row, results.rows),
        "",
        "![The ratios beside their targets, and how figures grow](performance.svg)",
        "",
        "Shares of the bridge's CPU time, under a profiler (which overstates small functions):",
        "",
        f"| | {' | '.join(results.profiles)} |",
        f"|---|{'---|' * len(results.profiles)}",
        *(
            f"| {package} | {' | '.join(f'{shares[package]:.0%}' for shares in results.profiles.values())} |"
            for package in next(iter(results.profiles.values()), ())
        ),
        "",
        "| growth | sizes | figures |",
        "|---|---|---|",
        *map(format_curve, results.curves),
        "",
    ]
    return "\n".join(lines)


def format_row(row: ResultRow) -> str:
    """Return a line of the table."""
    measured = "<br>".join(f"{name}: {samples}" for name, samples in row.subjects.items())
    note = f"<br>{row.note}" if row.note else ""
    return (
        f"| {row.title}{note} | {measured} | {row.ratio_label}: {row.summary} | "
        f"{'yes' if row.meets_target else '**no**'} |"
    )


def format_curve(curve: Curve) -> str:
    """Return a line of the table of curves."""
    sizes = " → ".join(f"{size:,}" for size in curve.sizes)
    figures = "<br>".join(
        f"{name}: {' → '.join(map(format_number, values))} {curve.unit}" for name, values in curve.subjects.items()
    )
    return f"| {curve.title} | {sizes} | {figures} |"
