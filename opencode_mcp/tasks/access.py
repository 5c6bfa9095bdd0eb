"""What a task may do: its access and its policy for permissions, as rules of its session.

Not a sandbox of the operating system: a tool that a rule allows runs with all rights of OpenCode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import PermissionRule, Session

from .agent_rules import matches, read_agent_rules
from .metadata import Access, Permissions, TaskMetadata, task_metadata, with_task_metadata

ALLOW_ALL = [{"permission": "*", "pattern": "*", "action": "allow"}]
DENY_ALL = [{"permission": "*", "pattern": "*", "action": "deny"}]

READING = (
    *("read", "glob", "grep", "list", "lsp", "todowrite", "todoread", "question", "skill", "webfetch", "websearch"),
    "doom_loop",
)
"""The permissions of OpenCode's tools that change no file (1.18.33)."""

ALLOWED_BY_ACCESS: dict[Access, Sequence[str]] = {"read": READING, "edit": (*READING, "edit")}
"""`full` is what OpenCode's configuration allows."""


async def session_rules(
    opencode: OpenCodeClient, directory: str | None, agent: str | None, task: TaskMetadata
) -> dict[str, Any]:
    """Return the `permission` of a task's session, {} for no rules of its own.

    With an access everything is denied but some tools, which keep the rules that the agent has for them: no shell, no
    file outside of the project, no tool of an MCP server. There are no subagents either: these inherit what a session
    denies, and nothing else (1.18.33).
    """
    allowed = ALLOWED_BY_ACCESS.get(task.access or "full")
    if allowed is None:
        return {"permission": ALLOW_ALL} if task.permissions == "allow" else {}
    agent_rules = await read_agent_rules(opencode, directory, agent)
    kept = [
        narrow(rule, tool, task.permissions)
        for tool in allowed
        for rule in agent_rules
        if matches(rule.permission, tool)
    ]
    return {"permission": [*DENY_ALL, *kept]}


def narrow(rule: PermissionRule, tool: str, permissions: Permissions | None) -> dict[str, str]:
    """Return an agent's rule for one tool only; where the task's policy allows, it does not ask."""
    action = "allow" if rule.action == "ask" and permissions == "allow" else rule.action
    return {"permission": tool, "pattern": rule.pattern, "action": action}


async def change_access(
    opencode: OpenCodeClient,
    session: Session,
    agent: str | None,
    access: Access | None,
    permissions: Permissions | None,
) -> None:
    """Change what a session may do for its next prompt, which `agent` runs; None keeps what it had.

    Raises:
        WorkflowError: it would have to lose a rule. OpenCode only ever adds to a session's rules (1.18.33).
    """
    before = task_metadata(session)
    task = before.model_copy(
        update={"access": access or before.access, "permissions": permissions or before.permissions}
    )
    if before.permissions == "allow" and task.permissions != "allow" and task.access in {None, "full"}:
        raise WorkflowError(
            f"session {session.id} allows everything, and OpenCode cannot revoke that: start "
            "a new session for the task",
            session.id,
        )
    if before.access not in {None, "full"} and task.access == "full":
        raise WorkflowError(
            f"session {session.id} has the access {before.access}, and OpenCode cannot remove its rules: start a new "
            "session for the task",
            session.id,
        )
    rules = await session_rules(opencode, session.directory, agent, task)
    metadata = with_task_metadata(session.metadata, task)
    await opencode.call("session_update", sessionID=session.id, metadata=metadata, **rules)
