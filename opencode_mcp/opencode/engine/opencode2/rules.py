"""Permission rules of OpenCode 2: an action, a resource, and the effect."""

from __future__ import annotations

from collections.abc import Sequence

from opencode_mcp.opencode.models import PermissionRule


def dump_rules(rules: Sequence[PermissionRule]) -> list[dict[str, str]]:
    """Return rules as OpenCode takes them."""
    return [{"action": rule.permission, "resource": rule.pattern, "effect": rule.action} for rule in rules]
