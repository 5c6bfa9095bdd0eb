"""The rules that a map of permissions makes, alone and together with those of an agent."""

from __future__ import annotations

from typing import Any, cast

import pytest

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode.engine.opencode1 import TRAITS
from opencode_mcp.opencode.models import PermissionRule
from opencode_mcp.tasks.access import Change
from opencode_mcp.tasks.agent_rules import action_of
from opencode_mcp.tasks.metadata import TaskMetadata
from opencode_mcp.tasks.permission_map import check_map, close_to_subagents, make_rules_of_map, may_match, restrict

from .test_race_conditions import FakeOpenCode


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
    assert close_to_subagents(made, TRAITS) == [*made, *(rules(("task", "*", "deny")) if is_closed else [])]


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


def test_a_follow_up_adds_its_map_to_the_rules_of_the_session() -> None:
    """Its rules come last. A session that allows everything is reported as another one: it cannot be narrowed."""
    before = TaskMetadata(permissions="reject", permission_rules=make_rules_of_map({"bash": "deny"}))
    after = Change(None, {"bash": {"ls": "allow"}}, "report").apply(before, TRAITS)
    assert after.permissions == "reject"
    assert after.permission_rules == make_rules_of_map({"bash": {"*": "deny", "ls": "allow"}})
    assert Change(None, "allow", "report").apply(before, TRAITS) == TaskMetadata(permissions="allow")
    assert Change("read", None, "report").apply(before, TRAITS) == before.model_copy(update={"access": "read"})
    assert (
        Change(None, {"bash": "deny"}, "report").apply(TaskMetadata(permissions="allow"), TRAITS).permissions
        == "report"
    )


def test_maps_of_two_prompts_must_not_allow_what_goes_round_them() -> None:
    """The session asks since its first prompt, so that a later one cannot allow subagents."""
    before = TaskMetadata(permissions="ask", permission_rules=make_rules_of_map({"bash": "ask"}))
    with pytest.raises(WorkflowError, match="`task` must be denied"):
        Change(None, {"task": "allow"}, "report").apply(before, TRAITS)


@pytest.mark.anyio
async def test_only_names_that_opencode_may_not_know_are_looked_up() -> None:
    """Its own permissions need no request; tools of plugins and MCP servers are known by OpenCode alone."""
    opencode = FakeOpenCode(answers={"tool_ids": ["bash", "write", "plugin_tool"], "mcp_status": {"my server": {}}})
    client = cast("Any", opencode)
    await check_map(client, None, {"bash": "deny", "web*": "ask", "*": "allow"})
    assert opencode.calls == []
    await check_map(client, None, {"plugin_tool": "deny", "my_server_*": "deny"})
    assert sorted(opencode.calls) == ["mcp_status", "tool_ids"]
    with pytest.raises(WorkflowError, match="'read_mcp_resource' has the rules of `read`"):
        await check_map(client, None, {"read_mcp_resource": "deny"})
    for name in ("plugin_tol", "my_servers_x", "wri*"):
        with pytest.raises(WorkflowError, match="knows no tool"):
            await check_map(client, None, {name: "deny"})


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
