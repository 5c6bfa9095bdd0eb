# pyright: basic, reportMissingTypeStubs=false, reportMissingImports=false
"""Record docs/at-work.svg: a task at a terminal, with a real OpenCode and a scripted model.

The picture begins with the whole run, then plays it: each line appears when it was last written, and long pauses are
shortened. A viewer without animation shows the whole run.

python scripts/record_terminal.py [--check]

--check runs the same task, and fails if its output differs from the picture. It ignores numbers, ids, the directory,
the note, which depends on the machine, and the order and number of progress lines.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import anyio
import anyio.to_thread
import pyte
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from scripted_model import SCRIPTS, Piece, Request, call, say  # noqa: E402 - in the folder of the examples
from workbench import environment, make_project  # noqa: E402

PICTURE = ROOT / "docs" / "at-work.svg"
COLUMNS, ROWS = 100, 60
LONGEST_PAUSE = 1.2
POSTER_SECONDS = 1.5
"""How long the whole run is shown before it is played."""
FIRST_PAUSE, PAUSE = 3.0, 0.8
"""Seconds before the model's replies; the first is long enough for the wait for it to be shown."""
PROMPT = "Make the greeting friendlier, then run it"
GREETING, FRIENDLIER = 'echo "hello"\n', 'echo "Hello there, good to see you!"\n'
CALLS = (
    ("read", {"filePath": "greet.sh"}),
    ("edit", {"filePath": "greet.sh", "oldString": GREETING.strip(), "newString": FRIENDLIER.strip()}),
    ("bash", {"command": "sh greet.sh", "description": "Run the greeting"}),
)
ANSWER = "The greeting says: Hello there, good to see you!"


NOTE = "note "
PROGRESS = re.compile(r"\s*N s  (.*)")
VARIABLE_PARTS = (
    (re.compile(r"( in )/.*"), r"\1…"),
    (re.compile(r"ses_\w+"), "ses_ID"),
    (re.compile(r"\d+(?:\.\d+)?"), "N"),
)
"""Text that differs from run to run, and its replacement in a comparison."""
DIFF_HEADERS = ("--", "++", "@@")
"""Prefixes of a diff's header lines."""


def play_task(request: Request, pause: float) -> list[Piece]:
    """Play the task: each call after the last one's result, then the answer."""
    if request.turn == len(CALLS):
        return [say(ANSWER, pause)]
    name, arguments = CALLS[request.turn]
    return [say("", pause if request.turn else FIRST_PAUSE), call(name, json.dumps(arguments))]


def record_command(command: list[str], folder: Path, environ: Mapping[str, str]) -> tuple[list[Text], list[float]]:
    """Run a command in a terminal and allow what it asks; return its lines and when each was last written."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    start, changed = time.monotonic(), [0.0] * ROWS
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environ), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the process has exited
            break
        before = list(screen.display)
        stream.feed(data)
        for row, (old, new) in enumerate(zip(before, screen.display, strict=True)):
            if old != new:
                changed[row] = time.monotonic() - start
        if screen.display[screen.cursor.y].strip() == ">":
            time.sleep(1)  # time to read the question
            os.write(master, b"once\n")
    if process.wait() != 0:
        raise SystemExit("\n".join(screen.display).rstrip())
    last = max(row for row, line in enumerate(screen.display) if line.strip())
    for row in range(1, last):  # an empty row appears with the one above it
        changed[row] = changed[row] or changed[row - 1]
    return [row_text(screen, row) for row in range(last + 1)], changed[: last + 1]


def row_text(screen: pyte.Screen, row: int) -> Text:
    """Return a row of the screen with its colours."""
    line = Text()
    for style, cells in groupby((screen.buffer[row][column] for column in range(COLUMNS)), cell_style):
        line.append("".join(cell.data for cell in cells), style)
    line.rstrip()
    return line


def cell_style(cell: pyte.screens.Char) -> str:
    """Return a cell's style as rich writes it."""
    colour = {"default": "", "brown": "yellow"}.get(cell.fg, cell.fg)
    return " ".join(word for word in ("bold" if cell.bold else "", colour) if word)


