"""Which tools are listed, and which operations the gateway reaches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mcp import Client, MCPError

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import InvalidArguments, SettingsError
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tasks.arguments import validate_arguments
from opencode_mcp.tools import ToolRegistry
from opencode_mcp.tools.gateway import GATEWAY_TOOLS
from opencode_mcp.tools.selection import (
    ESSENTIAL_TOOLS,
    TOOLSETS,
    VIEWS,
    select_tools,
    select_view,
    toolset_of,
)
from tests.conftest import Connect

pytestmark = pytest.mark.anyio


def test_every_operation_has_a_documented_toolset_and_every_toolset_has_tools(catalog: Catalog) -> None:
    """Every operation has a toolset, and every entry of the table is used."""
    used = {toolset_of(operation) for operation in catalog.values()}
    ids = [operation.id for operation in catalog.values()]

    assert used == TOOLSETS.keys() - {"tasks", "gateway"}
    assert [
        prefix
        for prefix in catalog.generation.listing.toolsets
        if not any(f"{one}.".startswith(f"{prefix}.") for one in ids)
    ] == []


def test_every_toolset_of_opencode_2_is_one_of_opencode_1() -> None:
    """A configured toolset means the same in both; every entry of the table is used, and changes something."""
    catalog = Catalog.from_snapshot(2)
    named = catalog.generation.listing.toolsets
    ids = [operation.id for operation in catalog.values()]

    assert {toolset_of(operation) for operation in catalog.values()} == TOOLSETS.keys() - {
        *("tasks", "gateway"),
        *("sync", "tui", "v2", "workspace"),
    }
    assert [prefix for prefix in named if not any(f"{one}.".startswith(f"{prefix}.") for one in ids)] == []


def test_all_is_the_default(catalog: Catalog) -> None:
    """Without any choice every operation, task tool and gateway tool is listed."""
    assert select_tools(catalog).listed == {*catalog, *TASK_TOOLS, *GATEWAY_TOOLS}


def test_essential_lists_21_and_reaches_everything(catalog: Catalog) -> None:
    """The preset is small, and the gateway in it reaches all operations."""
    chosen = select_tools(catalog, ["essential"])

    assert chosen.listed == set(ESSENTIAL_TOOLS)
    assert len(ESSENTIAL_TOOLS) == 21
    assert chosen.reachable == set(catalog)


def test_toolsets_apply_to_the_gateway(catalog: Catalog) -> None:
    """With a toolset chosen, the gateway reaches only the operations of that toolset."""
    chosen = select_tools(catalog, ["vcs", "gateway"])

    assert chosen.listed == {"vcs_get", "vcs_status", "vcs_diff", "vcs_diff_raw", "vcs_apply", *GATEWAY_TOOLS}
    assert chosen.reachable == {"vcs_get", "vcs_status", "vcs_diff", "vcs_diff_raw", "vcs_apply"}


def test_tools_are_added_and_left_out_by_name(catalog: Catalog) -> None:
    """Named tools are added to the toolsets, or are the whole list; excluded ones are not reachable either."""
    assert select_tools(catalog, tools=["find_text"]).listed == {"find_text"}
    assert "find_text" in select_tools(catalog, ["vcs"], tools=["find_text"]).listed
    without = select_tools(catalog, exclude_tools=["session_prompt"])
    assert "session_prompt" not in without.listed | without.reachable


@pytest.mark.parametrize("flag", ["read_only", "no_destructive"])
def test_read_only_takes_precedence_over_names(catalog: Catalog, flag: str) -> None:
    """A destructive tool that is asked for by name is still not listed, and not reachable."""
    chosen = select_tools(
        catalog,
        ["all"],
        ["session_delete"],
        read_only=flag == "read_only",
        no_destructive=flag == "no_destructive",
    )
    operations = [catalog[name] for name in chosen.listed | chosen.reachable if name in catalog]

    assert not any(one.hints.destructive for one in operations)
    assert (not all(one.hints.read_only for one in operations)) == (flag == "no_destructive")
    assert "run_task" not in chosen.listed
    assert "change_operation" not in chosen.listed


@pytest.mark.parametrize(
    ("flag", "given"), [("toolsets", "sesion"), ("tools", "find_txt"), ("exclude_tools", "session_promt")]
)
def test_an_unknown_name_is_an_error_with_the_nearest_ones(catalog: Catalog, flag: str, given: str) -> None:
    """A misspelt name is an error at start, with the nearest names."""
    nearest = {"sesion": "session", "find_txt": "find_text", "session_promt": "session_prompt"}[given]

    names = {"toolsets": (), "tools": (), "exclude_tools": ()} | {flag: (given,)}
    with pytest.raises(SettingsError) as caught:
        select_tools(catalog, names["toolsets"], names["tools"], names["exclude_tools"])

    assert given in str(caught.value)
    assert nearest in str(caught.value)


def test_a_setting_may_name_a_caller_by_its_former_name(catalog: Catalog, caplog: pytest.LogCaptureFixture) -> None:
    """It selects or leaves out the tool of the present name, and the log says so."""
    assert select_tools(catalog, tools=["delete_operation"]).listed == {"change_operation"}
    assert "change_operation" not in select_tools(catalog, exclude_tools=["delete_operation"]).listed
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "--tools: delete_operation is now called change_operation",
        "--exclude-tools: delete_operation is now called change_operation",
    ]


@pytest.mark.parametrize("path", VIEWS)
def test_a_view_narrows_and_never_widens(catalog: Catalog, path: str) -> None:
    """A path below the HTTP endpoint lists a part of the server's tools."""
    whole = select_tools(catalog, ["session", "tasks", "gateway"], exclude_tools=["session_list"])
    narrow = select_view(catalog, whole, path)

    assert narrow.listed <= whole.listed
    assert narrow.reachable <= whole.reachable


