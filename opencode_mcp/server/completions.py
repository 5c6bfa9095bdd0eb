"""Completion of what a person types for a template's variable or a prompt's argument."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import mcp_types as types
from mcp import MCPError

from opencode_mcp.opencode import OpenCode
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
"""The first question about a project takes OpenCode one or two; a person who types may wait that long."""

Complete = Callable[[OpenCode, str], Awaitable[list[str]]]


def matching(values: list[str], typed: str) -> list[str]:
    """Return the values that have what was typed in them; those that begin with it come first."""
    typed = typed.casefold()
    hits = [value for value in values if typed in value.casefold()]
    return sorted(hits, key=lambda value: not value.casefold().startswith(typed))


async def sessions(opencode: OpenCode, typed: str) -> list[str]:
    """Return the ids of sessions that have it in their id or their title, newest first."""
    listed = await newest_sessions(opencode, SEARCHED_SESSIONS)
    return [one.id for one in listed if typed.casefold() in f"{one.id}\n{one.title}".casefold()]


async def agents(opencode: OpenCode, typed: str) -> list[str]:
    """Return names of agents."""
    return matching([agent.name for agent in await visible_agents(opencode)], typed)


async def models(opencode: OpenCode, typed: str) -> list[str]:
    """Return models as provider/model."""
    return matching([*(await opencode.call_as(Providers, "config_providers")).models], typed)


async def files(opencode: OpenCode, typed: str) -> list[str]:
    """Return paths below the project's directory, by OpenCode's own fuzzy search."""
    return await opencode.call("find_files", query=typed, type="file", limit=MAX_VALUES + 1)


VARIABLES: Mapping[str, Complete] = {"id": sessions, "path": files}
"""By the variable's name. `name` needs no OpenCode, see below."""

ARGUMENTS: Mapping[str, Complete] = {"session_id": sessions, "agent": agents, "model": models}
"""By the name of our prompts' arguments; what OpenCode's commands take is anything."""


async def complete(context: RequestContext, params: types.CompleteRequestParams) -> types.CompleteResult:
    """Complete what was typed. An OpenCode that does not run or answer gives no values.

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
