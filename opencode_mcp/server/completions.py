"""Completion of template variables and prompt arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import mcp_types as types
from mcp.shared.exceptions import MCPError

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.server.resources.handlers import RESOURCES
from opencode_mcp.server.resources.readers import newest_sessions, visible_agents

from .if_running import call_if_running
from .lifespan import RequestContext
from .prompts import BUILT_IN_PROMPTS

MAX_VALUES = 100
"""The protocol's limit."""

SEARCHED_SESSIONS = 500

COMPLETE_SECONDS = 5.0
"""OpenCode's first answer for a project takes 1 to 2 s, which a user can wait while typing."""

Completer = Callable[[OpenCodeClient, str], Awaitable[list[str]]]


def match_values(values: list[str], typed: str) -> list[str]:
    """Return the values that contain the typed text; those that start with it come first."""
    typed = typed.casefold()
    hits = [value for value in values if typed in value.casefold()]
    return sorted(hits, key=lambda value: not value.casefold().startswith(typed))


async def complete_sessions(opencode: OpenCodeClient, typed: str) -> list[str]:
    """Return the ids of sessions with the typed text in their id or title, newest first."""
    listed = await newest_sessions(opencode, SEARCHED_SESSIONS)
    return [session.id for session in listed if typed.casefold() in f"{session.id}\n{session.title}".casefold()]


async def complete_agents(opencode: OpenCodeClient, typed: str) -> list[str]:
    """Return names of agents."""
    return match_values([agent.name for agent in await visible_agents(opencode)], typed)


async def complete_models(opencode: OpenCodeClient, typed: str) -> list[str]:
    """Return models as provider/model."""
    return match_values([*await engine_of(opencode).list_models(None)], typed)


async def complete_files(opencode: OpenCodeClient, typed: str) -> list[str]:
    """Return paths below the project's directory, by OpenCode's own fuzzy search."""
    return await engine_of(opencode).find_files(typed, MAX_VALUES + 1)


VARIABLE_COMPLETERS: Mapping[str, Completer] = {"id": complete_sessions, "path": complete_files}
"""By the variable's name; `complete` itself completes `name`, from the catalog."""

ARGUMENT_COMPLETERS: Mapping[str, Completer] = {
    "session_id": complete_sessions,
    "agent": complete_agents,
    "model": complete_models,
}
"""By the argument name of the built-in prompts; the arguments of OpenCode's commands are free text."""


async def complete(context: RequestContext, params: types.CompleteRequestParams) -> types.CompleteResult:
    """Complete the typed text. Without an answer from a running OpenCode the list is empty.

    Raises:
        MCPError: no resource template has this URI and variable.
    """
    opencode, name, typed = context.lifespan_context.servers.default, params.argument.name, params.argument.value
    if isinstance(params.ref, types.ResourceTemplateReference):
        uri = params.ref.uri
        if not any(name in definition.uri.variable_names for definition in RESOURCES if definition.uri.template == uri):
            raise MCPError(types.INVALID_PARAMS, f"No template {uri} with a variable {name!r}")
        if name == "name":
            return completion_result(match_values(list(opencode.catalog), typed))
        completer = VARIABLE_COMPLETERS.get(name)
    else:
        completer = ARGUMENT_COMPLETERS.get(name) if params.ref.name in BUILT_IN_PROMPTS else None
    if completer is None:
        return completion_result([])
    values = await call_if_running(opencode, lambda client: completer(client, typed), COMPLETE_SECONDS)
    return completion_result(values or [])


def completion_result(values: list[str]) -> types.CompleteResult:
    """Return as many values as the protocol allows, and whether there are more."""
    has_more = len(values) > MAX_VALUES
    return types.CompleteResult(completion=types.Completion(values=values[:MAX_VALUES], has_more=has_more))