async def test_what_is_not_listed_cannot_be_called(connect: Connect, attached: Settings) -> None:
    """Read-only refuses on call, not only in the list; the gateway refuses as well."""
    async with connect(replace(attached, read_only=True)) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        unlisted = await client.call_tool("session_create", {})
        refused = await client.call_tool("read_operation", {"operation": "session_create"})

    assert "session_list" in listed
    assert "session_create" not in listed
    for result in (unlisted, refused):
        assert result.is_error
        assert "session_create is disabled on this server, by --read-only" in str(result.content)
        assert "add_operation" not in str(result.content)


@pytest.mark.parametrize("flags", [{"read_only": True}, {"no_destructive": True}])
def test_changes_are_shown_where_they_cannot_be_applied(catalog: Catalog, flags: dict[str, Any]) -> None:
    """Without the arguments that write or remove files, which are refused in a call as well."""
    registry = ToolRegistry(catalog, select_tools(catalog, **flags), 10_000)
    [tool] = [tool for tool in registry.listed if tool.name == "collect_changes"]
    arguments = registry.task_tools["collect_changes"].arguments

    assert tool.annotations is not None and tool.annotations.read_only_hint
    assert tool.input_schema["properties"].keys() == {"session_id", "session_ids", "message_id", "format"}
    for name in ("apply", "discard", "force"):
        with pytest.raises(InvalidArguments, match=f"{name}: unknown"):
            validate_arguments("collect_changes", arguments, {"session_id": "ses_1", name: True}, lenient=True)
    excluded = select_tools(catalog, exclude_tools=["collect_changes"], **flags)
    assert excluded.disabled["collect_changes"] == "--exclude-tools"
    assert excluded.only_reading == frozenset()


def test_a_view_for_reading_shows_changes_and_applies_none(catalog: Catalog) -> None:
    """The whole server's tool is not changed by it."""
    whole = select_tools(catalog)
    view = select_view(catalog, whole, "readonly")

    assert "collect_changes" in view.listed
    assert "apply" not in (ToolRegistry(catalog, view, 10_000).input_schema("collect_changes") or {})["properties"]
    assert "apply" in (ToolRegistry(catalog, whole, 10_000).input_schema("collect_changes") or {})["properties"]


@pytest.mark.parametrize(
    ("flags", "name", "words"),
    [
        (
            {"toolsets": ["essential"]},
            "session_revert",
            'call change_operation with {"operation": "session_revert"',
        ),
        (
            {"toolsets": ["essential"]},
            "session_get",
            'call read_operation with {"operation": "session_get", "arguments"',
        ),
        ({"read_only": True}, "session_delete", "disabled on this server, by --read-only"),
        ({"read_only": True}, "run_task", "disabled on this server, by --read-only"),
        ({"no_destructive": True}, "session_delete", "disabled on this server, by --no-destructive"),
        ({"no_destructive": True, "toolsets": ["essential"]}, "session_revert", "by --no-destructive"),
        ({"exclude_tools": ["session_get"]}, "session_get", "disabled on this server, by --exclude-tools"),
        ({"toolsets": ["file"]}, "session_get", "not enabled on this server"),
        ({"toolsets": ["session"]}, "run_task", "not enabled on this server"),
        ({"toolsets": ["essential"], "exclude_tools": ["change_operation"]}, "session_revert", "not enabled"),
    ],
)
def test_a_tool_that_is_not_listed_is_explained(catalog: Catalog, flags: dict[str, Any], name: str, words: str) -> None:
    """By the gateway's call that reaches it, or by the setting that forbids it: never by a way around that."""
    registry = ToolRegistry(catalog, select_tools(catalog, **flags), 1000)
    explanation = registry.explain_unlisted(name)

    assert name not in registry
    assert explanation is not None
    assert words in explanation
    assert ("_operation" in explanation) == words.startswith("call ")


def test_a_view_says_what_it_leaves_out(catalog: Catalog) -> None:
    """Its path, or the setting of the server."""
    selection = select_view(catalog, select_tools(catalog, exclude_tools=["session_get"]), "readonly")
    registry = ToolRegistry(catalog, selection, 1000)

    assert (
        registry.explain_unlisted("session_delete")
        == "session_delete is disabled on this server, by the path /readonly."
    )
    assert registry.explain_unlisted("session_get") == "session_get is disabled on this server, by --exclude-tools."


async def test_a_misspelt_tool_is_a_protocol_error_that_names_the_nearest(connect: Connect) -> None:
    """And a name like none gets no suggestion."""
    async with connect() as client:
        with pytest.raises(MCPError, match="Unknown tool: sessionRevert; nearest: session_revert"):
            await client.call_tool("sessionRevert", {})
        with pytest.raises(MCPError, match=r"Unknown tool: 123456789$"):
            await client.call_tool("123456789", {})


async def test_the_list_is_the_same_every_time(client: Client) -> None:
    """The list is deterministic, and in a meaningful order: tasks, gateway, operations."""
    first, second = await client.list_tools(), await client.list_tools()

    assert first == second
    assert [tool.name for tool in first.tools[:2]] == ["run_task", "start_task"]
