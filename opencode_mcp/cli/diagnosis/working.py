"""Checks of what a task needs: providers, a model, events, search; and of leftover worktrees."""

from __future__ import annotations

import anyio

from opencode_mcp.exceptions import APIError, OpenCodeError
from opencode_mcp.opencode import OpenCodeClient, execute
from opencode_mcp.opencode.models import Providers
from opencode_mcp.suggestions import suggest
from opencode_mcp.workflows.report import to_one_line

from .finding import Finding

EVENT_SECONDS = 15.0
SEARCH_SECONDS = 30.0
RARE = "opencode-mcp doctor searches for a line that does not exist [0-9]{9}"

CONNECT = "connect one with `opencode auth login`, or configure it in opencode.json"


async def providers(opencode: OpenCodeClient) -> Finding:
    """Check that a provider has a model."""
    known = await opencode.call_as(Providers, "config_providers")
    models = {provider.id: len(provider.models) for provider in known.providers if provider.models}
    if not models:
        return Finding("providers", "failed", "no provider has a model", CONNECT)
    message = ", ".join(f"{name} ({count} model{'s' * (count > 1)})" for name, count in models.items())
    return Finding("providers", "ok", to_one_line(message), facts={"models": models})


async def model(opencode: OpenCodeClient) -> Finding:
    """Check the default model, and that its provider has it. The model is not called."""
    connected = await opencode.call_as(Providers, "config_providers")
    known = [*connected.models]
    if not known:
        return Finding("model", "failed", "no model is available", CONNECT)
    configured: str | None = (await opencode.call("config_get")).get("model")
    defaults = [f"{provider}/{name}" for provider, name in connected.default.items()]
    if configured is None:
        usable = [name for name in defaults if name in known]
        if usable:
            message = f"none is configured; OpenCode uses the last one used, else {usable[0]}"
            return Finding("model", "ok", to_one_line(message), facts={"default": usable[0]})
        return Finding("model", "failed", "none is configured, and OpenCode has no default", f"set `model`: {known[0]}")
    if configured in known:
        return Finding("model", "ok", f"{configured}, as configured", facts={"default": configured})
    nearest = suggest(configured, known, 3)
    message = f"{configured!r} is configured, but no connected provider has it"
    return Finding(
        "model", "failed", message, f"change `model` in opencode.json (nearest: {nearest}), or connect its provider"
    )


async def events(opencode: OpenCodeClient) -> Finding:
    """Check that the event stream sends `server.connected`."""
    arguments = {"timeout_seconds": EVENT_SECONDS, "max_events": 1, "types": ["server.connected"]}
    answer = await execute(opencode, opencode.prepare(opencode.catalog["global_event"], arguments))
    if answer.value["events"]:
        return Finding("events", "ok", "received (server.connected)")
    advice = (
        "does a proxy in front of OpenCode buffer event streams? Without events, changes of a task are noticed later"
    )
    return Finding("events", "failed", f"no server.connected within {EVENT_SECONDS:g} s", advice)


async def ripgrep(opencode: OpenCodeClient) -> Finding:
    """Check that the project can be searched."""
    if opencode.lacks_project:
        message, advice = "this directory is not a project", "run this in a project, or pass --directory"
        return Finding("ripgrep", "skipped", message, advice)
    try:
        with anyio.move_on_after(SEARCH_SECONDS):
            await opencode.call("find_text", pattern=RARE)
            return Finding("ripgrep", "ok", f"searches {opencode.directory or 'the directory of OpenCode'}")
    except APIError as error:
        advice = "install ripgrep (rg) on OpenCode's machine, on its PATH, and restart OpenCode"
        return Finding("ripgrep", "failed", f"searching fails (HTTP {error.status}); usually rg is missing", advice)
    message = f"no answer to a search within {SEARCH_SECONDS:g} s"
    return Finding("ripgrep", "warning", message, "is the project very large? Pass a smaller one with --directory")


async def worktrees(opencode: OpenCodeClient) -> Finding:
    """Count the project's worktrees: none is removed automatically, and its changes may exist nowhere else."""
    try:
        left: list[str] = await opencode.call("worktree_list")
    except OpenCodeError as error:
        return Finding("worktrees", "warning", to_one_line(f"cannot be listed: {error}", 400), "see OpenCode's log")
    if not left:
        return Finding("worktrees", "ok", "none", facts={"worktrees": left})
    message = f"{len(left)} in this project: {', '.join(left)}"
    advice = (
        "session_list names the task of each: collect_changes with apply and discard merges its changes and "
        "removes it; worktree_remove removes it with its changes"
    )
    return Finding("worktrees", "warning", to_one_line(message, 400), advice, facts={"worktrees": left})
