"""Renew the managed copy of OpenCode: install it if it is missing or damaged, and remove copies of other versions.

The version is the one that this release is tested with, so a newer one comes with a newer opencode-mcp. An OpenCode
that you have installed is never touched.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import asdict

import anyio
from rich.console import Console
from rich.text import Text

from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.cli.output import print_json, print_lines, printable
from opencode_mcp.opencode.process.cache import cache_folder
from opencode_mcp.opencode.process.executable import read_version, which
from opencode_mcp.opencode.process.renewal import Renewal, renew_managed_copy
from opencode_mcp.settings import Settings, without_password

ACTIONS = {"kept": "is complete", "repaired": "was damaged and is installed again", "installed": "is installed"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the format."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Renew the copy and print what was done.

    Raises:
        ServerStartError: it cannot be installed.
    """
    set_up_logging(settings)
    live = Console(stderr=True, highlight=False, markup=False)
    with live.status(Text("looking at the copy of OpenCode")) as status:

        async def report_progress(message: str) -> None:
            status.update(Text(printable(message)))

        async def renew() -> tuple[Renewal, str]:
            cache, environ = cache_folder(settings.environ), settings.child_environ
            return await renew_managed_copy(cache, environ, report_progress), await find_other(settings)

        renewal, used_instead = anyio.run(renew)
    if options.json:
        print_json({**asdict(renewal), "folder": str(renewal.folder), "used_instead": used_instead or None})
    else:
        print_lines(map(printable, describe(renewal, used_instead)))
    return 0


async def find_other(settings: Settings) -> str:
    """Return which OpenCode is used instead of the copy, as far as nothing has to be started to know; "" for none."""
    if settings.urls:
        return ", ".join(map(without_password, settings.urls.values()))
    if settings.command:
        return shlex.join(settings.command)
    environ = settings.child_environ
    path = which("opencode", environ)
    if path is None:
        return ""
    version = await read_version((path,), environ, cache_folder(settings.environ))
    return f"{path} ({version or 'unknown version'})"


def describe(renewal: Renewal, used_instead: str) -> Iterator[str]:
    """Yield what was done, and what was left alone."""
    yield f"OpenCode {renewal.version} {ACTIONS[renewal.action]}: {renewal.folder}"
    if renewal.removed:
        yield f"Removed: the copies of {', '.join(renewal.removed)}"
    if renewal.in_use:
        yield f"Kept, as a process may use it: the copy of {', '.join(renewal.in_use)}"
    if used_instead:
        yield f"Not touched: {used_instead}, which comes before the copy"
