"""Show the end of OpenCode's log and of the bridge's, without secrets.

The bridge writes a log file with --log-file or OPENCODE_MCP_LOG_FILE. The exit code is 1 if no log exists.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable

from rich.text import Text

from opencode_mcp.cli.log_files import LogFile, find_log_files, follow
from opencode_mcp.cli.output import print_json, print_lines, printable
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.redaction import Redactor
from opencode_mcp.server.lifespan import known_secrets
from opencode_mcp.settings import Settings

SOURCES = ("opencode", "bridge")
DEFAULT_LINES = 50
LEVEL = re.compile(r"\b(ERROR|CRITICAL|WARN(?:ING)?|DEBUG)\b")
LEVEL_STYLES = {"ERROR": "red", "CRITICAL": "bold red", "WARN": "yellow", "WARNING": "yellow", "DEBUG": "dim"}
LEVEL_CHARS = 100
"""How far into a line its level stands."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add which log, how much of it, and the format."""
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE", choices=SOURCES, help=f"only that of: {', '.join(SOURCES)}"
    )
    parser.add_argument("--lines", type=int, default=DEFAULT_LINES, help=f"how many lines (default {DEFAULT_LINES})")
    parser.add_argument("--follow", action="store_true", help="go on with new lines until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print the logs; return 1 if there is none.

    Raises:
        SettingsError: a number of lines below 0, --follow with --json, or a log that cannot be read.
    """
    if options.lines < 0:
        raise SettingsError("--lines takes a number from 0")
    if options.follow and options.json:
        raise SettingsError("--follow and --json cannot be used together")
    redactor = Redactor(known_secrets(settings), settings.show_secrets)
    try:
        found, problems = find_log_files(settings)
        files = [file for file in found if options.source in (None, file.source)]
        ends = [(file, file.read_last(options.lines, redactor)) for file in files]
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from error
    problems = [problem for problem in problems if options.source is None or problem.startswith(options.source)]
    if options.json:
        logs = [{"source": file.source, "path": str(file.path), "lines": lines} for file, lines in ends]
        print_json({"logs": logs, "problems": problems})
        return 0 if files else 1
    for problem in problems:
        print(printable(problem), file=sys.stderr)  # noqa: T201 - not part of a log
    for file, lines in ends:
        print_lines([Text(printable(f"==> {file.source}: {file.path}"), "bold"), *map(format_line, lines)])
    if options.follow and files:
        follow_logs(files, redactor)
    return 0 if files else 1


def follow_logs(files: Iterable[LogFile], redactor: Redactor) -> None:
    """Print new lines until Ctrl-C, each with its source."""
    try:
        for file, line in follow([*files], redactor):
            print_lines([Text.assemble((f"{file.source}: ", "bold"), format_line(line))])
    except KeyboardInterrupt:
        return


def format_line(line: str) -> Text:
    """Return a line in the style of its level."""
    level = LEVEL.search(line, 0, LEVEL_CHARS)
    return Text(printable(line), LEVEL_STYLES[level[1]] if level else "")
