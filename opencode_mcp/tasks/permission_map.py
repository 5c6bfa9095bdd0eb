"""The permissions of a task as a map, as OpenCode's configuration writes them, and the rules that it makes.

tool -> action, or pattern -> action; a rule without effect is refused, as its author relies on it
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import EngineTraits, engine_of
from opencode_mcp.opencode.models import PermissionRule
from opencode_mcp.suggestions import did_you_mean

from .agent_rules import Action, action_of, matches
from .metadata import Permissions

ANY = "*"

Pattern = Annotated[str, Field(min_length=1)]
PermissionMap = Annotated[
    dict[Pattern, Action | Annotated[dict[Pattern, Action], Field(min_length=1)]], Field(min_length=1)
]
"""Tool -> action, or pattern -> action."""


def describe_contradiction(rules: Sequence[PermissionRule], traits: EngineTraits) -> str | None:
    """Say why rules cannot hold for subagents that they allow; None if they can, or allow none."""
    allows = any(rule.permission == traits.subagent and rule.action != "deny" for rule in rules)
    if not traits.subagents_ask and allows and asks_for_tool(rules, traits.subagent):
        return f"`ask` does not hold for subagents, so `{traits.subagent}` must be denied where another tool asks"
    return None


def make_rules_of_map(tools: PermissionMap) -> tuple[PermissionRule, ...]:
    """Return the rules of a map, of which the last one that matches decides.

    They are in the order of the map, with `*` first: it is what holds where nothing else matches.
    """
    return tuple(
        PermissionRule(permission=tool, pattern=pattern, action=action)
        for tool, value in any_first(tools.items())
        for pattern, action in any_first(({ANY: value} if isinstance(value, str) else value).items())
    )


def any_first(items: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return items in their order, with that of `*` first."""
    return sorted(items, key=lambda item: item[0] != ANY)


def asks_for_tool(rules: Sequence[PermissionRule], subagent: str) -> bool:
    """Whether rules ask for more than whether a subagent may start."""
    return any(rule.action == "ask" and rule.permission != subagent for rule in rules)


def close_to_subagents(rules: Sequence[PermissionRule], traits: EngineTraits) -> list[PermissionRule]:
    """Return rules that deny subagents if they ask, where a subagent would not have to ask."""
    denial = PermissionRule(permission=traits.subagent, pattern=ANY, action="deny")
    return [*rules, *([denial] if asks_for_tool(rules, traits.subagent) and not traits.subagents_ask else [])]


def restrict(tool: str, agent_rules: Sequence[PermissionRule], rules: Sequence[PermissionRule]) -> list[PermissionRule]:
    """Return an agent's rules for one tool with those of a map: these may ask, deny, and allow what the agent asks for.

    What the agent denies stays denied. Where patterns overlap, more may be denied than either says.
    """
    own = [rule for rule in rules if matches(rule.permission, tool)]
    restricted = [*agent_rules]
    for rule in own:
        bases = agent_rules
        if rule.pattern != ANY:
            action = action_of(agent_rules, tool, rule.pattern)
            bases = [PermissionRule(permission=tool, pattern=rule.pattern, action=action)]
        restricted += [
            base.model_copy(update={"action": "deny" if base.action == "deny" else rule.action}) for base in bases
        ]
    return restricted + [rule for rule in agent_rules if own and rule.action == "deny" and rule.pattern != ANY]


async def check_map(
    opencode: OpenCodeClient, directory: str | None, permissions: Permissions | PermissionMap | None
) -> None:
    """Check that OpenCode would apply each rule of a map; a policy has none.

    Raises:
        WorkflowError: OpenCode knows no tool of this name, or subagents would not ask.
    """
    if not isinstance(permissions, dict):
        return
    traits = engine_of(opencode).traits
    if message := describe_contradiction(make_rules_of_map(permissions), traits):
        raise WorkflowError(f"permissions: {message}; nothing was sent")
    if ignored := next((name for name in permissions if name in traits.decided_by), None):
        known = traits.decided_by[ignored]
        raise WorkflowError(f"permissions: {ignored!r} has the rules of `{known}`; nothing was sent")
    others = [name for name in permissions if not any(matches(name, known) for known in traits.permissions)]
    if others:
        await check_other_tools(opencode, directory, others)


async def check_other_tools(opencode: OpenCodeClient, directory: str | None, names: Sequence[str]) -> None:
    """Check that names, which may have wildcards, are those of tools of plugins or MCP servers.

    Raises:
        WorkflowError: OpenCode knows no tool of this name.
    """
    engine = engine_of(opencode)
    tool_names, servers = await engine.list_tool_names(directory)
    tools = tool_names - engine.traits.decided_by.keys()
    prefixes = [f"{re.sub('[^a-zA-Z0-9_-]', '_', server)}_" for server in servers]
    for name in names:
        if not (any(matches(name, tool) for tool in tools) or any(may_match(name, prefix) for prefix in prefixes)):
            meant = (
                did_you_mean(name, sorted({*engine.traits.permissions, *tools})) or f"see {engine.traits.lists_tools}"
            )
            raise WorkflowError(f"permissions: OpenCode knows no tool {name!r}, {meant}; nothing was sent")


def may_match(name: str, prefix: str) -> bool:
    """Whether a tool's name, or one with wildcards, can be that of a tool of an MCP server, which begins so."""
    literal = re.split("[*?]", name, maxsplit=1)[0]
    return literal.startswith(prefix) or (literal != name and prefix.startswith(literal))
