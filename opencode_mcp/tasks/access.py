"""What a task may do: its access and its policy for permissions, as rules of its session.

Not a sandbox of the operating system: a tool that a rule allows runs with all rights of OpenCode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import PermissionRule, Session

from .agent_rules import matches, read_agent_rules
from .metadata import Access, Permissions, TaskMetadata, task_metadata, with_task_metadata
from .permission_map import PermissionMap, close_to_subagents, describe_contradiction, make_rules_of_map, restrict

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
    allowed, own = ALLOWED_BY_ACCESS.get(task.access or "full"), task.permission_rules or ()
    if allowed is None:
        if task.permissions == "allow":
            return {"permission": ALLOW_ALL}
        return {"permission": dump(close_to_subagents(own))} if own else {}
    agent_rules = await read_agent_rules(opencode, directory, agent)
    kept = [rule for tool in allowed for rule in restrict(tool, narrow(agent_rules, tool, task.permissions), own)]
    return {"permission": [*DENY_ALL, *dump(kept)]}


def dump(rules: Sequence[PermissionRule]) -> list[dict[str, str]]:
    """Return rules as OpenCode takes them."""
    return [rule.model_dump() for rule in rules]


def narrow(rules: Sequence[PermissionRule], tool: str, permissions: Permissions | None) -> list[PermissionRule]:
    """Return an agent's rules for one tool only; where the task's policy allows, they do not ask."""
    return [
        PermissionRule(
            permission=tool,
            pattern=rule.pattern,
            action="allow" if rule.action == "ask" and permissions == "allow" else rule.action,
        )
        for rule in rules
        if matches(rule.permission, tool)
    ]


@dataclass(frozen=True)
class Change:
    """What a prompt changes about what its session may do; None keeps what it had.

    `permissions` is a policy, which allows anew what a map has denied if it is `allow`, or a map, whose rules are added
    to those of the session. `default` is the policy of a session that has none, or one that a map does not fit.
    """

    access: Access | None
    permissions: Permissions | PermissionMap | None
    default: Permissions

    def apply(self, before: TaskMetadata) -> TaskMetadata:
        """Return a task's metadata with the change.

        Raises:
            WorkflowError: the maps together ask, and allow subagents.
        """
        policy, rules = self.permissions, before.permission_rules
        if isinstance(policy, dict):
            rules = (*(rules or ()), *make_rules_of_map(policy))
            policy = self.default if before.permissions in {None, "allow"} else before.permissions
            if message := describe_contradiction(rules):
                raise WorkflowError(
                    f"permissions: {message}; the session has asked since an earlier prompt. Nothing was sent: start a "
                    "new session for the task"
                )
        facts = {"access": self.access or before.access, "permissions": policy or before.permissions}
        return before.model_copy(update={**facts, "permission_rules": None if policy == "allow" else rules})


async def change_access(opencode: OpenCodeClient, session: Session, agent: str | None, change: Change) -> None:
    """Change what a session may do for its next prompt, which `agent` runs.

    Raises:
        WorkflowError: it would have to lose a rule. OpenCode only ever adds to a session's rules (1.18.33).
    """
    before = task_metadata(session)
    task = change.apply(before)
    if before.permissions == "allow" and task.permissions != "allow" and task.access in {None, "full"}:
        raise WorkflowError(
            f"nothing was sent: session {session.id} allows everything, and OpenCode cannot revoke that. Start a new "
            "session for the task",
            session.id,
        )
    if before.access not in {None, "full"} and task.access == "full":
        raise WorkflowError(
            f"nothing was sent: session {session.id} has the access {before.access}, and OpenCode cannot remove its "
            "rules. Start a new session for the task",
            session.id,
        )
    rules = await session_rules(opencode, session.directory, agent, task)
    metadata = with_task_metadata(session.metadata, task)
    await opencode.call("session_update", sessionID=session.id, metadata=metadata, **rules)