def draw_svg(lines: Sequence[Text], times: Sequence[float]) -> str:
    """Return the SVG of lines, each shown at its time; the first one stays."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(line, no_wrap=True, crop=True)
    svg = console.export_svg(title="opencode-mcp", unique_id="at-work")
    shown, now, last = list[str](), POSTER_SECONDS, 0.0
    for row, moment in sorted(enumerate(times[1:], 1), key=lambda timed: (timed[1], timed[0])):
        now, last = now + min(moment - last, LONGEST_PAUSE), moment
        moves = f"hide 0.01s {POSTER_SECONDS}s forwards, show 0.01s {now:.2f}s forwards"
        shown.append(f'[clip-path="url(#at-work-line-{row})"] {{ animation: {moves} }}')
    motion = "@keyframes hide { to { visibility: hidden } } @keyframes show { to { visibility: visible } }"
    rules = "\n".join(["@media (prefers-reduced-motion: no-preference) {", motion, *shown, "}"])
    return svg.replace("</style>", f"{rules}\n</style>", 1)


def read_lines(svg: str) -> list[str]:
    """Return the lines of text that an SVG of `draw_svg` shows, without their indentation."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in element.attrib:
            text = (element.text or "").replace("\xa0", " ")
            rows.setdefault(float(element.attrib["y"]), []).append((float(element.attrib["x"]), text))
    return ["".join(text for _, text in sorted(row)).strip() for _, row in sorted(rows.items())]


def normalized_lines(svg: str) -> tuple[set[str], list[str]]:
    """Return the progress lines and the other lines of a picture, without what differs from run to run."""
    progress, others = set[str](), list[str]()
    for line in read_lines(svg):
        for pattern, replacement in VARIABLE_PARTS:
            line = pattern.sub(replacement, line)
        if match := PROGRESS.fullmatch(line):
            progress.add(match[1])
        elif not line.startswith(NOTE):
            others.append(line)
    return progress, others


def differences(picture: str, today: str) -> list[str]:
    """Return the lines that only one of two pictures has."""
    (old_progress, old_lines), (new_progress, new_lines) = normalized_lines(picture), normalized_lines(today)
    lines = [*(f"-{line}" for line in sorted(old_progress - new_progress))]
    lines += [f"+{line}" for line in sorted(new_progress - old_progress)]
    return lines + [
        line for line in unified_diff(old_lines, new_lines, n=0, lineterm="") if line[:2] not in DIFF_HEADERS
    ]


def make_greeting_project(folder: Path) -> Path:
    """Make a project with a greeting, in which OpenCode asks before it runs a command."""
    project = make_project(folder.resolve() / "project")
    (project / "greet.sh").write_text(GREETING)
    (project / "opencode.json").write_text(json.dumps({"permission": {"bash": "ask"}}))
    return project


async def record_picture(pause: float) -> str:
    """Run the task with a pause before each reply of the model, and return its picture."""
    SCRIPTS["text"] = partial(play_task, pause=pause)
    with TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as name:
        project = make_greeting_project(Path(name))
        async with environment(None, Path(name)) as environ:
            program = [str(Path(sys.executable).with_name("opencode-mcp")), "call", "run_task", f"prompt={PROMPT}"]
            terminal = {**environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
            lines, times = await anyio.to_thread.run_sync(record_command, program, project, terminal)
    typed = Text(f'$ opencode-mcp call run_task prompt="{PROMPT}"', "bold")
    return draw_svg([typed, *lines], [0.0, *times])


def main() -> int:
    """Record and write the picture, or with --check compare; return 1 when it is out of date."""
    parser = argparse.ArgumentParser(description="Record docs/at-work.svg.")
    parser.add_argument("--check", action="store_true", help="fail when the picture is out of date; write nothing")
    check = parser.parse_args().check
    today = anyio.run(record_picture, 0.0 if check else PAUSE)
    if not check:
        PICTURE.write_text(today)
        return 0
    lines = differences(PICTURE.read_text(), today)
    if lines:
        print("docs/at-work.svg is out of date: run `python scripts/record_terminal.py`", *lines, sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
