"""What is checked is what is sent: no coercion leads past the allowlist, the marker or the class of a tool."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.openapi.example import make_example
from opencode_mcp.opencode import AttachedServer, OpenCodeClient, ServerPool
from opencode_mcp.opencode.allowlist import DirectoryAllowlist
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.location_arguments import location_arguments
from opencode_mcp.opencode.prepare import validate
from opencode_mcp.redaction import Redactor
from opencode_mcp.redaction.credentials import MARKER
from opencode_mcp.tasks import Context
from opencode_mcp.tools import ToolRegistry, select_tools

from .conftest import FAKE_ENDPOINT, Wire

pytestmark = pytest.mark.anyio

OUTSIDE = "/outside"


@pytest.fixture
async def confined(catalog: Catalog) -> OpenCodeClient:
    """A client that may work in /project alone."""
    server = AttachedServer(FAKE_ENDPOINT)
    return OpenCodeClient(server, catalog, "/project", allowlist=DirectoryAllowlist(("/project",)))


def spellings(name: str) -> Iterator[str]:
    """Yield other spellings of a name."""
    yield from {name.upper(), name.capitalize(), f"{name[:3]}_{name[3:]}", f"{name[:3]}-{name[3:]}"} - {name}


async def test_no_spelling_leads_past_the_allowlist(confined: OpenCodeClient, catalog: Catalog) -> None:
    """Each argument of each operation that names a location, in each spelling, with a value outside."""
    tried = 0
    for operation in catalog.values():
        example = make_example(operation.input_schema)
        for argument, kind in catalog.generation.scopes.kind_by_argument.items():
            if argument not in operation.input_schema["properties"] or kind not in {"directory", "path"}:
                continue
            for spelling in spellings(argument):
                others = {key: value for key, value in example.items() if key != argument}
                with pytest.raises(InvalidArguments, match="--allow-directory"):
                    confined.prepare(operation, {**others, spelling: OUTSIDE}, lenient=True)
                tried += 1
    assert tried > 400


def test_every_location_is_seen_after_coercion(catalog: Catalog) -> None:
    """Ids too, which are looked up before the call: the checks read the names of the schema, and find each value."""
    value = {"session": "ses_outside", "workspace": "wrk_outside", "project": "outside", "directory": OUTSIDE}
    for operation in catalog.values():
        example = make_example(operation.input_schema)
        for argument, kind in catalog.generation.scopes.kind_by_argument.items():
            if argument in operation.input_schema["properties"] and kind in value:
                for spelling in spellings(argument):
                    others = {key: inner for key, inner in example.items() if key != argument}
                    taken = validate(operation, {**others, spelling: value[kind]}, lenient=True)
                    found = {(each.kind, each.value) for each in location_arguments(operation, taken)}
                    assert (kind, value[kind]) in found, (operation.name, spelling)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("v2_fs_list", {"location": json.dumps({"directory": OUTSIDE})}),
        ("v2_fs_list", {"Location": json.dumps({"Directory": OUTSIDE})}),
        ("v2_fs_list", {"arguments": {"location": {"directory": OUTSIDE}}}),
        ("v2_session_create", {"body": {"location": {"directory": OUTSIDE}}}),
        ("worktree_remove", {"body": json.dumps({"directory": OUTSIDE})}),
        ("worktree_remove", {"body": {"Directory": OUTSIDE}}),
        ("pty_create", {"body": json.dumps({"cwd": OUTSIDE})}),
        ("pty_create", {"arguments": {"CWD": OUTSIDE}}),
        ("config_update", {"instructions": OUTSIDE}),
        ("config_update", {"body": json.dumps({"instructions": OUTSIDE})}),
        (
            "session_prompt",
            {"sessionID": "ses_1", "parts": {"type": "file", "mime": "text/plain", "url": f"file://{OUTSIDE}"}},
        ),
        (
            "session_prompt",
            {
                "sessionID": "ses_1",
                "parts": json.dumps([{"type": "file", "mime": "text/plain", "url": f"file://{OUTSIDE}"}]),
            },
        ),
    ],
)
async def test_no_coercion_leads_past_the_allowlist(
    confined: OpenCodeClient, catalog: Catalog, name: str, arguments: dict[str, Any]
) -> None:
    """A location in JSON text, beside `body`, in a wrapper, or alone where a list is wanted."""
    with pytest.raises(InvalidArguments, match="--allow-directory"):
        confined.prepare(catalog[name], arguments, lenient=True)


ESCAPED_MARKER = "".join(f"\\u{ord(character):04x}" for character in MARKER)
NESTED_JSON = f'{{"type": "api", "key": "{ESCAPED_MARKER}"}}'


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("auth_set", {"providerID": "a", "body": f'{{"type": "api", "key": "{ESCAPED_MARKER}"}}'}),
        ("auth_set", {"providerID": "a", "type": "api", "key": MARKER}),
        ("config_update", {"username": MARKER}),
        (
            "change_operation",
            {"operation": "auth_set", "arguments": json.dumps({"providerID": "a", "body": NESTED_JSON})},
        ),
        ("change_operation", {"operation": "auth_set", "providerID": "a", "body": {"type": "api", "key": MARKER}}),
        ("run_task", {"prompt": "x", "files": f'["{ESCAPED_MARKER}"]'}),
        ("run_tasks", {"tasks": f'[{{"prompt": "{ESCAPED_MARKER}"}}]'}),
    ],
)
async def test_no_coercion_brings_a_redaction_marker(
    opencode: OpenCodeClient, catalog: Catalog, wire: Wire, name: str, arguments: dict[str, Any]
) -> None:
    """It would overwrite the secret that it stands for; escapes of JSON text do not hide it."""
    registry = ToolRegistry(catalog, select_tools(catalog), 10_000)
    context = Context(ServerPool({"": opencode}), ignore_progress)
    with pytest.raises(InvalidArguments, match="replaces a secret that was redacted"):
        await registry.call(context, Redactor(), name, arguments)
    assert wire.requests == []


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("read_operation", {"operation": "session_delete", "sessionID": "ses_1"}, "by --read-only"),
        ("read_operation", {"operation": "session.delete", "arguments": '{"sessionID": "ses_1"}'}, "not enabled"),
        ("read_operation", {"operation": "SESSION-DELETE", "session_id": "ses_1"}, "not enabled"),
    ],
)
async def test_no_coercion_leads_past_read_only(
    opencode: OpenCodeClient, catalog: Catalog, wire: Wire, name: str, arguments: dict[str, Any], words: str
) -> None:
    """Another spelling of an operation that is excluded reaches nothing."""
    registry = ToolRegistry(catalog, select_tools(catalog, read_only=True), 10_000)
    context = Context(ServerPool({"": opencode}), ignore_progress)
    with pytest.raises(InvalidArguments, match=words):
        await registry.call(context, Redactor(), name, arguments)
    assert wire.requests == []


async def test_a_read_caller_reads_whatever_the_spelling(
    opencode: OpenCodeClient, catalog: Catalog, wire: Wire
) -> None:
    """The class of an operation is that of the operation that is called."""
    registry = ToolRegistry(catalog, select_tools(catalog), 10_000)
    context = Context(ServerPool({"": opencode}), ignore_progress)
    with pytest.raises(InvalidArguments, match="change_operation"):
        await registry.call(
            context, Redactor(), "read_operation", {"operation": "session.delete", "sessionID": "ses_1"}
        )
    assert wire.requests == []
