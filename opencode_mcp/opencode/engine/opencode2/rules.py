"""Permission rules of OpenCode 2: an action, a resource, and the effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, cast

from opencode_mcp.opencode.models import Model, PermissionRule

ACTIONS: Mapping[str, str] = {"bash": "shell", "task": "subagent"}
"""What OpenCode 2 calls a permission of OpenCode 1. It translates these words in configuration files only."""


class RuleInfo(Model):
    """A rule as OpenCode 2 has it."""

    action: str
    resource: str
    effect: Literal["allow", "deny", "ask"]

    def to_rule(self) -> PermissionRule:
        """Return it in the terms of `models.py`."""
        return PermissionRule(permission=self.action, pattern=self.resource, action=self.effect)


def dump_rules(rules: Sequence[PermissionRule]) -> list[dict[str, str]]:
    """Return rules as OpenCode takes them; those about a permission of OpenCode 1 are about its counterpart."""
    return [
        {"action": action, "resource": rule.pattern, "effect": rule.action}
        for rule in rules
        for action in actions_of(rule.permission)
    ]


def other_rules(rules: Sequence[RuleInfo], own: Any) -> list[dict[str, str]]:
    """Return a session's rules without those that bridges have added last, and stored in its metadata as `own`."""
    dumped: list[dict[str, str]] = [rule.model_dump() for rule in rules]
    added = cast("list[object]", own) if isinstance(own, list) else []
    if added and dumped[-len(added) :] == added:
        return dumped[: -len(added)]
    return [rule for rule in dumped if rule not in added]


def actions_of(permission: str) -> Iterator[str]:
    """Yield the actions that a permission means, which may have wildcards and be a word of OpenCode 1."""
    if permission not in ACTIONS:
        yield permission
    yield from (
        action
        for word, action in ACTIONS.items()
        if fnmatchcase(word, permission) and not fnmatchcase(action, permission)
    )
