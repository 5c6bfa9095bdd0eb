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
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from opencode_mcp.cli.completion_scripts import PROGRAM
from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.cli.main import settings_flags
from opencode_mcp.cli.output import format_age, print_json, print_lines, stdout_console
from opencode_mcp.cli.result_text import OPEN_STYLE, STATE_STYLES, Shell, to_line
from opencode_mcp.cli.session_rows import OPEN_STATES, SessionReader
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.redaction import Redactor
from opencode_mcp.server.lifespan import known_secrets
from opencode_mcp.settings import Settings

REFRESH_SECONDS = 2.0
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
NOTHING = "No sessions: no OpenCode runs, or it has none. `opencode-mcp call run_task prompt=…` starts one."
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
    problems: list[RenderableType] = [Text(to_line(problem), ERROR_STYLE) for problem in data["problems"]]
    if not data["sessions"]:
        return problems or [Text(NOTHING)]
    table = Table(box=None, pad_edge=False)
    for name in ("state", "age"):
        table.add_column(name, no_wrap=True)
    table.add_column("cost", no_wrap=True, justify="right")
    table.add_column("model", overflow="ellipsis", no_wrap=True, max_width=28)
    table.add_column("session", overflow="fold")
    for row in data["sessions"]:
        table.add_row(*format_row(row))
    return [table, *format_answers(data["sessions"], shell), *problems]


def format_answers(rows: Sequence[Mapping[str, Any]], shell: Shell) -> Iterator[Text]:
    """Yield the command that answers each request, in the order of the table."""
    for request in (request for row in rows for request in row["pending"]):
        call = request["answer_with"]
        command = shell.command(call["tool"], call["arguments"] | dict.fromkeys(request["choices"], "…"))
        yield Text.assemble(("answer      ", "bold"), command)


def format_row(row: Mapping[str, Any]) -> Iterator[Text]:
    """Yield the cells of a session; one that is open has lines for where it works, and for what it waits."""
    state = row["state"]
    yield Text(state, STYLES.get(state, ""))
    yield Text(format_age(datetime.fromisoformat(row["created"]).timestamp()))
    yield Text(f"${row['cost']:.2f}" if row["cost"] else "")
    yield Text(to_line(row["model"] or ""))
    yield Text("\n").join(describe_session(row))


def describe_session(row: Mapping[str, Any]) -> Iterator[Text]:
    """Yield the lines of a session."""
    yield Text.assemble((row["id"], "bold"), f"  {to_line(row['title'])}")
    if row["state"] in OPEN_STATES:
        server = f" on {row['server']}" if row["server"] else ""
        assistants = f", for {', '.join(row['assistants'])}" if row["assistants"] else ""
        yield Text(to_line(f"in {row['directory']}{server}{assistants}"), "dim")
    for request in row["pending"]:
        yield Text(to_line(f"waits for {request['wants']}"), OPEN_STYLE)
    if row["activity"] and not row["pending"]:
        yield Text(to_line(f"now {row['activity']}"))
    if row["error"]:
        yield Text(to_line(row["error"]), ERROR_STYLE)
