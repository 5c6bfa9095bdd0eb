"""All checks in order; those that need OpenCode run once it is reachable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import httpx2

from opencode_mcp.client.connect import connected
from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import OpenCodeClient, ProgressCallback
from opencode_mcp.settings import Settings
from opencode_mcp.workflows.report import to_one_line

from .drift import document
from .finding import Finding
from .machine import port
from .reach import found, reach
from .registered import registrations
from .working import events, model, providers, ripgrep, worktrees

Check = Callable[[OpenCodeClient], Awaitable[Finding]]
Tell = Callable[[Finding], None]

CHECKS: Mapping[str, Check] = {
    "document": document,
    "providers": providers,
    "model": model,
    "events": events,
    "ripgrep": ripgrep,
    "worktrees": worktrees,
}


async def examine(settings: Settings, port_number: int, tell: Tell, report_progress: ProgressCallback) -> None:
    """Emit every result as soon as it is known; an OpenCode that was started is stopped."""
    there = await found(settings, report_progress)
    tell(there)
    if there.state == "failed":
        skip(tell, "OpenCode was not found")
    else:
        await examine_opencode(settings, tell, report_progress)
    tell(port(port_number))
    for finding in registrations(settings):
        tell(finding)


async def examine_opencode(settings: Settings, tell: Tell, report_progress: ProgressCallback) -> None:
    """Run the checks that need OpenCode."""
    async with connected(settings, Catalog.from_snapshot()) as servers:
        for opencode in servers.clients.values():
            await examine_server(opencode, named(opencode.server.name, tell), report_progress)


async def examine_server(opencode: OpenCodeClient, tell: Tell, report_progress: ProgressCallback) -> None:
    """Run the checks of one server."""
    reached = await reach(opencode, report_progress)
    for finding in reached:
        tell(finding)
    if reached[-1].check != "version":
        skip(tell, f"OpenCode is not {reached[-1].check}")
        return
    for name, check in CHECKS.items():
        await report_progress(f"checking {name}")
        tell(await guarded(name, check, opencode))


def named(server: str | None, tell: Tell) -> Tell:
    """Return an `emit` that prefixes each check with the server's name."""
    if server is None:
        return tell
    return lambda finding: tell(replace(finding, check=f"{server}: {finding.check}"))


async def guarded(name: str, check: Check, opencode: OpenCodeClient) -> Finding:
    """Run a check; an error in it is a failed result."""
    try:
        return await check(opencode)
    except (OpenCodeError, httpx2.TransportError) as error:
        return Finding(name, "failed", to_one_line(str(error), 400), "see --log-level debug and OpenCode's log")


def skip(tell: Tell, reason: str) -> None:
    """Emit the checks as skipped."""
    for name in CHECKS:
        tell(Finding(name, "skipped", f"not checked, as {reason}"))
