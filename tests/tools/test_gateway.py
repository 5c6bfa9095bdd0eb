"""The gateway: an operation that is not listed is searched, described, and called by the tool for its class."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import pytest
from mcp import Client, MCPError

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tools.compact_schema import compact_schema
from opencode_mcp.tools.gateway import FORMER_NAMES, caller_of, describe_operation, format_hits
from opencode_mcp.tools.signature import format_argument, format_signature
from opencode_mcp.tools.truncate import dump
from tests.conftest import RecordFigure
from tests.facts import facts

pytestmark = [pytest.mark.anyio, pytest.mark.unchanged_project]


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed, and return its facts."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return facts(answer)


async def test_a_search_says_how_to_call_what_it_finds(client: Client) -> None:
    """A hit has the operation, the tool that calls it, its arguments in one line, and what it does."""
    found = await call(client, "search_operations", query="delete a session")

    expected = {"operation": "session_delete", "call_with": "change_operation", "arguments": "sessionID"}
    assert expected.items() <= found["operations"][0].items()


def test_a_search_without_hits_says_what_to_search_for() -> None:
    """The note names topics; it is only there without a hit."""
    assert "session" in format_hits([])["note"]


@pytest.mark.parametrize(
    ("operation", "line"),
    [
        ("auth_set", "providerID, body: {type: api, key}"),
        ("mcp_add", 'name, config: {type: local, command: ["…"]}'),
        ("session_fork", "sessionID, messageID?"),
        ("vcs_diff", "mode: git|branch, context?"),
        ("worktree_remove", "body: {directory}, force?"),
        ("v2_session_switch_model", "sessionID, model: {id, providerID}"),
        ("question_reply", 'requestID, answers: [["…"]]'),
        ("v2_project_copy_remove", "projectID, directory, force: true|false"),
        ("session_list", "scope?, path?, roots?, start?, search?, limit?, full?"),
        ("vcs_status", ""),
    ],
)
def test_a_line_says_what_a_call_must_contain(catalog: Catalog, operation: str, line: str) -> None:
    """Required arguments have their fields and allowed values; `?` marks optional ones; common ones are left out."""
    assert format_signature(catalog[operation]) == line


def test_every_line_is_short_and_names_every_required_argument(catalog: Catalog) -> None:
    """It is one line of at most 150 characters; `…` stands for optional arguments that are left out."""
    lines = {name: format_signature(operation) for name, operation in catalog.items()}

    assert max(map(len, lines.values())) <= 150
    for name, operation in catalog.items():
        named = {part.partition(":")[0] for part in lines[name].split(", ")}
        assert named >= {*operation.input_schema.get("required", ())}, name


def test_a_line_of_a_component_that_requires_itself_ends() -> None:
    """A newer document may have one."""
    definitions = {"Node": {"type": "object", "properties": {"n": {"$ref": "#/$defs/Node"}}, "required": ["n"]}}
    line = format_argument("root", {"type": "array", "items": {"$ref": "#/$defs/Node"}}, definitions)

    assert line == "root: [{n: {n: {n: {n: {n}}}}}]"


async def test_a_description_has_what_a_call_needs(client: Client, catalog: Catalog) -> None:
    """The input schema as listed, the names of unlisted arguments, what errors mean, and an example that is valid."""
    told = await call(client, "describe_operation", operation="session_prompt")

    assert told["input_schema"] == compact_schema(catalog["session_prompt"].input_schema)
    assert told["unlisted"] == "directory, workspace"
    assert "unknown" in told["traps"]["500"] or "does not know" in told["traps"]["500"]
    assert catalog["session_prompt"].validator.is_valid(told["example"]["arguments"])
    assert told.keys() == {"operation", "call_with", "does", "input_schema", "unlisted", "traps", "example"}


async def test_a_description_has_full_schemas_on_request(client: Client, catalog: Catalog) -> None:
    """`full` returns the schema that validates, `response` a summary of the response's, both together the whole."""
    summary = await call(client, "describe_operation", operation="session_prompt", response=True)
    told = await call(client, "describe_operation", operation="session_prompt", full=True, response=True)

    assert told["input_schema"] == catalog["session_prompt"].input_schema
    assert told["request"] == "POST /session/{sessionID}/message"
    assert told["response_schema"] == catalog["session_prompt"].response_schema
    assert summary["response_schema"]["properties"].keys() == {"info", "parts"}
    assert summary["input_schema"] == compact_schema(catalog["session_prompt"].input_schema)


def test_a_description_is_short(catalog: Catalog, record_figure: RecordFigure) -> None:
    """At most 2,400 bytes, and 400 for half of the operations: about 600 and 100 tokens. With the response at most
    6,000, and 800 for half of them; a response that is not JSON has no schema."""
    sizes = [minified_bytes(describe_operation(operation)) for operation in catalog.values()]
    described = {name: describe_operation(operation, response=True) for name, operation in catalog.items()}
    response_sizes = [minified_bytes(one) for one in described.values()]

    record_figure(
        f"a result of describe_operation: {median(sizes):.0f} bytes (median), at most {max(sizes):,}; with the "
        f"response's schema {median(response_sizes):.0f}, at most {max(response_sizes):,}"
    )
    assert median(sizes) <= 400 and max(sizes) <= 2_400
    assert median(response_sizes) <= 800 and max(response_sizes) <= 6_000
    assert described["v2_fs_read"]["response_schema"] == {}


