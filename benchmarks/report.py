"""Results -> docs/performance.md (between its markers) and the chart beside it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from xml.sax.saxutils import escape

from opencode_mcp.openapi import SNAPSHOT_VERSION

from .figures import Curve, Results, Row, shown

BEGIN, END = "<!-- figures: written by python -m benchmarks -->", "<!-- end figures -->"
COLOURS = {"bridge": "#58c4a3", "direct": "#8a8f98", "floor": "#c4a358", "from_openapi": "#c4586a"}


def write(results: Results, folder: Path) -> None:
    """Replace the figures in the document, and draw the chart."""
    path = folder / "performance.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{markdown(results)}\n{END}{after}", encoding="utf-8")
    (folder / "performance.svg").write_text(svg(results), encoding="utf-8")


def markdown(results: Results) -> str:
    """Return the tables."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = ", ".join(f"{name} {version(name)}" for name in ("mcp", "httpx2", "fastmcp"))
    machine = f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.machine()}"
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, Python {platform.python_version()}, "
        f"OpenCode {SNAPSHOT_VERSION}, {versions}.",
        "",
        "| what | median (quartiles) | ratio | met |",
        "|---|---|---|---|",
        *map(table_row, results.rows),
        "",
        "![The ratios beside their targets, and how figures grow](performance.svg)",
        "",
        "Shares of the bridge's own time, under a profiler (which exaggerates small functions):",
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
        *map(curve_row, results.curves),
        "",
    ]
    return "\n".join(lines)


def table_row(row: Row) -> str:
    """Return a line of the table."""
    measured = "<br>".join(f"{name}: {samples}" for name, samples in row.subjects.items())
    note = f"<br>{row.note}" if row.note else ""
    return f"| {row.what}{note} | {measured} | {row.of}: {row.verdict} | {'yes' if row.met else '**no**'} |"


def curve_row(curve: Curve) -> str:
    """Return a line of the table of growth."""
    sizes = " → ".join(f"{size:,}" for size in curve.sizes)
    figures = "<br>".join(
        f"{name}: {' → '.join(map(shown, values))} {curve.unit}" for name, values in curve.subjects.items()
    )
    return f"| {curve.what} | {sizes} | {figures} |"


def svg(results: Results) -> str:
    """Return the chart: a bar for each row, as a share of its target, and a line for each curve."""
    bars = [bar(row, 40 + 26 * at) for at, row in enumerate(results.rows)]
    top = 40 + 26 * len(results.rows) + 40
    lines = [line(curve, 20 + 300 * at, top) for at, curve in enumerate(results.curves)]
    height = top + 210
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="980" height="{height}" viewBox="0 0 980 {height}" '
        'font-family="system-ui, sans-serif" font-size="12">\n'
        f'<rect width="980" height="{height}" fill="#fff"/>\n'
        '<text x="20" y="22" font-weight="bold">Figures as shares of their targets (shorter is better; the line is '
        "the target)</text>\n"
        + "\n".join(bars)
        + f'\n<path d="M700 30V{top - 40}" stroke="#333"/>\n'
        + "\n".join(lines)
        + "\n</svg>\n"
    )


def bar(row: Row, y: int) -> str:
    """Return a row's bar, 200 wide at its target."""
    share = row.target / row.ratio if row.at_least else row.ratio / row.target
    width = max(1.0, min(200 * share, 400.0))
    colour = COLOURS["bridge"] if row.met else COLOURS["from_openapi"]
    what = row.what.replace("`", "")
    return (
        f'<text x="490" y="{y + 13}" text-anchor="end">{escape(what if len(what) < 72 else what[:70] + "…")}</text>'
        f'<rect x="500" y="{y}" width="{width:.0f}" height="18" fill="{colour}"/>'
        f'<text x="{506 + min(width, 400):.0f}" y="{y + 13}">{share:.0%}</text>'
    )


def line(curve: Curve, x: int, y: int) -> str:
    """Return a curve's picture, 240 by 120."""
    highest = max(max(values) for values in curve.subjects.values())
    parts = [f'<text x="{x}" y="{y}">{escape(curve.what.replace("`", "")[:44])}, {curve.unit}</text>']
    for at, (name, values) in enumerate(curve.subjects.items()):
        points = " ".join(
            f"{x + 240 * size / curve.sizes[-1]:.0f},{y + 140 - 120 * value / highest:.0f}"
            for size, value in zip(curve.sizes, values, strict=True)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        parts.append(
            f'<text x="{x}" y="{y + 175 + 15 * at}" fill="{COLOURS[name]}">{name}: to {shown(values[-1])}</text>'
        )
    parts.append(f'<path d="M{x} {y + 20}V{y + 140}H{x + 240}" fill="none" stroke="#999"/>')
    parts += [
        f'<text x="{x + 240 * size / curve.sizes[-1]:.0f}" y="{y + 155}" text-anchor="middle">{size}</text>'
        for size in curve.sizes
    ]
    return "".join(parts)
