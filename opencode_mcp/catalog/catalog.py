"""The operations by tool name: the document with its amendments, as the rest of the package reads it.

Document -> amendments -> Catalog
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from opencode_mcp.exceptions import UnsupportedServer
from opencode_mcp.openapi import schema as schemas
from opencode_mcp.openapi.document import Document, OperationObject, ParameterObject, Schema
from opencode_mcp.openapi.navigation import resolve

from .amendment import Amendment, Check, ExecutionMode, Paging
from .annotations import Hints
from .generation import Generation
from .generations import DEFAULT_GENERATION, GENERATIONS
from .minimal_lists import MinimalList
from .scopes import Scope

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

PROPERTY_KEY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
"""Property keys that MCP clients accept; Claude Code drops a tool with any other key."""

JSON_TYPE = "application/json"
MAX_NAME_CHARS = 50
"""Clients prefix tool names and accept 64 characters."""

ABSENT_NOTE = "Not in this server's document: the server may not have it."


@dataclass(frozen=True)
class Body:
    """A request body: `fields` are its properties as arguments, or None when `body` is one argument.

    A body that is not JSON is sent as its `media_type`; bytes are passed as base64.
    """

    schema: Schema
    fields: tuple[str, ...] | None
    required: bool
    media_type: str = JSON_TYPE


@dataclass(frozen=True)
class Operation:
    """One operation of the server, ready to be called.

    `name` is the tool name, `id` the operationId, `path` a template such as /session/{sessionID}. An operation with
    `needs_project` that takes a directory is useless without one. `response` is the schema of a successful response; it
    refers to `components`. `generation` is what is known of its OpenCode. `Amendment` and `Scope` describe the other
    fields.
    """

    name: str
    id: str
    method: str
    path: str
    title: str
    description: str
    parameters: tuple[ParameterObject, ...]
    body: Body | None
    controls: Mapping[str, Schema]
    headers: Mapping[str, str]
    returned_headers: Mapping[str, str]
    returns_file: bool
    needs_project: bool
    scope: Scope | None
    lists_sessions: bool
    covers_all_directories: bool
    misreads_directory: bool
    minimal: MinimalList | None
    paging: Paging | None
    execution_mode: ExecutionMode
    checks: tuple[Check, ...]
    advice: Mapping[int, str]
    empty_note: str
    hints: Hints
    deprecated: bool
    response: Schema = field(repr=False)
    components: Mapping[str, Schema] = field(repr=False)
    generation: Generation = field(repr=False, compare=False)

    @cached_property
    def input_schema(self) -> Schema:
        """The full JSON Schema of the arguments: self-contained, its root a plain closed object."""
        properties: dict[str, Schema] = {}
        required: list[str] = []
        for parameter in self.parameters:
            properties[parameter.argument_name] = with_description(parameter.value_schema, parameter.description)
            if parameter.required:
                required.append(parameter.argument_name)
        if self.body is not None:
            resolved = resolve(self.body.schema, self.components)
            if self.body.fields is None:
                properties["body"] = self.body.schema
                required.extend(["body"] if self.body.required else [])
            else:
                properties |= resolved.get("properties", {})
                required.extend(resolved.get("required", []))
        properties |= self.controls
        described = {
            name: with_description(schema, self.generation.arguments.describe(self.id, name))
            for name, schema in properties.items()
        }
        root: Schema = {"type": "object", "properties": described}
        if required:
            root["required"] = required
        return schemas.bundle(root | {"additionalProperties": False}, self.components)

    @cached_property
    def response_schema(self) -> Schema:
        """The self-contained JSON Schema of a successful response; {} if it is not JSON."""
        return schemas.bundle(self.response, self.components)

    @cached_property
    def validator(self) -> Draft202012Validator:
        """The compiled `input_schema`, at first use."""
        from jsonschema_rs import Draft202012Validator

        return Draft202012Validator(self.input_schema)

    def accepts(self, arguments: Mapping[str, Any]) -> bool:
        """Whether arguments are valid. None at all are without a validator, as the first one takes 5 MB."""
        if not arguments:
            return not self.input_schema.get("required")
        return self.validator.is_valid(dict(arguments))

    @cached_property
    def argument_names(self) -> frozenset[str]:
        """The names of all arguments and of all properties in them, at any depth."""
        return frozenset(schemas.property_names(self.input_schema))

    def for_servers(self, servers: Sequence[str]) -> Operation:
        """Return the operation for several servers: with an argument `server`, unless the session decides."""
        if "sessionID" in self.input_schema.get("required", ()):
            return self
        default = "all" if self.lists_sessions else servers[0]
        server: Schema = {"type": "string", "enum": list(servers), "description": f"default: {default}"}
        return replace(self, controls={**self.controls, "server": server})

    def has_query_parameter(self, parameter: str) -> bool:
        """Whether the operation has a query parameter of this name."""
        return any(p.name == parameter and p.location == "query" for p in self.parameters)


class Catalog(Mapping[str, Operation]):
    """Operations by tool name, in the document's order. Immutable; built at first access.

    `servers` are the names that a call can choose from, empty for a single server. Operations that only `fallback` has
    come last and are marked. `reserved` are names of other tools; no operation gets one.
    """

    def __init__(
        self,
        load: Callable[[], Document],
        servers: tuple[str, ...] = (),
        fallback: Callable[[], Document] | None = None,
        reserved: frozenset[str] = frozenset(),
        generation: Generation | None = None,
    ) -> None:
        self.generation = generation or GENERATIONS[DEFAULT_GENERATION]
        self._load = load
        self.servers = servers
        self._fallback = fallback
        self._reserved = reserved

    @staticmethod
    @cache
    def from_snapshot(generation: int = DEFAULT_GENERATION) -> Catalog:
        """Return the catalog of a bundled document, which is built once."""
        known = GENERATIONS[generation]
        return Catalog(known.load_document, generation=known)

    def for_servers(self, servers: Sequence[str]) -> Catalog:
        """Return the catalog for the named servers; with one server, operations have no `server` argument."""
        names = tuple(servers) if len(servers) > 1 else ()
        if names == self.servers:
            return self
        return Catalog(self._load, names, self._fallback, self._reserved, self.generation)

    @cached_property
    def _operations(self) -> dict[str, Operation]:
        document = self._load()
        operations = list(build_operations(document, self.generation))
        if self._fallback is not None:
            known_ids = {operation.id for operation in operations}
            bundled = build_operations(self._fallback(), self.generation)
            extras = (operation for operation in bundled if operation.id not in known_ids)
            operations += [replace(extra, description=f"{extra.description} {ABSENT_NOTE}") for extra in extras]
        if self.servers:
            operations = [operation.for_servers(self.servers) for operation in operations]
        by_name: dict[str, Operation] = {}
        for operation in operations:
            name = free_name(operation.name, by_name.keys() | self._reserved)
            by_name[name] = operation if name == operation.name else replace(operation, name=name)
        return by_name

    def __getitem__(self, name: str) -> Operation:
        return self._operations[name]

    def find_needed(self, name: str) -> Operation:
        """Return an operation that a task tool or a resource calls.

        Raises:
            UnsupportedServer: this generation of OpenCode does not have it.
        """
        if name not in self:
            raise UnsupportedServer(f"this needs {name}, which OpenCode {self.generation.number} does not have")
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._operations)

    def __len__(self) -> int:
        return len(self._operations)


def build_operations(document: Document, generation: Generation) -> Iterator[Operation]:
    """Yield the operations of a document."""
    components = document.components.schemas
    for method, path, source in document.operations():
        yield build_operation(method, path, source, components, generation)


def free_name(name: str, taken: Container[str]) -> str:
    """Return a tool name that is not taken by an earlier operation or by another tool."""
    numbered = (f"api_{name}_{number}" for number in count(2))
    return next(candidate for candidate in chain((name, f"api_{name}"), numbered) if candidate not in taken)


def build_operation(
    method: str, path: str, source: OperationObject, components: Mapping[str, Schema], generation: Generation
) -> Operation:
    """Merge one operation of the document with its amendments."""
    amendments = generation.amendments_for(source.operation_id)
    parameters = {(parameter.location, parameter.name): parameter for parameter in source.parameters}
    merged: dict[str, dict[Any, Any]] = {"controls": {}, "headers": {}, "returned_headers": {}, "advice": {}}
    for amendment in amendments:
        parameters = {
            key: parameter
            for key, parameter in parameters.items()
            if parameter.name not in amendment.dropped_parameters
        }
        parameters |= {(parameter.location, parameter.name): parameter for parameter in amendment.parameters}
        for attribute, values in merged.items():
            values |= getattr(amendment, attribute)
        path = amendment.path or path
    title = next((amendment.title for amendment in amendments if amendment.title), source.summary)
    arguments = assign_argument_names(parameters.values())
    minimal = generation.minimal_lists.get(source.operation_id)
    if minimal is not None:
        merged["controls"]["full"] = {"type": "boolean", "default": False}
    body = build_body(
        source,
        {parameter.argument_name for parameter in arguments},
        components,
        any(a.optional_body for a in amendments),
    )
    return Operation(
        name=tool_name(source.operation_id),
        id=source.operation_id,
        method=method.upper(),
        path=path,
        title=title or source.operation_id,
        description=build_description(
            generation.descriptions.get(source.operation_id), source, title, body, amendments
        ),
        parameters=arguments,
        body=body,
        **merged,
        returns_file=any(amendment.returns_file for amendment in amendments),
        needs_project=source.operation_id not in generation.scopes.without_project,
        scope=generation.scopes.scope_of(source.operation_id),
        lists_sessions=any(amendment.lists_sessions for amendment in amendments),
        covers_all_directories=any(amendment.covers_all_directories for amendment in amendments),
        misreads_directory=any(amendment.misreads_directory for amendment in amendments),
        minimal=minimal,
        paging=next((amendment.paging for amendment in amendments if amendment.paging), None),
        execution_mode=merge_execution_modes(amendments),
        checks=tuple(a.check for a in amendments if a.check is not None),
        empty_note=" ".join(a.empty_note for a in amendments if a.empty_note),
        hints=generation.annotations.hints_for(source.operation_id, method),
        deprecated=source.deprecated,
        response=response_schema(source),
        components=components,
        generation=generation,
    )


def build_description(
    own: str | None, source: OperationObject, title: str, body: Body | None, amendments: Sequence[Amendment]
) -> str:
    """Return the description of an operation, its own or that of the document, and the amendments' notes."""
    sentences = [
        own or source.description or (title and f"{title}."),
        *(amendment.note for amendment in amendments),
    ]
    if body is not None and body.media_type != JSON_TYPE:
        sentences.append(f"Sent as {body.media_type}; pass bytes as base64.")
    return " ".join(sentence for sentence in sentences if sentence) or source.operation_id


