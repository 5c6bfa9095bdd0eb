"""Checks of what a task needs: providers, a model, events, search; and of leftover worktrees."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from opencode_mcp.exceptions import APIError, OpenCodeError
from opencode_mcp.opencode import OpenCodeClient, execute
from opencode_mcp.opencode.models import Providers
from opencode_mcp.suggestions import suggest
from opencode_mcp.tasks.report import to_one_line

from .check_result import CheckResult

EVENT_SECONDS = 15.0
SEARCH_SECONDS = 30.0
UNMATCHED_PATTERN = "opencode-mcp doctor searches for a line that does not exist [0-9]{9}"

CONNECT_ADVICE = "connect one with `opencode auth login`, or configure it in opencode.json"


async def check_providers(opencode: OpenCodeClient) -> CheckResult:
    """Check that a provider has a model."""
    available = await opencode.call_as(Providers, "config_providers")
    models = {provider.id: len(provider.models) for provider in available.providers if provider.models}
    if not models:
        return CheckResult("providers", "failed", "no provider has a model", CONNECT_ADVICE)
    message = ", ".join(f"{name} ({count} model{'s' * (count > 1)})" for name, count in models.items())
    return CheckResult("providers", "ok", to_one_line(message), facts={"models": models})


async def check_model(opencode: OpenCodeClient) -> CheckResult:
    """Check the default model, and that its provider has it. The model is not called."""
    available = await opencode.call_as(Providers, "config_providers")
    models = [*available.models]
    if not models:
        return CheckResult("model", "failed", "no model is available", CONNECT_ADVICE)
    configured: str | None = (await opencode.call("config_get")).get("model")
    defaults = [f"{provider}/{name}" for provider, name in available.default.items()]
    if configured is None:
        usable = [name for name in defaults if name in models]
        if usable:
            message = f"none is configured; OpenCode uses the last one used, else {usable[0]}"
            return CheckResult("model", "ok", to_one_line(message), facts={"default": usable[0]})
        return CheckResult(
            "model", "failed", "none is configured, and OpenCode has no default", f"set `model`: {models[0]}"
        )
    if configured in models:
        return CheckResult("model", "ok", f"{configured}, as configured", facts={"default": configured})
    nearest = suggest(configured, models, 3)
    message = f"{configured!r} is configured, but no connected provider has it"
    return CheckResult(
        "model", "failed", message, f"change `model` in opencode.json (nearest: {nearest}), or connect its provider"
    )


async def check_events(opencode: OpenCodeClient) -> CheckResult:
    """Check that the event stream sends `server.connected`."""
    arguments = {"timeout_seconds": EVENT_SECONDS, "max_events": 1, "types": ["server.connected"]}
    operation = opencode.catalog[opencode.catalog.generation.event_stream]
    answer = await execute(opencode, opencode.prepare(operation, arguments))
    if answer.value["events"]:
        return CheckResult("events", "ok", "received (server.connected)")
    advice = (
        "does a proxy in front of OpenCode buffer event streams? Without events, changes of a task are noticed later"
    )
    return CheckResult("events", "failed", f"no server.connected within {EVENT_SECONDS:g} s", advice)


async def check_ripgrep(opencode: OpenCodeClient) -> CheckResult:
    """Check that the project can be searched."""
    if opencode.lacks_project:
        message, advice = "this directory is not a project", "run this in a project, or pass --directory"
        return CheckResult("ripgrep", "skipped", message, advice)
    try:
        with anyio.move_on_after(SEARCH_SECONDS):
            await opencode.call("find_text", pattern=UNMATCHED_PATTERN)
            return CheckResult("ripgrep", "ok", f"searches {opencode.directory or 'the directory of OpenCode'}")
    except APIError as error:
        advice = "install ripgrep (rg) on OpenCode's machine, on its PATH, and restart OpenCode"
        return CheckResult("ripgrep", "failed", f"searching fails (HTTP {error.status}); usually rg is missing", advice)
    message = f"no answer to a search within {SEARCH_SECONDS:g} s"
    return CheckResult("ripgrep", "warning", message, "is the project very large? Pass a smaller one with --directory")


async def check_worktrees(opencode: OpenCodeClient) -> CheckResult:
    """Count the project's worktrees: none is removed automatically, and its changes may exist nowhere else."""
    try:
        paths: list[str] = await opencode.call("worktree_list")
    except OpenCodeError as error:
        return CheckResult("worktrees", "warning", to_one_line(f"cannot be listed: {error}", 400), "see OpenCode's log")
    return worktrees_result(paths)


def worktrees_result(paths: Sequence[str]) -> CheckResult:
    """Return the result for the worktrees of a project."""
    if not paths:
        return CheckResult("worktrees", "ok", "none", facts={"worktrees": paths})
    message = f"{len(paths)} in this project: {', '.join(paths)}"
    advice = (
        "session_list names the task of each: collect_changes with apply and discard merges its changes and "
        "removes it; worktree_remove removes it with its changes"
    )
    return CheckResult("worktrees", "warning", to_one_line(message, 400), advice, facts={"worktrees": paths})
