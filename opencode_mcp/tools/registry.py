"""All tools by name: task tools, the gateway, and operations of the API. Lists them and calls them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import mcp_types as types
from pydantic import BaseModel

from opencode_mcp.catalog import Catalog, Operation
from opencode_mcp.catalog.sensitive import answer_position
from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode import Answer, execute_operation
from opencode_mcp.opencode.prepare import PreparedCall
from opencode_mcp.redaction import Position, Redactor, refuse_marker
from opencode_mcp.suggestions import COMPARED_CHARS, aliases, suggest
from opencode_mcp.tasks import Context, TaskTool, execute_blocking, task_tools_for
from opencode_mcp.tasks.arguments import validate_arguments
from opencode_mcp.tasks.mcp_task_state import TaskValue

from .definition import gateway_definition, operation_definition, task_definition
from .gateway import (
    GATEWAY_TOOLS,
    CallOperation,
    DescribeOperation,
    GatewayTool,
    ReadOperation,
    SearchOperations,
    caller_of,
    current_name,
    describe_operation,
    example_call,
    format_hits,
    refuse_other_class,
)
from .results import Limit, failure, operation_result, page_result, report_result, structured
from .search import OperationSearch
from .selection import Selection
from .truncate import abbreviate


@dataclass(frozen=True)
class ToolRegistry:
    """The tools of one selection. `max_result_chars` bounds every result."""

    catalog: Catalog
    selection: Selection
    max_result_chars: int

    def __contains__(self, name: str) -> bool:
        return current_name(name) in self.selection.listed

    @cached_property
    def task_tools(self) -> Mapping[str, TaskTool]:
        """The task tools by name, for the servers of the catalog."""
        return task_tools_for(self.catalog.servers, self.selection.only_reading, self.catalog.generation.number)

    @cached_property
    def listed(self) -> list[types.Tool]:
        """Every tool of the selection: task tools, the gateway, then operations in the document's order."""
        tools = [
            *(task_definition(entry) for entry in self.task_tools.values() if entry.name in self),
            *(gateway_definition(entry) for entry in GATEWAY_TOOLS.values() if entry.name in self),
            *(
                operation_definition(entry, self.max_result_chars)
                for entry in self.catalog.values()
                if entry.name in self
            ),
        ]
        return [types.Tool.model_validate(tool) for tool in tools]

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Return the full input schema of a tool."""
        name = current_name(name)
        entry = self.task_tools.get(name) or GATEWAY_TOOLS.get(name) or self.catalog.get(name)
        return None if entry is None else entry.input_schema

    async def call(
        self, context: Context, redactor: Redactor, name: str, arguments: Mapping[str, Any]
    ) -> types.CallToolResult:
        """Call a tool; `redactor` is applied to its result.

        Raises:
            KeyError: there is no such tool.
            InputRequired: the client must ask its user.
            OpenCodeError: the call failed.
        """
        name = current_name(name)
        if name in self.task_tools:
            return await self._call_task_tool(self.task_tools[name], context, redactor, arguments)
        if name in GATEWAY_TOOLS:
            return await self._call_gateway_tool(GATEWAY_TOOLS[name], context, redactor, arguments)
        return await self._call_operation(context, redactor, self.catalog[name], arguments)

    async def _call_operation(
        self,
        context: Context,
        redactor: Redactor,
        operation: Operation,
        arguments: Mapping[str, Any],
        part: ReadOperation | None = None,
    ) -> types.CallToolResult:
        """Call an operation, and return its result or a part of it."""
        call = self._prepare(context, operation, arguments)
        blocking = partial(execute_blocking, context)
        answer = await execute_operation(context.servers, call, context.report_progress, blocking)
        limit, position = self._result_limit(operation, arguments), self._position(operation.name)
        form = None if operation.minimal is None or call.arguments.get("full") else operation.minimal.form
        if part is not None and part.is_partial:
            return page_result(answer, part, limit, redactor, position, form)
        return operation_result(answer, limit, redactor, position, form)

    def _prepare(self, context: Context, operation: Operation, arguments: Mapping[str, Any]) -> PreparedCall:
        """Coerce and validate arguments, with the defaults that the operation has for tools.

        Raises:
            InvalidArguments: the arguments are invalid, or would overwrite a secret with its redaction marker.
        """
        changes = not operation.hints.read_only
        if changes:
            refuse_marker(operation.name, arguments)
        call = context.servers.default.prepare(operation, arguments, lenient=True)
        if operation.minimal is not None:
            call = context.servers.default.prepare(operation, {**operation.minimal.defaults, **call.arguments})
        if changes and call.arguments is not arguments:  # JSON text can spell the marker with escapes
            refuse_marker(operation.name, call.arguments)
        return call

    async def _call_task_tool(
        self, tool: TaskTool, context: Context, redactor: Redactor, arguments: Mapping[str, Any]
    ) -> types.CallToolResult:
        if not tool.hints.read_only:
            refuse_marker(tool.name, arguments)
        validated = validate_arguments(tool.name, tool.arguments, arguments, lenient=True)
        if not tool.hints.read_only:
            refuse_marker(tool.name, validated.model_dump())
        return self._report_result(await tool.execute(self.bounded(context), validated), redactor)

    def bounded(self, context: Context) -> Context:
        """Return the context of a call whose report fits into a result: JSON may take two characters for one."""
        tools = [name for name in self.task_tools if self.enables(name)]
        return replace(context, answer_chars=self.max_result_chars // 2, tools=tools)

    def _report_result(self, report: BaseModel, redactor: Redactor) -> types.CallToolResult:
        limit = Limit(self.max_result_chars, "request less: a smaller limit, or format stat")
        return report_result(report, redactor, limit)

    def becomes_task(self, name: str) -> bool:
        """Whether a call of a tool or operation can continue as an MCP task, where it is enabled."""
        if name in self.task_tools:
            return self.task_tools[name].becomes_task
        return name in self.catalog and self.catalog[name].execution_mode == "blocking"

    def enables(self, name: str) -> bool:
        """Whether a tool or operation can be called, also through the gateway."""
        return name in self.selection.listed | self.selection.reachable

    def task_result(self, tool: str, value: TaskValue, redactor: Redactor) -> types.CallToolResult:
        """Return the result of an MCP task as the call of `tool` would have returned it."""
        match value:
            case str():
                return failure(abbreviate(redactor.redact_text(value), self.max_result_chars))
            case Answer():
                limit = self._result_limit(self.catalog[tool], {})
                return operation_result(value, limit, redactor, self._position(tool))
            case _:
                return self._report_result(value, redactor)

    async def _call_gateway_tool(
        self, tool: GatewayTool, context: Context, redactor: Redactor, arguments: Mapping[str, Any]
    ) -> types.CallToolResult:
        validated = validate_arguments(tool.name, tool.arguments, arguments, lenient=True)
        if isinstance(validated, SearchOperations):
            hits = format_hits(self._search.search(validated.query, validated.limit))
            return structured(hits, Limit(self.max_result_chars, "use a smaller limit or a more specific query"))
        if isinstance(validated, DescribeOperation):
            uri = f"opencode://operation/{validated.operation}"
            limit = Limit(self.max_result_chars, f"read the resource {uri} with a JSON Pointer appended for any part")
            operation = self._find_reachable(tool, validated.operation)
            options = validated.model_dump(exclude={"operation"})
            return structured(describe_operation(operation, **options, max_chars=self.max_result_chars), limit)
        assert isinstance(validated, CallOperation)
        operation = self._find_reachable(tool, validated.operation)
        refuse_other_class(tool, operation)
        part = validated if isinstance(validated, ReadOperation) else None
        try:
            return await self._call_operation(context, redactor, operation, validated.arguments, part)
        except InvalidArguments as error:
            if error.example is None:
                raise
            call = {"operation": operation.name, "arguments": error.example}
            raise error.with_example(call) from error

    @cached_property
    def _search(self) -> OperationSearch:
        return OperationSearch(
            operation for operation in self.catalog.values() if operation.name in self.selection.reachable
        )

    @cached_property
    def _position(self) -> Callable[[str], Position]:
        """A cached function: what an operation's response describes. Deriving it takes up to a millisecond."""

        @cache
        def position(name: str) -> Position:
            return answer_position(self.catalog[name])

        return position

    def explain_unlisted(self, name: str) -> str | None:
        """Return why a tool is not listed, and how the gateway calls it; None for a name that no tool has."""
        name = current_name(name)
        if (setting := self.selection.disabled.get(name)) is not None:
            return f"{name} is disabled on this server, by {setting}."
        if name in self.selection.reachable and (caller := caller_of(self.catalog[name])) in self:
            call = json.dumps(example_call(self.catalog[name]), ensure_ascii=False)
            return f"{name} is not listed as a tool; call {caller} with {call}"
        exists = name in self.task_tools or name in GATEWAY_TOOLS or name in self.catalog
        return f"{name} is not enabled on this server." if exists else None

    def nearest_names(self, name: str) -> str:
        """Return up to four tools and operations, the nearest to a name by its spelling or its words."""
        return ", ".join(self._similar(name, self.selection.listed | self.selection.reachable))

    def _similar(self, name: str, known: Collection[str]) -> list[str]:
        """Return two names by spelling, and two operations by what they do: session_rename is session_update."""
        spelled = suggest(name, sorted(known)).split(", ")[:2]
        found = [operation.name for operation in self._search.search(name[:COMPARED_CHARS].replace("_", " "), 2)]
        return [similar for similar in dict.fromkeys([*spelled, *found]) if similar]

    def _find_reachable(self, tool: GatewayTool, name: str) -> Operation:
        """Return an operation that the gateway may call.

        Raises:
            InvalidArguments: the operation does not exist, or the selection excludes it.
        """
        if name not in self.selection.reachable and len(same := aliases(name, self.selection.reachable)) == 1:
            [name] = same  # as an operationId, `session.get`
        if name not in self.selection.reachable:
            if (setting := self.selection.disabled.get(name)) is not None:
                raise InvalidArguments(tool.name, [f"operation: {name} is disabled on this server, by {setting}"])
            nearest = ", ".join(self._similar(name, self.selection.reachable)) or "none, try search_operations"
            raise InvalidArguments(
                tool.name,
                [f"operation: {abbreviate(name)!r} is unknown or not enabled on this server; nearest: {nearest}"],
            )
        return self.catalog[name]

    def _result_limit(self, operation: Operation, arguments: Mapping[str, Any]) -> Limit:
        """Return the limit of an operation's result, with a hint how to read the rest."""
        if not operation.hints.read_only:
            return Limit(self.max_result_chars, "read the rest with a read operation on the same object")
        arguments_text = "the same arguments" if arguments else "no arguments"
        return Limit(
            self.max_result_chars,
            f"call read_operation with operation {operation.name}, {arguments_text} and a pointer from `parts` (plus "
            "offset and limit) for any part",
        )
