"""Show the newest sessions of the running OpenCode: state, age, cost, model, and what waits for an answer.

At a terminal the table is live until Ctrl-C; in a pipe it is printed once, and with --json as JSON. Nothing is started.
The exit code is 1 if an OpenCode could not be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import anyio
from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from opencode_mcp.cli.completion_scripts import PROGRAM
from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.cli.main import settings_flags
from opencode_mcp.cli.output import format_age, print_json, print_lines, stdout_console
from opencode_mcp.cli.result_text import OPEN_STYLE, STATE_STYLES, Shell, to_line
from opencode_mcp.cli.session_rows import SessionReader
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.redaction import Redactor, to_one_line
from opencode_mcp.server.lifespan import known_secrets
from opencode_mcp.settings import Settings
from opencode_mcp.tasks.current_state import OPEN_STATES

REFRESH_SECONDS = 2.0
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
NOTHING = "No sessions: no OpenCode runs, or it has none. `opencode-mcp call run_task prompt=…` starts one."
COLUMNS = ("state", "age", "cost", "model", "title")
MODEL = COLUMNS.index("model")
GAP = "  "
ERROR_STYLE = "red"
STYLES = {**STATE_STYLES, **dict.fromkeys(OPEN_STATES, OPEN_STYLE), "idle": "dim", "unknown": "bold red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the format, and how many."""
    parser.add_argument("--json", action="store_true", help="print JSON, once")
    parser.add_argument("--limit", type=int, default=DEFAULT_LIMIT, help=f"at most so many (default {DEFAULT_LIMIT})")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print the sessions, again and again at a terminal; return 1 if an OpenCode could not be read.

    Raises:
        SettingsError: the limit is not possible.
    """
    if not 1 <= options.limit <= MAX_LIMIT:
        raise SettingsError(f"--limit takes a number from 1 to {MAX_LIMIT}")
    set_up_logging(settings)
    view = SessionView(settings, options.limit, settings_flags(vars(options)))
    if options.json or not sys.stdout.isatty():
        return anyio.run(view.print_once, options.json)
    try:
        return anyio.run(view.watch)
    except KeyboardInterrupt:
        return 0


class SessionView:
    """Reads the sessions, and shows them redacted."""

    def __init__(self, settings: Settings, limit: int, flags: Sequence[str]) -> None:
        self._shell = Shell([PROGRAM, "call", *flags], opencode_stays=True, width=stdout_console().width)
        self._reader = SessionReader(settings, limit)
        self._redactor = Redactor(known_secrets(settings), settings.show_secrets)

    async def read(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        sessions = await self._reader.read()
        self._redactor.refresh()
        data = {"sessions": [row.as_data() for row in sessions.rows], "problems": sessions.problems}
        return self._redactor.redact(data)

    async def print_once(self, as_json: bool) -> int:
        """Print the sessions; return the exit code."""
        data = await self.read()
        if as_json:
            print_json(data)
        else:
            print_lines(format_sessions(data, self._shell))
        return 1 if data["problems"] else 0

    async def watch(self) -> int:
        """Show the sessions until Ctrl-C."""
        with Live(console=stdout_console(), auto_refresh=False) as live:
            while True:
                live.update(Group(*format_sessions(await self.read(), self._shell)), refresh=True)
                await anyio.sleep(REFRESH_SECONDS)


def format_sessions(data: Mapping[str, Any], shell: Shell) -> list[RenderableType]:
    """Return the table, how to answer what waits, and the problems."""
    sessions: Sequence[Mapping[str, Any]] = data["sessions"]
    problems = [Text(to_line(problem), ERROR_STYLE) for problem in data["problems"]]
    if not sessions:
        return [*problems] or [Text(NOTHING)]
    cells = [[*map(to_line, session_cells(session))] for session in sessions]
    widths = [max(map(cell_len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    # A long name of a model leaves the title half of the room.
    widths[MODEL] = min(widths[MODEL], (shell.width - sum(widths[:MODEL])) // 2)
    lines: list[RenderableType] = [Text(join_cells(COLUMNS, widths, shell.width), "bold")]
    for session, row in zip(sessions, cells, strict=True):
        line = Text(join_cells(row, widths, shell.width))
        line.stylize(STYLES.get(session["state"], ""), 0, widths[0])
        lines += [line, *describe_session(session)]
    return [*lines, *format_answers(sessions, shell), *problems]


def session_cells(session: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of a session, one for each of `COLUMNS`."""
    age = format_age(datetime.fromisoformat(session["created"]).timestamp())
    cost = f"${session['cost']:.2f}" if session["cost"] else ""
    return session["state"], age, cost, session["model"] or "", session["title"]


def join_cells(cells: Sequence[str], widths: Sequence[int], width: int) -> str:
    """Return a line of the table; what is too long for its column ends with an ellipsis."""
    line = GAP.join(fit(cell, size) for cell, size in zip(cells, widths, strict=True))
    return fit(line.rstrip(), width) if cell_len(line) > width else line.rstrip()


def fit(text: str, width: int) -> str:
    """Return a text in exactly so many cells of a terminal."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…"


def format_answers(rows: Sequence[Mapping[str, Any]], shell: Shell) -> Iterator[Text]:
    """Yield the command that answers each request, in the order of the table."""
    for request in (request for row in rows for request in row["pending"]):
        call = request["answer_with"]
        command = shell.command(call["tool"], call["arguments"] | dict.fromkeys(request["choices"], "…"))
        yield Text.assemble(("answer      ", "bold"), command)


def describe_session(session: Mapping[str, Any]) -> Iterator[Text]:
    """Yield the lines below a session: where it works, what it does or waits for, and its error."""
    server = f" on {session['server']}" if session["server"] else ""
    assistants = f", for {', '.join(session['assistants'])}" if session["assistants"] else ""
    yield indented(f"{session['id']} in {session['directory']}{server}{assistants}", "dim")
    for request in session["pending"]:
        yield indented(f"waits for {to_one_line(request['wants'])}", OPEN_STYLE)
    if session["activity"] and not session["pending"]:
        yield indented(f"now {session['activity']}")
    if session["error"]:
        yield indented(session["error"], ERROR_STYLE)


def indented(text: str, style: str = "") -> Text:
    """Return a line below that of a session."""
    return Text(f"{GAP}{to_line(text)}", style)
