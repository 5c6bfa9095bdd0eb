"""Checks of the connection: program, address, password and version."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from functools import partial

import httpx2

from opencode_mcp.catalog.generations import GENERATIONS
from opencode_mcp.catalog.versions import is_older
from opencode_mcp.connect import choose_program
from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.openapi.snapshots import SNAPSHOT_2_VERSION
from opencode_mcp.opencode import Endpoint, OpenCodeClient, ProgressCallback
from opencode_mcp.opencode.engine import TRAITS
from opencode_mcp.opencode.process.executable import which
from opencode_mcp.opencode.process.service import Service
from opencode_mcp.opencode.transport import describe_tls_error
from opencode_mcp.opencode.version_check import detect_version, is_web_page
from opencode_mcp.settings import Settings
from opencode_mcp.tasks.report import to_one_line

from .check_result import CheckResult

CHECK_TIMEOUT_SECONDS = 10.0


async def check_program(settings: Settings, report_progress: ProgressCallback) -> CheckResult:
    """Check which OpenCode is used; it is installed if necessary."""
    if settings.urls:
        addresses = ", ".join(display_url(httpx2.URL(url)) for url in settings.urls.values())
        flag = "--url" if settings.url else "--server"
        return CheckResult("opencode", "ok", f"the server at {addresses} ({flag}); none is started")
    try:
        program = await choose_program(settings).choose(report_progress)
    except ServerStartError as error:
        return CheckResult("opencode", "failed", "not found", to_one_line(str(error), 600))
    if isinstance(program, Service):
        facts = {"version": program.version}
        return CheckResult("opencode", "ok", f"{program.describe()}; none is started", facts=facts)
    path = which(program.command[0], settings.environ)
    if path is None:
        advice = "correct it, or omit it to use `opencode` on PATH or a copy from npm"
        return CheckResult("opencode", "failed", f"--command: program {program.command[0]!r} not found", advice)
    origin = "--command" if settings.command else "a copy from npm" if program.is_own_copy else "on PATH"
    facts = {"path": path, "version": program.version}
    if program.note:
        return CheckResult("opencode", "warning", program.note, f"`{GENERATIONS[1].update}`", facts)
    return CheckResult("opencode", "ok", f"{path} ({origin})", facts=facts)


async def check_connection(opencode: OpenCodeClient, report_progress: ProgressCallback) -> list[CheckResult]:
    """Connect, starting OpenCode unless there is a --url; the checks continue if the last result is `version`."""
    started = time.monotonic()
    try:
        endpoint = await opencode.server.endpoint(report_progress)
    except ServerStartError as error:
        advice = "run `opencode serve` in that directory for details; --command selects another OpenCode"
        return [CheckResult("reachable", "failed", to_one_line(str(error), 600), advice)]
    address = display_url(endpoint.url)
    try:
        response = await fetch(opencode, endpoint, opencode.catalog.generation.snapshot.version_path)
        reachable = CheckResult("reachable", "ok", f"{address} answers ({time.monotonic() - started:.1f} s)")
        if response.status_code == 401:
            return [reachable, authentication_failure(opencode, endpoint)]
        expected = opencode.expected
        detected = await detect_version(partial(fetch, opencode, endpoint), expected.generation.number)
        if not expected.accepts(detected.major):
            message = f"{address} is OpenCode {detected.version or detected.major}, {expected.generation.mismatch}"
            return [CheckResult("reachable", "failed", message, expected.advise(detected.major))]
        if detected.version is not None:
            checked = VERSION_CHECKS[expected.generation.number](detected.version)
            return [reachable, await check_authentication(opencode, endpoint), checked]
        if detected.major is not None:
            message = f"{address} is OpenCode {detected.major}, and does not say its version"
            advice = "is it starting? Try again in some seconds. A beta of OpenCode 2 is not supported"
            return [CheckResult("reachable", "failed", message, advice)]
        return [not_opencode(address, response)]
    except httpx2.TransportError as error:
        return [connection_failure(address, error)]


async def fetch(opencode: OpenCodeClient, endpoint: Endpoint, path: str, authenticate: bool = True) -> httpx2.Response:
    """GET a path of the server; any status is returned."""
    url = endpoint.base_url + path
    return await opencode.http.get(url, auth=endpoint.auth if authenticate else None, timeout=CHECK_TIMEOUT_SECONDS)


def connection_failure(address: str, error: httpx2.TransportError) -> CheckResult:
    """Return the result for a transport error: timeout, TLS, unknown host, refused, or broken connection."""
    if isinstance(error, httpx2.TimeoutException):
        message, advice = (
            f"no answer within {CHECK_TIMEOUT_SECONDS:g} s",
            "is it busy, or behind a firewall? Is the host right?",
        )
    elif problem := describe_tls_error(error):
        message, advice = (
            f"TLS fails: {problem}",
            "check the certificate, or use http:// if the server does not speak TLS",
        )
    elif is_unknown_host(error):
        message, advice = "unknown host", "is --url spelled right?"
    elif isinstance(error, httpx2.ConnectError):
        message = f"the connection is refused ({to_one_line(str(error)) or type(error).__name__})"
        advice = "is `opencode serve` running there? Is the port right? Without --url, OpenCode is started"
    else:
        message, advice = (
            f"it does not speak HTTP ({to_one_line(str(error)) or type(error).__name__})",
            "is the port right?",
        )
    return CheckResult("reachable", "failed", f"{address}: {message}", advice)


def is_unknown_host(error: BaseException | None) -> bool:
    """Whether a connection failed because the host name has no address."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False


