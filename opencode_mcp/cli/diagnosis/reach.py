"""Is there an OpenCode, does it answer, and does it let us in?"""

from __future__ import annotations

import shutil
import socket
import time
from typing import Any, cast

import httpx2

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode import Endpoint, OpenCode, Report
from opencode_mcp.opencode.install import cache_folder, find
from opencode_mcp.opencode.tls import tls_problem
from opencode_mcp.settings import Settings
from opencode_mcp.workflows.report import one_line

from .finding import Finding

ANSWER_SECONDS = 10.0
START_V1 = f"give --url an OpenCode 1.x (opencode-ai@{SNAPSHOT_VERSION} is tested), or leave it out to start one"
PASSWORD = "OPENCODE_SERVER_PASSWORD (and OPENCODE_SERVER_USERNAME)"


async def found(settings: Settings, report: Report) -> Finding:
    """Say which OpenCode is used; it is fetched here if it has to be."""
    if settings.urls:
        where = ", ".join(shown(httpx2.URL(url)) for url in settings.urls.values())
        flag = "--url" if settings.url else "--server"
        return Finding("opencode", "ok", f"the one at {where} ({flag}), none is started")
    try:
        program = await find(settings.command_line, cache_folder(settings.environ), settings.environ, report)
    except ServerStartError as error:
        return Finding("opencode", "failed", "not found", one_line(str(error), 600))
    path = shutil.which(program.command[0], path=settings.environ.get("PATH"))
    if path is None:
        advice = "correct it, or leave it out to use `opencode` on PATH or a copy from npm"
        return Finding("opencode", "failed", f"--command: there is no program {program.command[0]!r}", advice)
    origin = "--command" if settings.command else "a copy from npm" if program.path else "on PATH"
    return Finding("opencode", "ok", f"{path} ({origin})", facts={"path": path})


async def reach(opencode: OpenCode, report: Report) -> list[Finding]:
    """Connect, starting OpenCode if that is ours to do; the last finding tells whether to go on."""
    begun = time.monotonic()
    try:
        endpoint = await opencode.server.endpoint(report)
    except ServerStartError as error:
        advice = "run `opencode serve` in that directory to see more; --command chooses another OpenCode"
        return [Finding("reachable", "failed", one_line(str(error), 600), advice)]
    where = shown(endpoint.url)
    try:
        response = await get(opencode, endpoint, "/global/health")
        reachable = Finding("reachable", "ok", f"{where} answers ({time.monotonic() - begun:.1f} s)")
        if response.status_code == 401:
            return [reachable, refused(endpoint)]
        health = json_object(response)
        if response.status_code == 200 and isinstance(health.get("version"), str):
            return [reachable, await admitted(opencode, endpoint), tested(health["version"])]
        return [await stranger(opencode, endpoint, response)]
    except httpx2.TransportError as error:
        return [unreachable(where, error)]


async def get(opencode: OpenCode, endpoint: Endpoint, path: str, admit: bool = True) -> httpx2.Response:
    """Read what a path of the server gives, whatever that is."""
    url = endpoint.base + path
    return await opencode.http.get(url, auth=endpoint.auth if admit else None, timeout=ANSWER_SECONDS)


def unreachable(where: str, error: httpx2.TransportError) -> Finding:
    """Tell a refused connection from one that does not come about and one that breaks."""
    if isinstance(error, httpx2.TimeoutException):
        said, advice = f"no answer within {ANSWER_SECONDS:g} s", "is it busy, or behind a firewall? Is the host right?"
    elif problem := tls_problem(error):
        said, advice = f"TLS fails: {problem}", "the address is right where it speaks TLS; check the certificate"
    elif is_unknown_host(error):
        said, advice = "there is no host of that name", "is --url spelled right?"
    elif isinstance(error, httpx2.ConnectError):
        said = f"the connection is refused ({one_line(str(error)) or type(error).__name__})"
        advice = "is `opencode serve` running there? Is the port right? Without --url one is started"
    else:
        said, advice = f"it does not speak HTTP ({one_line(str(error)) or type(error).__name__})", "is the port right?"
    return Finding("reachable", "failed", f"{where}: {said}", advice)


def is_unknown_host(error: BaseException | None) -> bool:
    """Whether a connection failed for want of an address."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False


def refused(endpoint: Endpoint) -> Finding:
    """Tell a wrong password from a missing one."""
    said = (
        "no password was given" if endpoint.password is None else f"user {endpoint.username!r}, wrong password or name"
    )
    return Finding("authorised", "failed", f"HTTP 401: {said}", f"set {PASSWORD} to those that it was started with")


async def admitted(opencode: OpenCode, endpoint: Endpoint) -> Finding:
    """Tell a server that is protected from one that lets anybody in."""
    if endpoint.password is not None:
        response = await get(opencode, endpoint, "/global/health", admit=False)
        if response.status_code == 401:
            return Finding("authorised", "ok", f"as {endpoint.username!r}, with the password")
    advice = f"start it with {PASSWORD}, and give the same here"
    return Finding("authorised", "warning", "it asks for no password: who reaches it can run commands", advice)


def tested(version: str) -> Finding:
    """Say whether the tests ran with this version."""
    facts = {"version": version, "tested": SNAPSHOT_VERSION}
    if version == SNAPSHOT_VERSION:
        return Finding("version", "ok", f"{version}, the tested one", facts=facts)
    advice = f"`npm install -g opencode-ai@{SNAPSHOT_VERSION}` should something not work"
    return Finding("version", "warning", f"{version}, tested is {SNAPSHOT_VERSION}", advice, facts)


async def stranger(opencode: OpenCode, endpoint: Endpoint, response: httpx2.Response) -> Finding:
    """Say what answers in OpenCode's place."""
    where = shown(endpoint.url)
    if is_page(response):
        second = await get(opencode, endpoint, "/api/health")
        if "healthy" in json_object(second) or "_tag" in json_object(second):
            said = f"{where} is an OpenCode V2 server, with routes only under /api, and this speaks to V1"
            return Finding("reachable", "failed", said, START_V1)
        advice = "is --url OpenCode's own address? A proxy, a login page and a very old OpenCode look like this"
        return Finding("reachable", "failed", f"{where} gives a web page instead of OpenCode's JSON", advice)
    if 300 <= response.status_code < 400:
        target = one_line(response.headers.get("location", ""))
        return Finding("reachable", "failed", f"{where} redirects to {target!r}", "give --url the address behind it")
    said = f"{where} is no OpenCode: HTTP {response.status_code} {one_line(response.text, 120)!r} at /global/health"
    return Finding(
        "reachable", "failed", said, "is --url OpenCode's own address, and not a proxy that cannot reach it?"
    )


def is_page(response: httpx2.Response) -> bool:
    """Whether an answer is a web page."""
    return response.headers.get("content-type", "").startswith("text/html")


def json_object(response: httpx2.Response) -> dict[str, Any]:
    """Return an answer's JSON object, {} when it is none."""
    try:
        value = response.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def shown(url: httpx2.URL) -> str:
    """Return an address without the password that may be in it."""
    return str(url.copy_with(username=None, password=None)).rstrip("/")
