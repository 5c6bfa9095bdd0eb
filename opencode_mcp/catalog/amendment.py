"""What a correction of an OpenAPI document consists of: one entry per fact, with its evidence.

A quirk of the server is an entry in `opencode1/amendments.py` or `opencode2/amendments.py`, never a branch in the call
path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from opencode_mcp.openapi.document import ParameterObject, Schema

ExecutionMode = Literal["request", "blocking", "events", "terminal"]
"""How an operation is executed: one request; a request that blocks while the model works; an event stream; a WebSocket
to a terminal."""


Check = Literal[
    "session_exists",
    "terminal_runs",
    "no_other_work",
    "file_exists",
    "reply_succeeded",
    "directory_note",
    "empty_note",
    "search_explained",
    "read_explained",
    "worktrees_included",
]
"""Additional requests: before the call, or to complete its arguments; after a response that only looks like success;
after a failure that does not name its cause."""


CursorSource = Literal["next_cursor", "next_cursor, a time", "cursor.next", "sequence"]
"""Where a page has what the next one starts at: a returned header, a field of the body, its last event's number."""


@dataclass(frozen=True, slots=True)
class Paging:
    """How a list goes on: the next page is the same call with `argument` from `source`, without `only_first`."""

    argument: str
    source: CursorSource
    only_first: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """One fact about one or more operations.

    `parameters` are added, or replace those of the same name; `dropped_parameters` are removed; `controls` are
    arguments of the bridge, never sent; `headers` are sent with the request; `returned_headers` maps a response header
    to the field of the result that carries it; `returns_file`: the response is a project file of any type;
    `lists_sessions`: the response is a list of sessions, newest first, which can be merged with those of other servers;
    `covers_all_directories`: without `directory` it reads all of them, so it gets no default one;
    `misreads_directory`: OpenCode decodes the directory twice, so that a path with percent escapes names another one;
    `paging`: the response is a page of a longer list;
    `advice` maps an HTTP status to its usual cause; `note` is appended to the description; `empty_note` explains an
    empty response.
    """

    operations: tuple[str, ...]
    evidence: str
    path: str | None = None
    parameters: tuple[ParameterObject, ...] = ()
    dropped_parameters: tuple[str, ...] = ()
    controls: Mapping[str, Schema] = field(default_factory=dict[str, Schema])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    returned_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    optional_body: bool = False
    returns_file: bool = False
    lists_sessions: bool = False
    covers_all_directories: bool = False
    misreads_directory: bool = False
    paging: Paging | None = None
    execution_mode: ExecutionMode = "request"
    check: Check | None = None
    title: str = ""
    note: str = ""
    empty_note: str = ""
    advice: Mapping[int, str] = field(default_factory=dict[int, str])


def query_parameter(name: str, schema: Schema, required: bool = False) -> ParameterObject:
    """Return a query parameter that the document omits or is wrong about."""
    return ParameterObject.model_validate({"name": name, "in": "query", "schema": schema, "required": required})
