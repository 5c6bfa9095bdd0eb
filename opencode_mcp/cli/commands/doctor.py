"""Check the setup, and say how to fix what is wrong. No model is called, nothing is changed.

Without --url, it uses the OpenCode that assistants share, or starts one as the server would. The exit code is 1 if a
check fails.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import anyio
from rich.console import Console
from rich.text import Text

from opencode_mcp.cli.doctor import CheckResult, run_checks
from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.cli.output import ignore_broken_pipe, print_json, printable
from opencode_mcp.settings import Settings, without_password

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the format and the port."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--port", type=int, default=8000, help="port that `http` will listen on (default 8000)")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print the results; return 1 if a check failed."""
    set_up_logging(settings)
    results: list[CheckResult] = []
    out, live = Console(highlight=False, markup=False), Console(stderr=True, highlight=False, markup=False)
    with live.status(Text("looking for OpenCode")) as status:

        def emit(result: CheckResult) -> None:
            message, advice = without_password(result.message), without_password(result.advice)
            redacted = replace(result, message=message, advice=advice)
            results.append(redacted)
            if not options.json:
                with ignore_broken_pipe():
                    out.print(format_line(redacted), soft_wrap=True)

        async def report_progress(message: str) -> None:
            status.update(Text(printable(message)))

        anyio.run(run_checks, settings, options.port, emit, report_progress)
    failed = any(result.state == "failed" for result in results)
    if options.json:
        print_json({"ok": not failed, "checks": [result.as_data() for result in results]})
    return 1 if failed else 0


def format_line(result: CheckResult) -> Text:
    """Return a result as one line."""
    advice = f" - {result.advice}" if result.advice else ""
    text = Text(f"{result.state:8}", style=STYLES[result.state])
    text.append(f"{result.check:22}", style="bold")
    return text.append(printable(" ".join(f"{result.message}{advice}".split())), style="not bold default")
