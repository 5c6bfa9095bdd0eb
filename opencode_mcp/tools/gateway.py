"""The gateway: tools that search, describe and call any operation; one calling tool per safety class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, Literal

from pydantic import Field

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.annotations import READ_ONLY, Hints
from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.openapi.document import Schema
from opencode_mcp.openapi.example import make_example
from opencode_mcp.tasks.arguments import Arguments

from .truncate import dump

Safety = Literal["read", "add", "change"]
"""What an operation may do, in the words of MCP's annotations: read only, add only, or change and destroy."""

FORMER_NAMES = {"write_operation": "add_operation", "delete_operation": "change_operation"}
"""Callers' names before they were renamed. Calls and settings may use them for one release; they are not listed."""


class SearchOperations(Arguments):
    """Arguments of search_operations."""

    query: str = Field(min_length=1, max_length=500)
    limit: int = Field(8, ge=1, le=50)


class DescribeOperation(Arguments):
    """Arguments of describe_operation."""

    operation: str


class CallOperation(Arguments):
    """Arguments of add_operation and change_operation."""

    operation: str
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])


class ReadOperation(CallOperation):
    """Arguments of read_operation: a call, and the part of its response to return."""

    pointer: str = Field("", description="JSON Pointer (RFC 6901) to a part of the result.")
    offset: int = Field(0, ge=0, description="Index of the first item, field or character.")
    limit: int | None = Field(None, ge=1)


@dataclass(frozen=True)
class GatewayTool:
    """A gateway tool. `safety` is the class of operations that it calls, None if it calls none."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    hints: Hints
    safety: Safety | None = None

    @cached_property
    def input_schema(self) -> Schema:
        """The JSON Schema of the arguments."""
        return self.arguments.model_json_schema()


ADD_HINTS = Hints(read_only=False, destructive=False, idempotent=False, open_world=True)
CHANGE_HINTS = Hints(read_only=False, destructive=True, idempotent=False, open_world=True)

GATEWAY_TOOLS = {
    tool.name: tool
    for tool in (
        GatewayTool(
            "search_operations",
            "Search operations",
            "Search OpenCode's API operations by what they do.",
            SearchOperations,
            READ_ONLY,
        ),
        GatewayTool(
            "describe_operation",
            "Describe an operation",
            "Get an operation's full input schema, response schema, known traps and an example.",
            DescribeOperation,
            READ_ONLY,
        ),
        GatewayTool(
            "read_operation",
            "Call a read operation",
            "Call a read-only operation. pointer, offset and limit select a part of a large result.",
            ReadOperation,
            READ_ONLY,
            "read",
        ),
        GatewayTool(
            "add_operation",
            "Call an additive operation",
            "Call an operation that only adds something, such as session_create.",
            CallOperation,
            ADD_HINTS,
            "add",
        ),
        GatewayTool(
            "change_operation",
            "Call any other operation",
            "Call any other operation: it may change or lose data, or run commands and models.",
            CallOperation,
            CHANGE_HINTS,
            "change",
        ),
    )
}
"""The gateway's tools by name."""


def current_name(name: str) -> str:
    """Return a tool's name; of a former one the present one."""
    return FORMER_NAMES.get(name, name)


def safety_of(operation: Operation) -> Safety:
    """Return the class of an operation, by its hints."""
    if operation.hints.read_only:
        return "read"
    return "change" if operation.hints.destructive else "add"


def caller_of(operation: Operation) -> str:
    """Return the name of the gateway tool that calls an operation."""
    return f"{safety_of(operation)}_operation"


def refuse_other_class(tool: GatewayTool, operation: Operation) -> None:
    """Refuse an operation of another class.

    Raises:
        InvalidArguments: names the tool to use.
    """
    if tool.safety != safety_of(operation):
        raise InvalidArguments(tool.name, [f"operation: call {operation.name} with {caller_of(operation)}"])


def format_hits(operations: list[Operation]) -> dict[str, Any]:
    """Return search results: a line each."""
    return {
        "operations": [
            {
                "operation": operation.name,
                "call_with": caller_of(operation),
                "does": operation.description,
            }
            for operation in operations
        ]
    }


def describe_operation(operation: Operation, max_chars: float = inf) -> dict[str, Any]:
    """Return an operation's description; the response schema is omitted if the result would exceed `max_chars`."""
    facts: dict[str, Any] = {
        "operation": operation.name,
        "call_with": caller_of(operation),
        "does": operation.description,
        "request": f"{operation.method} {operation.path}",
        "input_schema": operation.input_schema,
        "response_schema": operation.response_schema,
        "traps": {str(status): advice for status, advice in operation.advice.items()},
        "example": {"operation": operation.name, "arguments": make_example(operation.input_schema)},
    }
    if len(dump(facts)) > max_chars:
        uri = f"opencode://operation/{operation.name}/response_schema"
        facts["response_schema"] = f"too long; read the resource {uri}"
    return facts
