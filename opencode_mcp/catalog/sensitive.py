"""Which responses describe configuration, credentials, MCP servers or processes: one decision per operation.

Secrets are redacted by key and position (`redaction/structure.py`) only in these responses. Every operation whose
response schema passes `may_hold_secret` must be listed here; entries that are content give their reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from opencode_mcp.openapi.document import Schema
from opencode_mcp.redaction.credentials import is_secret
from opencode_mcp.redaction.structure import CREDENTIAL_KEYS, Position

from .catalog import Operation

FREE_FORM_FIELDS = frozenset({"args", "argv", "command", "env", "environment", "headers", "options", "responseHeaders"})
"""Fields of a response schema whose free-form values may be secret."""


def answer_position(operation: Operation) -> Position:
    """Return the position of an operation's answer.

    An operation that is not listed, from a newer document, counts as configuration if its schema has a field that may
    hold a secret.
    """
    position = operation.generation.position_by_operation.get(operation.id)
    if position is not None:
        return position
    return Position.CONFIG if may_hold_secret(operation) else Position.CONTENT


def may_hold_secret(operation: Operation) -> bool:
    """Whether the response schema has, at any depth, a field with the name of a secret."""
    names = response_property_names(operation.response, operation.components, frozenset())
    return any(name in FREE_FORM_FIELDS or name in CREDENTIAL_KEYS or is_secret(name) for name in names)


def response_property_names(schema: Any, components: Mapping[str, Schema], seen: frozenset[str]) -> Iterator[str]:
    """Yield the names of all properties of a schema; `seen` are the components on the way to it."""
    if isinstance(schema, list):
        for inner in cast("list[Any]", schema):
            yield from response_property_names(inner, components, seen)
    if not isinstance(schema, dict):
        return
    for key, inner in cast("dict[str, Any]", schema).items():
        if key == "$ref":
            name = inner.rpartition("/")[2]
            if name not in seen:
                yield from response_property_names(components[name], components, seen | {name})
        elif key == "properties":
            yield from inner
            yield from response_property_names(list(inner.values()), components, seen)
        elif key != "required":
            yield from response_property_names(inner, components, seen)
