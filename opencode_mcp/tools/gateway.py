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

from .compact_schema import compact_response_schema, compact_schema
from .signature import format_signature
from .truncate import dump

Safety = Literal["read", "add", "change"]
"""What an operation may do, in the words of MCP's annotations: read only, add only, or change and destroy."""

FORMER_NAMES = {"write_operation": "add_operation", "delete_operation": "change_operation"}
"""Callers' names before they were renamed. Calls and settings may use them for one release; they are not listed."""


class SearchOperations(Arguments):
    """Arguments of search_operations."""

    query: str = Field(min_length=1, max_length=500, description="What you want to do, in a few plain words.")
    limit: int = Field(8, ge=1, le=50, description="How many hits; default 8.")


class DescribeOperation(Arguments):
    """Arguments of describe_operation."""

    operation: str = Field(description="A name from search_operations.")
    response: bool = Field(False, description="true: also the schema of the response.")
    full: bool = Field(False, description="true: whole schemas (may be long).")


class CallOperation(Arguments):
    """Arguments of add_operation and change_operation."""

    operation: str = Field(description="A name from search_operations.")
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any], description="As search_operations names them.")


class ReadOperation(CallOperation):
    """Arguments of read_operation: a call, and the part of its response to return."""

    pointer: str = Field("", description="JSON Pointer to the part to return, such as /result/0; default: all.")
    offset: int = Field(0, ge=0, description="Index of its first item, field or character; default 0.")
    limit: int | None = Field(None, ge=1, description="How many of them; default: what fits.")

    @property
    def is_partial(self) -> bool:
        """Whether a part is requested, not the whole response."""
        return bool(self.pointer or self.offset) or self.limit is not None


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


NO_HIT_NOTE = "Nothing matches. Try words such as session, message, file, git, worktree, terminal, config, model, mcp."

ADD_HINTS = Hints(read_only=False, destructive=False, idempotent=False, open_world=True)
CHANGE_HINTS = Hints(read_only=False, destructive=True, idempotent=False, open_world=True)

GATEWAY_TOOLS = {
    tool.name: tool
    for tool in (
        GatewayTool(
            "search_operations",
            "Search operations",
            "Find one of OpenCode's operations: sessions, files, git, terminals, providers, MCP servers, … A hit names "
            "its arguments (`?`: optional) and the tool that calls it.",
            SearchOperations,
            READ_ONLY,
        ),
        GatewayTool(
            "describe_operation",
            "Describe an operation",
            "Get an operation's input schema, known traps and an example.",
            DescribeOperation,
            READ_ONLY,
        ),
        GatewayTool(
            "read_operation",
            "Call a read operation",
            "Call a read-only operation, or get a part of a large result.",
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
            "Call any other operation, one that may change or lose something, or runs commands and models: rename, "
            "share, prompt, shell, revert, delete, …",
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
        InvalidArguments: names the tool to use, with an example for it.
    """
    if tool.safety != safety_of(operation):
        problem = f"operation: call {operation.name} with {caller_of(operation)}"
        raise InvalidArguments(tool.name, [problem], example_call(operation))


def example_call(operation: Operation) -> dict[str, Any]:
    """Return an example of the arguments with which a gateway tool calls an operation."""
    return {"operation": operation.name, "arguments": make_example(operation.input_schema)}


def format_hits(operations: list[Operation]) -> dict[str, Any]:
    """Return search results: a line each, from which most operations can be called."""
    hits = [
        {
            "operation": operation.name,
            "call_with": caller_of(operation),
            "arguments": format_signature(operation) or "none",
            "does": operation.description,
        }
        for operation in operations
    ]
    return {"operations": hits} if hits else {"operations": [], "note": NO_HIT_NOTE}


def describe_operation(
    operation: Operation, response: bool = False, full: bool = False, max_chars: float = inf
) -> dict[str, Any]:
    """Return how to call an operation: what it does, its input schema, known traps by HTTP status, a valid example.

    The input schema is the published one, and `unlisted` names the arguments that it omits. With `full` it is the one
    that validates, and `request` is the HTTP method and path. With `response` a summary of the response's schema is
    added; with both the whole one, unless the result would exceed `max_chars`.
    """
    published = compact_schema(operation.input_schema)
    unlisted = operation.input_schema["properties"].keys() - published["properties"].keys()
    facts: dict[str, Any] = {
        "operation": operation.name,
        "call_with": caller_of(operation),
        "does": operation.description,
        **({"request": f"{operation.method} {operation.path}"} if full else {}),
        "input_schema": operation.input_schema if full else published,
    }
    if unlisted and not full:
        facts["unlisted"] = ", ".join(sorted(unlisted))
    if operation.advice:
        facts["traps"] = {str(status): advice for status, advice in operation.advice.items()}
    facts["example"] = example_call(operation)
    if response and not full:
        return {**facts, "response_schema": compact_response_schema(operation.response_schema)}
    if response:
        uri = f"opencode://operation/{operation.name}/response_schema"
        with_response = {**facts, "response_schema": operation.response_schema}
        is_short = len(dump(with_response)) <= max_chars
        return with_response if is_short else {**facts, "response_schema": f"too long; read the resource {uri}"}
    return facts
