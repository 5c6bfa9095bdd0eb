"""All checks in order; those that need OpenCode run once it is reachable."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

import httpx2

from opencode_mcp.catalog import Catalog
from opencode_mcp.connect import connect, find_generation
from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient, ProgressCallback
from opencode_mcp.settings import Settings
from opencode_mcp.tasks.report import to_one_line

from .capabilities import (
    check_events,
    check_model,
    check_providers,
    check_ripgrep,
    check_worktrees,
)
from .capabilities2 import check_default_model, check_import, check_models, check_project_worktrees
from .check_result import CheckResult
from .config_files import report_config_files
from .connection import check_connection, check_program
from .data import check_data
from .drift import check_document
from .registrations import check_registrations
from .sharing import CLIENT_NAME, check_sharing

Check = Callable[[OpenCodeClient], Awaitable[CheckResult]]
Emit = Callable[[CheckResult], None]

CHECKS: Mapping[int, Mapping[str, Check]] = {
    1: {
        "document": check_document,
        "providers": check_providers,
        "model": check_model,
        "events": check_events,
        "ripgrep": check_ripgrep,
        "worktrees": check_worktrees,
    },
    2: {
        "document": check_document,
        "import": check_import,
        "providers": check_models,
        "model": check_default_model,
        "events": check_events,
        "worktrees": check_project_worktrees,
    },
}
"""By generation."""


async def run_checks(settings: Settings, port_number: int, emit: Emit, report_progress: ProgressCallback) -> None:
    """Emit every result as soon as it is known."""
    if settings.files:
        emit(report_config_files(settings))
    result = await check_program(settings, report_progress)
    emit(result)
    if not settings.urls:
        emit(check_data(settings))
    generation = await find_generation(settings)
    if result.state == "failed":
        skip_checks(emit, CHECKS[generation], "OpenCode was not found")
    else:
        await check_opencode(settings, Catalog.from_snapshot(generation), emit, report_progress)
    emit(check_port(port_number))
    for registration in check_registrations(settings):
        emit(registration)


async def check_opencode(settings: Settings, catalog: Catalog, emit: Emit, report_progress: ProgressCallback) -> None:
    """Run the checks that need OpenCode."""
    async with connect(settings, catalog) as servers:
        for opencode in servers.clients.values():
            opencode.server.publish(client=CLIENT_NAME, directory=opencode.directory or "")
            await check_server(opencode, with_server_name(opencode.server.name, emit), report_progress)
        emit(await check_sharing(settings))


async def check_server(opencode: OpenCodeClient, emit: Emit, report_progress: ProgressCallback) -> None:
    """Run the checks of one server."""
    checks = CHECKS[opencode.catalog.generation.number]
    results = await check_connection(opencode, report_progress)
    for result in results:
        emit(result)
    if results[-1].check != "version":
        skip_checks(emit, checks, f"OpenCode is not {results[-1].check}")
        return
    for name, check in checks.items():
        await report_progress(f"checking {name}")
        emit(await run_check(name, check, opencode))


def with_server_name(server: str | None, emit: Emit) -> Emit:
    """Return an `emit` that prefixes each check with the server's name."""
    if server is None:
        return emit
    return lambda result: emit(replace(result, check=f"{server}: {result.check}"))


async def run_check(name: str, check: Check, opencode: OpenCodeClient) -> CheckResult:
    """Run a check; an error in it is a failed result."""
    try:
        return await check(opencode)
    except (OpenCodeError, httpx2.TransportError) as error:
        return CheckResult(name, "failed", to_one_line(str(error), 400), "see --log-level debug and OpenCode's log")


def skip_checks(emit: Emit, checks: Iterable[str], reason: str) -> None:
    """Emit the checks as skipped."""
    for name in checks:
        emit(CheckResult(name, "skipped", f"not checked, as {reason}"))


def check_port(number: int) -> CheckResult:
    """Check that `opencode-mcp http` could listen on a port."""
    try:
        socket.create_server(("127.0.0.1", number)).close()
    except OSError as error:
        message = f"{number} is not available ({error.strerror})"
        advice = "`opencode-mcp http` may be running there already; otherwise use --port"
        return CheckResult("port", "warning", message, advice, {"port": number})
    return CheckResult("port", "ok", f"{number} is free for `opencode-mcp http`", facts={"port": number})
