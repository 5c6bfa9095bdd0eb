"""What a task may do: its access and its policy for permissions, as rules of its session.

Not a sandbox of the operating system: a tool that a rule allows runs with all rights of OpenCode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import EngineTraits, engine_of
from opencode_mcp.opencode.models import PermissionRule, Session

from .agent_rules import matches, read_agent_rules
from .metadata import Access, Permissions, TaskMetadata, task_metadata, with_task_metadata
from .permission_map import PermissionMap, close_to_subagents, describe_contradiction, make_rules_of_map, restrict

ALLOW_ALL = PermissionRule(permission="*", pattern="*", action="allow")
DENY_ALL = PermissionRule(permission="*", pattern="*", action="deny")

CHANGING: Mapping[Access, Sequence[str]] = {"read": (), "edit": ("edit",)}
"""The permissions to change files, by access; `full` is what OpenCode's configuration allows."""


async def session_rules(
    opencode: OpenCodeClient, directory: str | None, agent: str | None, task: TaskMetadata
) -> list[PermissionRule]:
    """Return the rules of a task's session, [] for none of its own.

    With an access everything is denied but some tools, which keep the rules that the agent has for them: no shell, no
    file outside of the project, no tool of an MCP server. There are no subagents either: of OpenCode 1 these inherit
    what a session denies, and nothing else.
    """
    traits, own = engine_of(opencode).traits, task.permission_rules or ()
    if task.access is None or task.access == "full":
        if task.permissions == "allow":
            return [ALLOW_ALL]
        return close_to_subagents(own, traits) if own else []
    allowed = (*traits.reading, *CHANGING[task.access])
    agent_rules = await read_agent_rules(opencode, directory, agent)
    kept = [rule for tool in allowed for rule in restrict(tool, narrow(agent_rules, tool, task.permissions), own)]
    return [DENY_ALL, *kept]


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

    def apply(self, before: TaskMetadata, traits: EngineTraits) -> TaskMetadata:
        """Return a task's metadata with the change.

        Raises:
            WorkflowError: the maps together ask, and allow subagents.
        """
        policy, rules = self.permissions, before.permission_rules
        if isinstance(policy, dict):
            rules = (*(rules or ()), *make_rules_of_map(policy))
            policy = self.default if before.permissions in {None, "allow"} else before.permissions
            if message := describe_contradiction(rules, traits):
                raise WorkflowError(
                    f"permissions: {message}; the session has asked since an earlier prompt. Nothing was sent: start a "
                    "new session for the task"
                )
        facts = {"access": self.access or before.access, "permissions": policy or before.permissions}
        return before.model_copy(update={**facts, "permission_rules": None if policy == "allow" else rules})


async def change_access(opencode: OpenCodeClient, session: Session, agent: str | None, change: Change) -> None:
    """Change what a session may do for its next prompt, which `agent` runs.

    Raises:
        WorkflowError: it would have to lose a rule, and OpenCode only adds to a session's rules.
    """
    engine = engine_of(opencode)
    before = task_metadata(session)
    task = change.apply(before, engine.traits)
    if not engine.traits.replaces_rules:
        refuse_lost_rules(session, before, task)
    rules = await session_rules(opencode, session.directory, agent, task)
    await engine.update_session(session.id, metadata=with_task_metadata(session.metadata, task), rules=rules)


def refuse_lost_rules(session: Session, before: TaskMetadata, task: TaskMetadata) -> None:
    """Refuse a change of a task that would have to take a rule from its session.

    Raises:
        WorkflowError: what cannot be revoked, and what to do.
    """
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
