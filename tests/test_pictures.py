"""The pictures in docs/ show what the figures and the product are today."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from benchmarks import chart

DOCS = Path(__file__).parents[1] / "docs"
SVG = "{http://www.w3.org/2000/svg}"
FIGURES = (DOCS / "performance.md").read_text(encoding="utf-8")
CHARACTER = 7.0
"""Pixels of a character in the wider of the fonts that viewers have, on average."""


def test_the_chart_is_drawn_from_the_committed_figures() -> None:
    drawn = chart.svg(*chart.read(FIGURES))

    assert (DOCS / "performance.svg").read_text(encoding="utf-8") == drawn, "run `python -m benchmarks --redraw`"


def test_the_chart_has_every_row_and_every_curve_in_full() -> None:
    """No label is cut, and each line fits between its edge and the page's."""
    run, results = chart.read(FIGURES)
    root = ElementTree.fromstring(chart.svg(run, results))
    texts = [(element.text or "", element) for element in root.iter(f"{SVG}text")]
    whole = " ".join(text for text, _ in texts)

    assert len(results.rows) == FIGURES.count("(target ")
    assert len(results.curves) == 3
    assert [row.what for row in results.rows if chart.plain(row.what) not in whole] == []
    assert [curve.what for curve in results.curves if chart.plain(curve.what) not in whole] == []
    assert run in whole
    for text, element in texts:
        x, width = float(element.attrib["x"]), CHARACTER * len(text)
        before = {"end": width, "middle": width / 2}.get(element.get("text-anchor", ""), 0)
        assert 0 <= x - before <= x - before + width <= chart.WIDTH, text


def test_each_colour_of_the_chart_has_a_dark_variant() -> None:
    light, _, dark = chart.STYLE.partition("@media (prefers-color-scheme: dark)")
    classes, dark_classes = (set(re.findall(r"\.([a-z]+)", rules)) for rules in (light, dark))

    assert {"page", "quiet", "within", "beyond"} <= classes == dark_classes