def merge_execution_modes(amendments: Sequence[Amendment]) -> ExecutionMode:
    """Return an operation's execution mode: "request", unless an amendment sets another."""
    for amendment in amendments:
        if amendment.execution_mode != "request":
            return amendment.execution_mode
    return "request"


def build_body(
    source: OperationObject, parameters: set[str], components: Mapping[str, Schema], optional: bool
) -> Body | None:
    """Decide how the request body appears among the arguments.

    The fields of a plain object stand beside the parameters. A body that is not a plain object, or has a field that is
    named like a parameter or is not a valid property key, is one argument, `body`.
    """
    if source.request_body is None or not source.request_body.content:
        return None
    content = source.request_body.content
    media_type = min(content, key=media_type_rank)
    schema = content[media_type].value_schema
    sent_as = JSON_TYPE if "*" in media_type else media_type
    resolved = resolve(schema, components)
    fields = resolved.get("properties")
    if not fields or any(name in parameters or not PROPERTY_KEY.fullmatch(name) for name in fields):
        return Body(schema=schema, fields=None, required=not optional, media_type=sent_as)
    return Body(schema=schema, fields=tuple(fields), required=bool(resolved.get("required")), media_type=sent_as)


def media_type_rank(media_type: str) -> int:
    """Return the rank of a content type that a body may be sent as: JSON comes first."""
    kind = media_type.partition(";")[0].strip().lower()
    if kind == JSON_TYPE or kind.endswith("+json"):
        return 0
    if "*" in kind:
        return 1
    form_types = ("multipart/form-data", "application/x-www-form-urlencoded")
    return 2 + form_types.index(kind) if kind in form_types else 4


