"""Which responses describe configuration, credentials, MCP servers or processes: one decision per operation.

Secrets are redacted by key and position (`redaction/structure.py`) only in these responses. Every operation whose
response schema passes `may_hold_secret` must be listed here; entries that are content give their reason. Observed on
OpenCode 1.18.33.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from opencode_mcp.openapi.document import Schema
from opencode_mcp.redaction.credentials import is_secret
from opencode_mcp.redaction.structure import CREDENTIAL_KEYS, Position

from .annotations import parse_operation_ids
from .catalog import Operation

FREE_FORM_FIELDS = frozenset({"args", "argv", "command", "env", "environment", "headers", "options", "responseHeaders"})
"""Fields of a response schema whose free-form values may be secret."""

OPERATIONS_BY_POSITION = {
    Position.CONFIG: parse_operation_ids("""
        app.agents v2.agent.list  # `options` go to the provider's SDK
        config.get config.update global.config.get global.config.update
        config.providers provider.list v2.provider.get v2.provider.list v2.model.list
        experimental.console.get
        experimental.workspace.create experimental.workspace.list experimental.workspace.remove  # `extra`: an adapter's
        formatter.status lsp.status
        mcp.auth.authenticate mcp.auth.callback  # a status, whose error quotes the server's URL
        pty.create pty.get pty.list pty.update
        v2.integration.get v2.integration.list
        v2.pty.create v2.pty.get v2.pty.list v2.pty.update
    """),
    Position.NAMES: parse_operation_ids("""
        mcp.add mcp.status  # by the server's name
        provider.auth  # by the provider's id
    """),
    Position.EVENTS: parse_operation_ids("""
        event.subscribe global.event v2.event.subscribe v2.session.events
        sync.history.list
    """),
    Position.MESSAGES: parse_operation_ids("""
        part.update
        session.command session.message session.messages session.prompt session.shell
        v2.session.context v2.session.history v2.session.message v2.session.messages
    """),
    Position.IDENTIFIER: parse_operation_ids("""
        find.files tool.ids worktree.list  # a list of paths, names, directories
    """),
    Position.CONTENT: parse_operation_ids("""
        command.list  # templates
        mcp.auth.start provider.oauth.authorize  # the user opens their URL, which works only as a whole
        project.current project.initGit project.list project.update  # `commands` are scripts of the project
        pty.connectToken v2.pty.connectToken  # the ticket is for the next call
        question.list v2.question.request.list v2.session.question.list  # `options` are what a user can choose
        tool.list  # schemas of arguments
        v2.integration.connect.oauth v2.integration.attempt.status  # as provider.oauth.authorize
    """),
}
"""The operations by the position of their whole response."""

POSITION_BY_OPERATION: Mapping[str, Position] = {
    name: position for position, names in OPERATIONS_BY_POSITION.items() for name in names
}


def answer_position(operation: Operation) -> Position:
    """Return the position of an operation's answer.

    An operation that is not listed, from a newer document, counts as configuration if its schema has a field that may
    hold a secret.
    """
    position = POSITION_BY_OPERATION.get(operation.id)
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
