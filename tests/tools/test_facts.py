"""Results as a client receives them: once, and readable in either form."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tools import facts_of, failure, sent_once

TEXT_RESULTS: list[tuple[list[str], dict[str, Any]]] = [
    (['{"id": "ses_1"}'], {"id": "ses_1"}),
    (["--- a\n+++ b\n"], {"result": "--- a\n+++ b\n"}),
    (["[1, 2]"], {"result": "[1, 2]"}),
    (
        ["key = …", '{"_redacted": "1 secret is replaced"}'],
        {"result": 'key = …\n{"_redacted": "1 secret is replaced"}'},
    ),
]


def text_result(texts: list[str], **fields: Any) -> types.CallToolResult:
    """Return a result that has texts."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=text) for text in texts], **fields)


@pytest.mark.parametrize(("texts", "facts"), TEXT_RESULTS)
def test_the_facts_of_a_text_are_its_object_or_the_text(texts: list[str], facts: dict[str, Any]) -> None:
    """A diff or a list is `{"result": text}`."""
    assert facts_of(text_result(texts)) == facts


def test_structured_content_comes_before_text() -> None:
    """Where a result has both, the text is not parsed."""
    assert facts_of(text_result(["not read"], structured_content={"state": "completed"})) == {"state": "completed"}


def test_an_error_has_facts_only_if_its_text_is_an_object() -> None:
    """The message of a refused call has none; the failed reply of a model has."""
    assert facts_of(failure("Invalid arguments")) is None
    assert facts_of(text_result(['{"info": {}}'], is_error=True)) == {"info": {}}


@pytest.mark.parametrize(
    ("has_output_schema", "protocol_version", "is_sent"),
    [
        (True, "2024-11-05", False),
        (True, "2025-03-26", False),
        (True, "2025-06-18", True),
        (True, "2025-11-25", True),
        (True, "2026-07-28", True),
        (False, "2025-11-25", False),
        (False, "2026-07-28", False),
    ],
)
def test_structured_content_is_sent_where_the_protocol_requires_it(
    has_output_schema: bool, protocol_version: str, is_sent: bool
) -> None:
    """The text is always sent; older versions have no structured content."""
    whole = text_result(['{"state": "failed"}'], structured_content={"state": "failed"}, is_error=True)
    result = sent_once(whole, has_output_schema, protocol_version)

    assert ("structured_content" in result.model_fields_set) == is_sent
    assert (result.content, result.is_error) == (whole.content, True)
    assert facts_of(result) == {"state": "failed"}


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_tool_without_an_output_schema_sends_text_only(catalog: Catalog, mode: Any) -> None:
    """A client that shows its model text and structured content would show it the same twice."""
    async with Client(create_server(Settings(), catalog), mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        result = await client.call_tool("search_operations", {"query": "rename a session"})

    assert tools["search_operations"].output_schema is None
    assert "structured_content" not in result.model_fields_set
    assert facts_of(result) is not None