def assign_argument_names(parameters: Iterable[ParameterObject]) -> tuple[ParameterObject, ...]:
    """Give each parameter a unique argument name that clients accept."""
    renamed: list[ParameterObject] = []
    for parameter in parameters:
        taken = {other.argument_name for other in renamed}
        name = parameter.name
        if not PROPERTY_KEY.fullmatch(name) or name in taken:
            clean = re.sub(r"[^a-zA-Z0-9_.-]+", "_", name).strip("_")[:50] or "value"
            numbered = (f"{clean}_{number}" for number in count(2))
            candidates = chain((clean, f"{parameter.location}_{clean}"), numbered)
            parameter = parameter.model_copy(
                update={"argument": next(other for other in candidates if other not in taken)}
            )
        renamed.append(parameter)
    return tuple(renamed)


def with_description(schema: Schema, description: str) -> Schema:
    """Add an argument's description to its schema, where clients read it."""
    return {**schema, "description": description} if description else schema


def tool_name(operation_id: str) -> str:
    """Turn an operationId into a tool name: `v2.session.switchAgent` -> `v2_session_switch_agent`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation_id).lower()
    return re.sub(r"[^a-z0-9_]+", "_", snake).strip("_")[:MAX_NAME_CHARS] or "operation"


def response_schema(source: OperationObject) -> Schema:
    """Return the schema of an operation's 200 response."""
    success = source.responses.get("200")
    media = success.content.get(JSON_TYPE) if success else None
    return media.value_schema if media else {}
