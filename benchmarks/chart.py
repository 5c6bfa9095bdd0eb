"""Draws docs/performance.svg from the figures in docs/performance.md: a bar per row, a panel per curve.

The chart is drawn from the committed tables, so it can be redrawn without measuring: `python -m benchmarks --redraw`.
Colours and background follow the viewer's colour scheme.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from xml.sax.saxutils import escape

from .results import Curve, ResultRow, Results, format_number
from .targets import Target

WIDTH, MARGIN, LINE = 980, 20, 16
BARS_LEFT, BARS_WIDTH, BAR = 440, 440, 14
LABEL_CHARS = 58
PANEL, PLOT_WIDTH, PLOT_HEIGHT, TITLE_CHARS = 320, 260, 120, 40

GREY = {"direct", "p50", "Redis"}
"""The subjects drawn in the second colour."""

STYLE = """
.page { fill: #ffffff } text { fill: #1f2328 } .quiet { fill: #59636e } .axis { stroke: #8c959f; fill: none }
.within, .bridge { fill: #1a7f5a } .beyond { fill: #b5d9c9 } .direct { fill: #6e7781 }
.share { stroke: #ffffff; stroke-width: 4; paint-order: stroke }
polyline.bridge { fill: none; stroke: #1a7f5a } polyline.direct { fill: none; stroke: #6e7781 }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } text { fill: #e6edf3 } .quiet { fill: #9198a1 } .axis { stroke: #656c76 }
.within, .bridge { fill: #4fbf95 } .beyond { fill: #275344 } .direct { fill: #9198a1 }
.share { stroke: #0d1117 }
polyline.bridge { stroke: #4fbf95 } polyline.direct { stroke: #9198a1 }
}
"""
SUMMARY_LINE = re.compile(
    r"(?P<of>.+): (?P<ratio>-?[\d.,]+) (?P<unit>\S+) \(target (?P<sign>[≤≥]) (?P<target>[\d.,]+).*\)"
)


def parse_tables(markdown: str) -> tuple[str, Results]:
    """Return the run (date, machine, versions) and its figures from the tables of docs/performance.md.

    The rows have their ratio and target, without samples.
    """
    run_line = re.search(r"^(\d{4}-\d\d-\d\d, .*)\.$", markdown, re.MULTILINE)
    rows = re.findall(r"^\| (.+) \| .+ \| (.+ \(target .+\)) \| \S+ \|$", markdown, re.MULTILINE)
    curves = re.findall(r"^\| (.+) \| ([\d,]+(?: → [\d,]+)+) \| (.+) \|$", markdown, re.MULTILINE)
    results = Results([parse_row(*cells) for cells in rows], [parse_curve(*cells) for cells in curves])
    return run_line[1] if run_line else "", results


def parse_row(title: str, summary: str) -> ResultRow:
    """Parse a line of the table of results."""
    match = SUMMARY_LINE.fullmatch(summary)
    assert match is not None, summary
    name, _, note = title.partition("<br>")
    return ResultRow(
        name,
        {},
        [parse_number(match["ratio"])],
        match["of"],
        Target(parse_number(match["target"]), match["unit"], match["sign"] == "≥"),
        note,
    )


def parse_curve(title: str, sizes: str, figures: str) -> Curve:
    """Parse a line of the table of curves."""
    subjects = [subject.partition(": ") for subject in figures.split("<br>")]
    values = {name: [parse_number(text) for text in re.findall(r"[\d.,]+", rest)] for name, _, rest in subjects}
    return Curve(title, figures.rsplit(" ", 1)[1], [int(parse_number(size)) for size in sizes.split(" → ")], values)


def parse_number(text: str) -> float:
    """Parse the output of `results.format_number`."""
    return float(text.replace(",", ""))


def draw_chart(run: str, results: Results) -> str:
    """Return the chart."""
    shares = [target_share(row) for row in results.rows]
    scale = BARS_WIDTH / max(1.25, *shares)
    y, target, parts = 80, BARS_LEFT + scale, list[str]()
    for row, share_of_target in zip(results.rows, shares, strict=True):
        lines = textwrap.wrap(strip_markdown(row.title), LABEL_CHARS)
        parts.append(draw_bar(lines, share_of_target, scale, y))
        y += LINE * len(lines) + 10
    parts.insert(0, f'<path class="axis" d="M{target:.0f} 72V{y - 4}"/>')
    parts.append(f'<text class="quiet" x="{target:.0f}" y="66" text-anchor="middle">target</text>')
    y += 30
    panels, height = draw_panels(run, results.curves, y)
    note = "Shorter is better. The bar of a rate is target / result."
    return draw_page("Results as shares of their targets", note, height, [*parts, *panels])


def draw_curves(title: str, run: str, curves: Sequence[Curve]) -> str:
    """Return a chart of curves only."""
    panels, height = draw_panels(run, curves, 80)
    return draw_page(title, "", height, panels)


def draw_panels(run: str, curves: Sequence[Curve], top: int) -> tuple[list[str], int]:
    """Return a panel for each curve and the line about the run below them, and the height of the page."""
    titles = [textwrap.wrap(f"{strip_markdown(curve.title)}, {curve.unit}", TITLE_CHARS) for curve in curves]
    bottom = top + LINE * max(map(len, titles), default=0) + 14 + PLOT_HEIGHT
    parts = [
        draw_panel(curve, title, MARGIN + PANEL * at, top, bottom)
        for at, (curve, title) in enumerate(zip(curves, titles, strict=True))
    ]
    height = bottom + 20 + LINE * max((len(curve.subjects) for curve in curves), default=0) + 40
    parts.append(f'<text class="quiet" x="{MARGIN}" y="{height - 14}" font-size="11">{escape(run)}</text>')
    return parts, height


def draw_page(title: str, note: str, height: int, parts: Sequence[str]) -> str:
    """Return the SVG document with the parts of the chart."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n"
        f'<rect class="page" width="{WIDTH}" height="{height}"/>\n'
        f'<text x="{MARGIN}" y="26" font-size="14" font-weight="bold">{escape(title)}</text>\n'
        f'<text class="quiet" x="{MARGIN}" y="44">{escape(note)}</text>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def target_share(row: ResultRow) -> float:
    """Return the result as a share of its target, which is met up to 1. It is negative for a negative result."""
    bound = row.target.bound
    return bound / row.ratio if row.target.at_least else row.ratio / bound


def strip_markdown(markdown: str) -> str:
    """Return a text without backticks."""
    return markdown.replace("`", "")


def draw_bar(label: Sequence[str], share_of_target: float, scale: float, y: int) -> str:
    """Return a row: its label, its bar up to the target and beyond it, and its share."""
    middle = y + LINE * len(label) / 2
    texts = "".join(
        f'<text x="{BARS_LEFT - 12}" y="{y + LINE * at + 12}" text-anchor="end">{escape(line)}</text>'
        for at, line in enumerate(label)
    )
    within, whole = (scale * max(0.005, min(share_of_target, most)) for most in (1.0, share_of_target))
    beyond = f'<rect class="beyond" x="{BARS_LEFT + within:.0f}" y="{middle - BAR / 2:g}" width="{whole - within:.0f}" '
    return (
        f'{texts}<rect class="within" x="{BARS_LEFT}" y="{middle - BAR / 2:g}" width="{within:.0f}" height="{BAR}"/>'
        + (f'{beyond}height="{BAR}"/>' if whole > within else "")
        + f'<text class="share" x="{BARS_LEFT + whole + 8:.0f}" y="{middle + 4:g}">'
        + ("below 0%" if share_of_target < 0 else f"{share_of_target:.0%}")
        + "</text>"
    )


def draw_panel(curve: Curve, title: Sequence[str], x: int, top: int, bottom: int) -> str:
    """Return the plot of a curve."""
    highest = max(max(values) for values in curve.subjects.values())
    parts = [f'<text x="{x}" y="{top + LINE * at}">{escape(line)}</text>' for at, line in enumerate(title)]
    parts.append(f'<path class="axis" d="M{x} {bottom - PLOT_HEIGHT}V{bottom}H{x + PLOT_WIDTH}"/>')
    for at, (name, values) in enumerate(curve.subjects.items()):
        colour = "direct" if name in GREY else "bridge"
        points = " ".join(
            f"{x + PLOT_WIDTH * size / curve.sizes[-1]:.0f},{bottom - PLOT_HEIGHT * value / highest:.0f}"
            for size, value in zip(curve.sizes, values, strict=True)
        )
        parts.append(f'<polyline class="{colour}" stroke-width="2" points="{points}"/>')
        y = bottom + 20 + LINE * (at + 1)
        parts.append(f'<rect class="{colour}" x="{x}" y="{y - 9}" width="10" height="10"/>')
        span = f"{format_number(values[0])} to {format_number(values[-1])} {curve.unit}"
        parts.append(f'<text x="{x + 16}" y="{y}">{name}: {span}</text>')
    parts += [
        f'<text class="quiet" x="{x + PLOT_WIDTH * size / curve.sizes[-1]:.0f}" y="{bottom + 16}" '
        f'text-anchor="middle">{size}</text>'
        for size in curve.sizes
    ]
    return "".join(parts)
