"""The rules that a map of permissions makes, alone and together with those of an agent."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_mcp.opencode.models import PermissionRule
from opencode_mcp.tasks.agent_rules import action_of
from opencode_mcp.tasks.permission_map import close_to_subagents, make_rules_of_map, may_match, restrict


def rules(*rows: tuple[str, str, Any]) -> list[PermissionRule]:
    """Return rules, each of a permission, a pattern and an action."""
    return [PermissionRule(permission=row[0], pattern=row[1], action=row[2]) for row in rows]


@pytest.mark.parametrize(
    ("tools", "allowed", "asked", "denied"),
    [
        ({"bash": {"*": "ask", "npm test*": "allow", "npm test x": "deny"}}, "npm test", "ls", "npm test x"),
        ({"bash": {"npm test*": "allow", "npm test x": "deny", "*": "ask"}}, "npm test", "ls", "npm test x"),
        ({"bash": {"ls": "ask", "rm *": "deny"}, "*": "allow"}, "npm test", "ls", "rm x"),
    ],
)
def test_the_last_pattern_that_matches_decides_and_a_star_where_none_does(
    tools: Any, allowed: str, asked: str, denied: str
) -> None:
    """The order is that of the map, but for `*`, which would otherwise make all before it useless."""
    made = make_rules_of_map(tools)
    assert [action_of(made, "bash", command) for command in (allowed, asked, denied)] == ["allow", "ask", "deny"]


@pytest.mark.parametrize(
    ("tools", "is_closed"),
    [
        ({"bash": "deny", "edit": "allow"}, False),
        ({"task": {"*": "ask", "general": "allow"}}, False),
        ({"bash": {"*": "allow", "git push*": "ask"}}, True),
        ({"*": "ask"}, True),
    ],
)
def test_rules_that_ask_leave_no_subagents(tools: Any, *, is_closed: bool) -> None:
    """A subagent inherits what is denied, and nothing else."""
    made = make_rules_of_map(tools)
    assert close_to_subagents(made) == [*made, *(rules(("task", "*", "deny")) if is_closed else [])]


AGENT = rules(("edit", "*", "allow"), ("edit", "src/gen*", "deny"), ("edit", "docs/*", "ask"))


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        ({}, {"a": "allow", "src/gen/a": "deny", "docs/a": "ask"}),
        ({"bash": "allow"}, {"a": "allow", "src/gen/a": "deny", "docs/a": "ask"}),
        ({"edit": "allow"}, {"a": "allow", "src/gen/a": "deny", "docs/a": "allow"}),
        ({"*": "ask"}, {"a": "ask", "src/gen/a": "deny", "docs/a": "ask"}),
        ({"edit": {"src/*": "allow", "*": "deny"}}, {"a": "deny", "src/a": "allow", "src/gen/a": "deny"}),
        ({"edit": {"src/gen/*": "allow", "docs/*": "allow"}}, {"a": "allow", "src/gen/a": "deny", "docs/a": "allow"}),
        ({"ed*": {"docs/*": "deny"}}, {"a": "allow", "docs/a": "deny"}),
    ],
)
def test_with_an_access_a_map_allows_nothing_that_the_agent_denies(tools: Any, expected: dict[str, str]) -> None:
    """It denies more, asks for more, and allows what the agent asks for."""
    restricted = restrict("edit", AGENT, make_rules_of_map(tools))
    assert {path: action_of(restricted, "edit", path) for path in expected} == expected
    assert {rule.permission for rule in restricted} == {"edit"}


@pytest.mark.parametrize(
    ("name", "may"),
    [
        *((name, True) for name in ("git_log", "git_*", "gi*", "*_log", "g?t_log")),
        *((name, False) for name in ("git", "github_*", "bash", "hg*")),
    ],
)
def test_names_of_the_tools_of_an_mcp_server(name: str, *, may: bool) -> None:
    """OpenCode lists no tool of an MCP server: a name counts if it begins as those do."""
    assert may_match(name, "git_") == may
