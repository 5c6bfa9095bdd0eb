"""Check the setup, and say how to fix what is wrong. No model is called, nothing is changed.

Without --url, OpenCode is started as the server would start it, and stopped again. The exit code is 1 if a check fails.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import anyio
from rich.console import Console
from rich.text import Text

from opencode_mcp.settings import Settings, without_password

from .diagnosis import Finding, examine
from .logs import set_up_logging
from .output import print_json, printable, unless_closed

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the format and the port."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--port", type=int, default=8000, help="port that `http` will listen on (default 8000)")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Print the results; return 1 if a check failed."""
    set_up_logging(settings)
    findings: list[Finding] = []
    out, live = Console(highlight=False, markup=False), Console(stderr=True, highlight=False, markup=False)
    with live.status(Text("looking for OpenCode")) as status:

        def tell(found: Finding) -> None:
            says, advice = without_password(found.says), without_password(found.advice)
            finding = replace(found, says=says, advice=advice)
            findings.append(finding)
            if not options.json:
                with unless_closed():
                    out.print(line(finding), soft_wrap=True)

        async def report_progress(message: str) -> None:
            status.update(Text(printable(message)))

        anyio.run(examine, settings, options.port, tell, report_progress)
    failed = any(finding.state == "failed" for finding in findings)
    if options.json:
        print_json({"ok": not failed, "checks": [finding.as_data() for finding in findings]})
    return 1 if failed else 0


def line(finding: Finding) -> Text:
    """Return a result as one line."""
    advice = f" - {finding.advice}" if finding.advice else ""
    text = Text(f"{finding.state:8}", style=STYLES[finding.state])
    text.append(f"{finding.check:22}", style="bold")
    return text.append(printable(" ".join(f"{finding.says}{advice}".split())), style="not bold default")