def authentication_failure(opencode: OpenCodeClient, endpoint: Endpoint) -> CheckResult:
    """Return the result for HTTP 401: a wrong password, or a missing one."""
    message = (
        "no password is set" if endpoint.password is None else f"user {endpoint.username!r}, wrong password or name"
    )
    return CheckResult(
        "authorised",
        "failed",
        f"HTTP 401: {message}",
        f"set {opencode.catalog.generation.credential_variables} to the values that the server was started with",
    )


async def check_authentication(opencode: OpenCodeClient, endpoint: Endpoint) -> CheckResult:
    """Check that the server rejects requests without a password."""
    if endpoint.password is not None:
        path = opencode.catalog.generation.snapshot.version_path
        response = await fetch(opencode, endpoint, path, authenticate=False)
        if response.status_code == 401:
            return CheckResult("authorised", "ok", f"as {endpoint.username!r}, with the password")
    advice = f"start it with {opencode.catalog.generation.credential_variables}, and set the same values here"
    return CheckResult(
        "authorised", "warning", "it requires no password: anyone who reaches it can run commands", advice
    )


def check_version_1(version: str) -> CheckResult:
    """Check whether this version of OpenCode 1 is the tested one."""
    facts = {"version": version, "tested": SNAPSHOT_VERSION}
    if version == SNAPSHOT_VERSION:
        return CheckResult("version", "ok", f"{version}, the tested version", facts=facts)
    message = f"{version}; the tested version is {SNAPSHOT_VERSION}, the oldest supported one {TRAITS[1].min_version}"
    untested = CheckResult(
        "version", "warning", message, f"if something does not work: `{GENERATIONS[1].update}`", facts
    )
    return check_oldest(1, version, facts) or untested


def check_version_2(version: str) -> CheckResult:
    """Name the version of OpenCode 2 beside the one whose API the tools are made from."""
    message = f"{version}; the tools are those of {SNAPSHOT_2_VERSION}'s API"
    facts = {"version": version, "described": SNAPSHOT_2_VERSION}
    return check_oldest(2, version, facts) or CheckResult("version", "ok", message, facts=facts)


def check_oldest(generation: int, version: str, facts: Mapping[str, str]) -> CheckResult | None:
    """Return the warning about a version that is too old for tasks."""
    oldest = TRAITS[generation].min_version
    if not is_older(version, oldest):
        return None
    message = f"{version}: the task tools (such as run_task) need {oldest}; plain operations work"
    update = f"`{GENERATIONS[generation].update}`"
    return CheckResult("version", "warning", message, update, {**facts, "oldest": oldest})


VERSION_CHECKS: Mapping[int, Callable[[str], CheckResult]] = {1: check_version_1, 2: check_version_2}
"""By generation."""


def not_opencode(address: str, response: httpx2.Response) -> CheckResult:
    """Return the result for a server that is not OpenCode."""
    if is_web_page(response):
        advice = "is --url OpenCode's own address? A proxy or a login page answers like this"
        return CheckResult("reachable", "failed", f"{address} returns a web page instead of OpenCode's JSON", advice)
    if 300 <= response.status_code < 400:
        target = to_one_line(response.headers.get("location", ""))
        return CheckResult("reachable", "failed", f"{address} redirects to {target!r}", "set --url to that address")
    excerpt = to_one_line(response.text, 120)
    message = f"{address} is not OpenCode: HTTP {response.status_code} {excerpt!r} at {response.url.path}"
    return CheckResult(
        "reachable", "failed", message, "is --url OpenCode's own address, and not a proxy that cannot reach it?"
    )


def display_url(url: httpx2.URL) -> str:
    """Return an address without user name and password."""
    return str(url.copy_with(username=None, password=None)).rstrip("/")