def minified_bytes(value: object) -> int:
    """Return the length of a value as minified JSON."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def test_every_argument_is_listed_or_named(catalog: Catalog) -> None:
    """No argument is missing in a description."""
    for name, operation in catalog.items():
        told = describe_operation(operation)
        named = {*told["input_schema"]["properties"], *filter(None, told.get("unlisted", "").split(", "))}
        assert named == {*operation.input_schema["properties"]}, name


def test_full_schemas_fit_the_limit(catalog: Catalog) -> None:
    """Every response schema fits as well; below a smaller limit the longest are omitted for the resource's name."""
    described = [describe_operation(operation, True, True) for operation in catalog.values()]
    assert all(len(dump(one)) <= Settings().max_result_chars for one in described)

    limit = 25_000
    told = {name: describe_operation(operation, True, True, limit) for name, operation in catalog.items()}

    assert all(len(dump(one)) <= limit for one in told.values())
    assert all(one["input_schema"] == catalog[name].input_schema for name, one in told.items())
    without = {name for name, one in told.items() if isinstance(one["response_schema"], str)}
    assert without == {"config_update", "global_config_update", "v2_session_history"}


async def test_an_operation_is_called_through_its_caller(client: Client) -> None:
    """Add creates a session, read reads it, change deletes it."""
    created = await call(client, "add_operation", operation="session_create", arguments={"title": "by gateway"})
    session = {"sessionID": created["id"]}
    assert (await call(client, "read_operation", operation="session_get", arguments=session))["title"] == "by gateway"
    assert (await call(client, "change_operation", operation="session_delete", arguments=session))["result"] is True


@pytest.mark.parametrize("operation", ["session_list", "session_create", "session_delete"])
async def test_a_caller_refuses_operations_of_another_class(client: Client, catalog: Catalog, operation: str) -> None:
    """Each of the three tools accepts only its own class, and names the right tool otherwise."""
    own = caller_of(catalog[operation])
    for caller in {"read_operation", "add_operation", "change_operation"} - {own}:
        answer = await client.call_tool(caller, {"operation": operation})

        assert answer.is_error
        assert own in str(answer.content)


async def test_a_former_name_calls_the_same_class_of_operations(client: Client) -> None:
    """A client that knows a caller by its former name can call it for one more release."""
    created = await call(client, "write_operation", operation="session_create", arguments={})

    deletion = {"operation": "session_delete", "arguments": {"sessionID": created["id"]}}
    refused = await client.call_tool("write_operation", deletion)
    assert refused.is_error
    assert "call session_delete with change_operation" in str(refused.content)
    assert (await call(client, "delete_operation", **deletion))["result"] is True


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        (Settings(read_only=True), {"write_operation", "delete_operation"}),
        (Settings(no_destructive=True), {"delete_operation"}),
        (Settings(exclude_tools=("change_operation",)), {"delete_operation"}),
        (Settings(exclude_tools=("delete_operation",)), {"delete_operation"}),
        (Settings(tools=("delete_operation",)), {"write_operation"}),
        (Settings(toolsets=("vcs",)), {"write_operation", "delete_operation"}),
    ],
)
async def test_a_former_name_passes_no_setting_that_the_present_one_does_not(
    catalog: Catalog, settings: Settings, refused: set[str]
) -> None:
    """The settings that leave a caller out refuse it under both names; no former name is listed."""
    async with Client(create_server(settings, catalog)) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        answers = {name: await try_call(client, name) for pair in FORMER_NAMES.items() for name in pair}

    not_called = {name for name, answer in answers.items() if "no_such_operation" not in answer}
    assert not_called & FORMER_NAMES.keys() == refused
    assert not_called - FORMER_NAMES.keys() == {FORMER_NAMES[name] for name in refused}
    assert all("disabled on" in answers[name] or "not enabled on" in answers[name] for name in not_called)
    assert not listed & FORMER_NAMES.keys()


async def try_call(client: Client, caller: str) -> str:
    """Call an operation that does not exist, and return what the server says of it."""
    try:
        return str((await client.call_tool(caller, {"operation": "no_such_operation"})).content)
    except MCPError as error:
        return str(error)


async def test_an_unknown_operation_names_the_nearest(client: Client) -> None:
    """The error for a wrong name lists similar ones."""
    answer = await client.call_tool("read_operation", {"operation": "find_texts"})

    assert answer.is_error
    assert "find_text" in str(answer.content)


async def test_arguments_are_validated_before_anything_is_sent(client: Client) -> None:
    """The gateway checks the operation's full schema as the tool itself does."""
    answer = await client.call_tool("read_operation", {"operation": "session_get", "arguments": {"sessionID": "x"}})

    assert answer.is_error
    assert "nothing was sent" in str(answer.content)
    assert "which starts with ses" in str(answer.content)
