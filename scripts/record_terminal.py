# pyright: basic, reportMissingTypeStubs=false, reportMissingImports=false
"""Record docs/at-work.svg: a task at a terminal, with a real OpenCode and a scripted model.

Each line of the picture appears when it was last written in the recording; long pauses are shortened.

python scripts/record_terminal.py
"""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

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
PROMPT = "Make the greeting friendlier, then run it"
GREETING, FRIENDLIER = 'echo "hello"\n', 'echo "Hello there, good to see you!"\n'
CALLS = (
    ("read", {"filePath": "greet.sh"}),
    ("edit", {"filePath": "greet.sh", "oldString": GREETING.strip(), "newString": FRIENDLIER.strip()}),
    ("bash", {"command": "sh greet.sh", "description": "Run the greeting"}),
)
ANSWER = "The greeting says: Hello there, good to see you!"


def greet(request: Request) -> list[Piece]:
    """Play the task: each call after the last one's result, then the answer."""
    if request.turn == len(CALLS):
        return [say(ANSWER, 0.8)]
    name, arguments = CALLS[request.turn]
    return [say("", 0.8), call(name, json.dumps(arguments))]


def recorded(command: list[str], folder: Path, environ: Mapping[str, str]) -> tuple[list[Text], list[float]]:
    """Run a command at a terminal, allow what it asks for, and return the lines and when each was complete."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    began, changed = time.monotonic(), [0.0] * ROWS
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environ), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # its other end is closed
            break
        before = list(screen.display)
        stream.feed(data)
        for row, (old, new) in enumerate(zip(before, screen.display, strict=True)):
            if old != new:
                changed[row] = time.monotonic() - began
        if screen.display[screen.cursor.y].strip() == ">":
            time.sleep(1)  # a person reads
            os.write(master, b"once\n")
    if process.wait() != 0:
        raise SystemExit("\n".join(screen.display).rstrip())
    last = max(row for row, line in enumerate(screen.display) if line.strip())
    return [line_of(screen, row) for row in range(last + 1)], changed[: last + 1]


def line_of(screen: pyte.Screen, row: int) -> Text:
    """Return a row of the screen with its colours."""
    line = Text()
    for style, cells in groupby((screen.buffer[row][column] for column in range(COLUMNS)), style_of):
        line.append("".join(cell.data for cell in cells), style)
    line.rstrip()
    return line


def style_of(cell: pyte.screens.Char) -> str:
    """Return a cell's style in rich's words."""
    colour = {"default": "", "brown": "yellow"}.get(cell.fg, cell.fg)
    return " ".join(word for word in ("bold" if cell.bold else "", colour) if word)


def drawn(lines: list[Text], times: list[float]) -> str:
    """Return the SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(line, no_wrap=True, crop=True)
    svg = console.export_svg(title="opencode-mcp", unique_id="at-work")
    shown, now, last = list[str](), 1.0, 0.0
    for row, moment in sorted(enumerate(times), key=lambda one: (one[1], one[0])):
        now, last = now + min(moment - last, LONGEST_PAUSE), moment
        shown.append(f'[clip-path="url(#at-work-line-{row})"] {{ animation: appear 0.01s {now:.2f}s both }}')
    motion = "@keyframes appear { from { visibility: hidden } to { visibility: visible } }"
    rules = "\n".join(["@media (prefers-reduced-motion: no-preference) {", motion, *shown, "}"])
    return svg.replace("</style>", f"{rules}\n</style>", 1)


def prepared(folder: Path) -> Path:
    """Return a project with a greeting, in which OpenCode asks before it runs a command."""
    project = make_project(folder.resolve() / "project")
    (project / "greet.sh").write_text(GREETING)
    (project / "opencode.json").write_text(json.dumps({"permission": {"bash": "ask"}}))
    return project


async def main() -> None:
    """Record, and write the picture."""
    SCRIPTS["text"] = greet
    with TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as name:
        project = prepared(Path(name))
        async with environment(None, Path(name)) as environ:
            program = [str(Path(sys.executable).with_name("opencode-mcp")), "call", "run_task", f"prompt={PROMPT}"]
            terminal = {**environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
            lines, times = await anyio.to_thread.run_sync(recorded, program, project, terminal)
    typed = Text(f'$ opencode-mcp call run_task prompt="{PROMPT}"', "bold")
    PICTURE.write_text(drawn([typed, *lines], [0.0, *times]))


if __name__ == "__main__":
    anyio.run(main)
