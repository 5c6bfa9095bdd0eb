"""The pictures in docs/ show what the figures and the product are today."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import chart
from opencode_mcp.board import read_page
from scripts import record_terminal

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TERMINAL = (DOCS / "at-work.svg").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"
FIGURES = (DOCS / "performance.md").read_text(encoding="utf-8")
BOARD = (DOCS / "board.md").read_text(encoding="utf-8")
MAX_PICTURE_BYTES = 250_000
CHARACTER = 7.0
"""Pixels of a character in the wider of the fonts that viewers have, on average."""


def test_the_chart_is_drawn_from_the_committed_figures() -> None:
    drawn = chart.draw_chart(*chart.parse_tables(FIGURES))

    assert (DOCS / "performance.svg").read_text(encoding="utf-8") == drawn, "run `python -m benchmarks --redraw`"


def test_the_chart_has_every_row_and_every_curve_in_full() -> None:
    """No label is cut, and each line fits between its edge and the page's."""
    run, results = chart.parse_tables(FIGURES)
    root = ElementTree.fromstring(chart.draw_chart(run, results))
    texts = [(element.text or "", element) for element in root.iter(f"{SVG}text")]
    whole = " ".join(text for text, _ in texts)

    assert len(results.rows) == FIGURES.count("(target ")
    assert len(results.curves) == 3
    assert [row.title for row in results.rows if chart.strip_markdown(row.title) not in whole] == []
    assert [curve.title for curve in results.curves if chart.strip_markdown(curve.title) not in whole] == []
    assert run in whole
    for text, element in texts:
        x, width = float(element.attrib["x"]), CHARACTER * len(text)
        before = {"end": width, "middle": width / 2}.get(element.get("text-anchor", ""), 0)
        assert 0 <= x - before <= x - before + width <= chart.WIDTH, text


def test_each_colour_of_the_chart_has_a_dark_variant() -> None:
    light, _, dark = chart.STYLE.partition("@media (prefers-color-scheme: dark)")
    classes, dark_classes = (set(re.findall(r"\.([a-z]+)", rules)) for rules in (light, dark))

    assert {"page", "quiet", "within", "beyond"} <= classes == dark_classes


def test_the_terminal_picture_is_up_to_date(environ: Mapping[str, str]) -> None:
    """The recorded task runs again; what is printed names the lines that differ, and the command that redraws them."""
    command = [sys.executable, "scripts/record_terminal.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=dict(environ), capture_output=True, text=True, timeout=300)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_first_frame_of_the_terminal_is_the_whole_run() -> None:
    """No row is hidden before the animation begins, nor without it; each row but the command is hidden and shown."""
    style, _, content = TERMINAL.partition("</style>")
    still, _, animated = style.partition("@media (prefers-reduced-motion: no-preference) {")
    moves = r"at-work-line-(\d+)\)\"\] \{ animation: hide 0\.01s 1\.5s forwards, show 0\.01s ([\d.]+)s forwards \}"
    shown = {int(row): float(seconds) for row, seconds in re.findall(moves, animated)}

    assert "hidden" not in still + content
    assert sorted(shown) == list(range(1, len(record_terminal.read_lines(TERMINAL))))
    assert min(shown.values()) > record_terminal.POSTER_SECONDS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("OpenCode&#160;asks&#160;for&#160;permission:", "OpenCode&#160;wants:"),
        ("waiting&#160;for&#160;the&#160;model", "thinking"),
        ("session&#160;", "conversation&#160;"),
        ("scripted/scripted", "other/model"),
    ],
    ids=["question", "progress", "field", "value"],
)
def test_a_changed_line_of_the_terminal_is_detected(old: str, new: str) -> None:
    changed = TERMINAL.replace(old, new)

    removed, added = record_terminal.differences(TERMINAL, changed)

    assert old.replace("&#160;", " ") in removed
    assert new.replace("&#160;", " ") in added


def test_other_numbers_ids_and_directories_are_not_differences() -> None:
    changed = re.sub(r"ses_\w+", "ses_other", TERMINAL).replace("&#160;tokens", "1&#160;tokens")
    changed = re.sub(r"/tmp/[\w/-]+", "/elsewhere/project", changed)

    assert changed != TERMINAL
    assert record_terminal.differences(TERMINAL, changed) == []


@pytest.mark.parametrize("name", ["board-light", "board-dark", "board-narrow"])
def test_a_picture_of_the_board_is_small_and_described(name: str) -> None:
    """Its page says what is in it, for a reader who does not see it."""
    data = (DOCS / f"{name}.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    description = re.search(rf"!\[([^]]+)\]\({name}\.png\)", BOARD)

    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) < MAX_PICTURE_BYTES
    assert 700 <= width <= 1_800
    assert 700 <= height <= 1_800
    assert description is not None
    assert len(description[1]) > 40


def test_the_page_of_the_board_has_its_figures() -> None:
    """Those that `python -m benchmarks.board` prints, and the size of the page as it is today."""
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", BOARD, re.MULTILINE))

    assert {"first paint", "size of the page", "memory of the page's process"} <= rows.keys()
    documented = int(rows["size of the page"].split()[0].replace(",", ""))
    assert abs(documented - len(read_page().encode())) < 0.1 * documented
