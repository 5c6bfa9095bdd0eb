"""The permission rules of an agent, and what they say about a command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import DEFAULT_AGENT, engine_of
from opencode_mcp.opencode.models import PermissionRule

Action = Literal["allow", "ask", "deny"]

SEPARATORS = re.compile(r"[;&|\n(){}`]+|\$\(")
"""What separates the commands of a script, about as OpenCode takes it apart to ask for permissions."""


async def find_agent_name(opencode: OpenCodeClient, directory: str | None, agent: str | None) -> str:
    """Return the name of the agent that runs a new session's prompt: OpenCode's default for None."""
    config = await engine_of(opencode).read_config(directory) if agent is None else None
    return agent or (config and config.default_agent) or DEFAULT_AGENT


async def read_agent_rules(
    opencode: OpenCodeClient, directory: str | None, agent: str | None
) -> Sequence[PermissionRule]:
    """Return the rules of an agent, of the default one for None; the last rule that matches decides."""
    name = await find_agent_name(opencode, directory, agent)
    agents = await engine_of(opencode).list_agents(directory)
    return next((known.permission for known in agents if known.name == name), ())


async def refuse_denied_commands(
    opencode: OpenCodeClient, directory: str | None, agent: str | None, commands: Mapping[str, Sequence[str]]
) -> None:
    """Refuse commands that the task's agent must not run: OpenCode asks for no permission for a client's command.

    `commands` are those of each option. A rule that asks does not refuse, as the caller of the task, who would be
    asked, has named the command.

    Raises:
        WorkflowError: a rule of the agent denies one.
    """
    rules = await read_agent_rules(opencode, directory, agent) if any(commands.values()) else ()
    for option, named in commands.items():
        if (denied := find_denied(rules, named, engine_of(opencode).traits.shell)) is not None:
            raise WorkflowError(
                f"{option}: OpenCode's rules deny the agent the command {denied!r}; nothing was started. Name a "
                "command that they allow, or another agent"
            )


def find_denied(rules: Sequence[PermissionRule], commands: Sequence[str], shell: str) -> str | None:
    """Return the first command, or part of one, that an agent's rules deny; None if there is none.

    `shell` is the permission of shell commands.
    """
    parts = [part.strip() for command in commands for part in (command, *SEPARATORS.split(command)) if part.strip()]
    return next((part for part in parts if action_of(rules, shell, part) == "deny"), None)


def action_of(rules: Sequence[PermissionRule], permission: str, subject: str) -> Action:
    """Return what an agent's rules say about a tool call, as OpenCode decides it; `ask` where none matches."""
    for rule in reversed(rules):
        if matches(rule.permission, permission) and matches(rule.pattern, subject):
            return rule.action
    return "ask"


def matches(pattern: str, text: str) -> bool:
    """Whether a text matches OpenCode's wildcards; `git *` matches `git` as well (1.18.33)."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    if expression.endswith(r"\ .*"):
        expression = expression.removesuffix(r"\ .*") + r"(\ .*)?"
    return re.fullmatch(expression, text, re.DOTALL) is not None
