"""Completion of template variables and prompt arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import mcp_types as types
from mcp import MCPError

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Providers

from .contents import newest_sessions, visible_agents
from .lifespan import RequestContext
from .prompts import OWN_PROMPTS
from .resources import READABLES
from .running import ask_running

MAX_VALUES = 100
"""The protocol's limit."""

SEARCHED_SESSIONS = 500

COMPLETE_SECONDS = 5.0
"""OpenCode's first answer for a project takes 1 to 2 s, which a user can wait while typing."""

Complete = Callable[[OpenCodeClient, str], Awaitable[list[str]]]


def matching(values: list[str], typed: str) -> list[str]:
    """Return the values that contain the typed text; those that start with it come first."""
    typed = typed.casefold()
    hits = [value for value in values if typed in value.casefold()]
    return sorted(hits, key=lambda value: not value.casefold().startswith(typed))


async def sessions(opencode: OpenCodeClient, typed: str) -> list[str]:
    """Return the ids of sessions with the typed text in their id or title, newest first."""
    listed = await newest_sessions(opencode, SEARCHED_SESSIONS)
    return [session.id for session in listed if typed.casefold() in f"{session.id}\n{session.title}".casefold()]


async def agents(opencode: OpenCodeClient, typed: str) -> list[str]:
    """Return names of agents."""
    return matching([agent.name for agent in await visible_agents(opencode)], typed)


async def models(opencode: OpenCodeClient, typed: str) -> list[str]:
    """Return models as provider/model."""
    return matching([*(await opencode.call_as(Providers, "config_providers")).models], typed)


async def files(opencode: OpenCodeClient, typed: str) -> list[str]:
    """Return paths below the project's directory, by OpenCode's own fuzzy search."""
    return await opencode.call("find_files", query=typed, type="file", limit=MAX_VALUES + 1)


VARIABLES: Mapping[str, Complete] = {"id": sessions, "path": files}
"""By the variable's name. `name` needs no OpenCode, see below."""

ARGUMENTS: Mapping[str, Complete] = {"session_id": sessions, "agent": agents, "model": models}
"""By the argument name of the built-in prompts; the arguments of OpenCode's commands are free text."""


async def complete(context: RequestContext, params: types.CompleteRequestParams) -> types.CompleteResult:
    """Complete the typed text. Without an answer from a running OpenCode there are no values.

    Raises:
        MCPError: there is no such template.
    """
    opencode, name, typed = context.lifespan_context.servers.default, params.argument.name, params.argument.value
    if isinstance(params.ref, types.ResourceTemplateReference):
        uri = params.ref.uri
        if not any(name in one.uri.variable_names for one in READABLES if one.uri.template == uri):
            raise MCPError(types.INVALID_PARAMS, f"No template {uri} with a variable {name!r}")
        if name == "name":
            return completion(matching(list(opencode.catalog), typed))
        complete_one = VARIABLES.get(name)
    else:
        complete_one = ARGUMENTS.get(name) if params.ref.name in OWN_PROMPTS else None
    if complete_one is None:
        return completion([])
    values = await ask_running(opencode, lambda one: complete_one(one, typed), COMPLETE_SECONDS)
    return completion(values or [])


def completion(values: list[str]) -> types.CompleteResult:
    """Return as many values as the protocol allows, and whether there are more."""
    has_more = len(values) > MAX_VALUES
    return types.CompleteResult(completion=types.Completion(values=values[:MAX_VALUES], has_more=has_more))
