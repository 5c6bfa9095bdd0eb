"""What the tools cost a model's context, in bytes of minified JSON, and what it learns about their arguments."""

from __future__ import annotations

import json
from statistics import median

import mcp_types as types
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.generations import GENERATIONS
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools import ToolRegistry, select_tools
from opencode_mcp.tools.definition import seldom_needed_arguments
from opencode_mcp.tools.gateway import GATEWAY_TOOLS


def listed_bytes(tools: list[types.Tool]) -> int:
    """Count what a model receives: name, description and input schema of every tool."""
    seen = [{"name": one.name, "description": one.description, "inputSchema": one.input_schema} for one in tools]
    return sum(len(json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode()) for one in seen)


@pytest.mark.parametrize(
    ("generation", "toolset", "count", "most_bytes"),
    [(1, "all", 204, 72_000), (1, "essential", 21, 14_000), (2, "all", 158, 72_000), (2, "essential", 21, 14_000)],
)
def test_a_preset_stays_within_its_budget(generation: int, toolset: str, count: int, most_bytes: int) -> None:
    """All operations with tasks and gateway in 72,000 bytes; twenty-one tools that reach everything in 14,000."""
    catalog = Catalog.from_snapshot(generation)
    selection = select_tools(catalog, [toolset])
    tools = ToolRegistry(catalog, selection, 40_000).listed

    assert len(tools) == count
    assert listed_bytes(tools) <= most_bytes
    assert selection.reachable == set(catalog)


def test_the_full_list_stays_within_its_budget(every_catalog: Catalog) -> None:
    """The answer to tools/list with titles, annotations and output schemas is at most 120,000 bytes."""
    tools = ToolRegistry(every_catalog, select_tools(every_catalog), 40_000).listed
    answer = types.ListToolsResult(tools=tools).model_dump_json(by_alias=True, exclude_none=True)

    assert len(answer.encode()) <= 120_000


MOST_USED = """
    session_list session_create session_status session_get session_delete session_update session_children session_todo
    session_diff session_messages session_prompt session_message session_delete_message session_fork session_abort
    session_init session_share session_unshare session_summarize session_prompt_async session_command session_shell
    session_revert session_unrevert part_delete part_update experimental_session_list
    experimental_session_background experimental_control_plane_move_session find_text find_files find_symbols file_list
    file_read file_status vcs_get vcs_status vcs_diff vcs_diff_raw vcs_apply worktree_list worktree_create
    worktree_remove worktree_reset config_get config_update config_providers global_config_get global_config_update
    provider_list provider_auth provider_oauth_authorize provider_oauth_callback auth_set auth_remove app_agents
    app_skills command_list tool_list tool_ids pty_shells pty_list pty_create pty_get pty_update pty_remove
    pty_connect_token pty_connect permission_list permission_reply question_list question_reply question_reject
    event_subscribe global_event sync_start sync_replay sync_steal sync_history_list mcp_status mcp_add mcp_auth_start
    mcp_auth_remove mcp_auth_callback mcp_auth_authenticate mcp_connect mcp_disconnect experimental_resource_list
    project_list project_current project_init_git project_update project_directories global_health path_get lsp_status
    formatter_status app_log instance_dispose global_dispose
""".split()


def test_the_arguments_of_the_most_used_tools_are_described(catalog: Catalog) -> None:
    """Task tools, the gateway and a hundred operations: each argument has at most 200 characters, half at most 60."""
    tools = {tool.name: tool for tool in ToolRegistry(catalog, select_tools(catalog), 40_000).listed}
    names = [*TASK_TOOLS, *GATEWAY_TOOLS, *MOST_USED]
    texts = {
        (name, argument): schema.get("description", "")
        for name in names
        for argument, schema in tools[name].input_schema["properties"].items()
    }

    assert len(set(MOST_USED)) == 100
    assert [place for place, text in texts.items() if not text] == []
    assert {place: len(text) for place, text in texts.items() if len(text) > 200} == {}
    assert median(map(len, texts.values())) <= 60


def test_the_tables_of_arguments_name_what_there_is(every_catalog: Catalog) -> None:
    """Each described or unlisted argument is one of its operation, so no text is lost when a document changes."""
    by_id = {operation.id: operation.input_schema["properties"].keys() for operation in every_catalog.values()}
    described = every_catalog.generation.arguments
    named = {*described.with_common_arguments, *described.own}
    unlisted = every_catalog.generation.listing.seldom_needed

    assert described.own.keys() & described.with_common_arguments == set()
    assert {(i, name) for i, texts in described.own.items() for name in texts if name not in by_id[i]} == set()
    assert described.common.keys() <= {name for operation_id in named for name in by_id[operation_id]}
    for prefix, names in unlisted.items():
        below = [by_id[i] for i in by_id if f"{i}.".startswith(f"{prefix}.")]
        assert below, prefix
        assert names <= set[str]().union(*below), prefix


def test_an_argument_that_is_seldom_needed_is_optional_and_not_listed(every_catalog: Catalog) -> None:
    """A call may have it; a required one is always listed."""
    tools = {tool.name: tool for tool in ToolRegistry(every_catalog, select_tools(every_catalog), 40_000).listed}
    for operation in every_catalog.values():
        optional = operation.input_schema["properties"].keys() - set(operation.input_schema.get("required", ()))
        listed = tools[operation.name].input_schema["properties"].keys()
        assert listed & seldom_needed_arguments(operation) & optional == set(), operation.name
        assert set(operation.input_schema.get("required", ())) <= listed, operation.name


def test_a_location_is_listed_where_a_call_often_names_it() -> None:
    """Elsewhere the argument is left out; a required one never is."""
    first, second = (
        {tool.name: tool.input_schema for tool in ToolRegistry(catalog, select_tools(catalog), 40_000).listed}
        for catalog in map(Catalog.from_snapshot, GENERATIONS)
    )

    assert "workspace" in first["sync_steal"]["required"]
    assert "location" in first["v2_fs_list"]["properties"]
    assert "location" in second["fs_list"]["properties"]
    assert "location" not in second["agent_list"]["properties"]
