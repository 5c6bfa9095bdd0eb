"""The gateway: an operation that is not listed is searched, described, and called by the tool for its class."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.settings import Settings
from opencode_mcp.tools.gateway import describe_operation, make_example, safety_of
from opencode_mcp.tools.truncate import dump

pytestmark = pytest.mark.anyio


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed, and return its structured content."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    return answer.structured_content


async def test_a_search_says_which_caller_to_use(client: Client) -> None:
    """A query finds the operation, with its description and the tool that calls it."""
    found = await call(client, "search_operations", query="delete a session")

    assert {"operation": "session_delete", "call_with": "delete_operation"}.items() <= found["operations"][0].items()


async def test_a_description_is_complete(client: Client, catalog: Catalog) -> None:
    """The full input schema, the response schema, what errors mean, and an example that is valid."""
    told = await call(client, "describe_operation", operation="session_prompt")

    assert told["input_schema"] == catalog["session_prompt"].input_schema
    assert told["response_schema"]["properties"].keys() == {"info", "parts"}
    assert "unknown" in told["traps"]["500"] or "does not know" in told["traps"]["500"]
    assert catalog["session_prompt"].validator.is_valid(told["example"]["arguments"])


def test_every_input_schema_fits_the_limit(catalog: Catalog) -> None:
    """The longest omit the response schema, and name the resource that has it."""
    limit = Settings().max_result_chars
    told = {name: describe_operation(operation, limit) for name, operation in catalog.items()}

    assert all(len(dump(one)) <= limit for one in told.values())
    assert all(one["input_schema"] == catalog[name].input_schema for name, one in told.items())
    without = {name for name, one in told.items() if isinstance(one["response_schema"], str)}
    assert without == {"config_update", "global_config_update", "v2_session_history"}


def test_every_example_is_valid(catalog: Catalog) -> None:
    """An example that a model copies is accepted by the full schema, for each of the operations."""
    wrong = [
        name
        for name, operation in catalog.items()
        if not Draft202012Validator(operation.input_schema).is_valid(make_example(operation.input_schema))
    ]

    assert wrong == []


async def test_an_operation_is_called_through_its_caller(client: Client) -> None:
    """Write creates a session, read reads it, delete deletes it."""
    created = await call(client, "write_operation", operation="session_create", arguments={"title": "by gateway"})
    session = {"sessionID": created["id"]}
    assert (await call(client, "read_operation", operation="session_get", arguments=session))["title"] == "by gateway"
    assert (await call(client, "delete_operation", operation="session_delete", arguments=session))["result"] is True


@pytest.mark.parametrize("operation", ["session_list", "session_create", "session_delete"])
async def test_a_caller_refuses_operations_of_another_class(client: Client, catalog: Catalog, operation: str) -> None:
    """Each of the three tools accepts only its own class, and names the right tool otherwise."""
    own = f"{safety_of(catalog[operation])}_operation"
    for caller in {"read_operation", "write_operation", "delete_operation"} - {own}:
        answer = await client.call_tool(caller, {"operation": operation})

        assert answer.is_error
        assert own in str(answer.content)


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
    assert "^ses" in str(answer.content)
