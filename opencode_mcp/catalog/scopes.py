"""Which directories an operation affects, and which of its arguments name a location: one decision each.

`--allow-directory` refuses an operation whose scope is wider than a directory, and checks each argument that names a
location: a path, a URL, or the id of something that has a directory. Names that are not listed here come from a newer
document and are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from .annotations import parse_operation_ids

Scope = Literal["directory", "everywhere", "server"]
"""Where an operation reads or acts.

- directory: the one that its arguments name, by a path or an id, else the default one.
- everywhere: all directories of the server.
- server: no directory; the server itself, or the user's credentials.
"""

ArgumentKind = Literal["directory", "path", "url", "source", "mentions", "session", "project", "workspace", "id"]
"""What the value of an argument is.

- directory: an absolute path.
- path: of a file or a folder, absolute or relative to the directory; in a configuration it can be a web address.
- url: a file: URL names a file, any other URL none.
- source: a package or a repository by its name, its URL or its path.
- mentions: text in which OpenCode attaches each `@path`.
- session, project, workspace: the id of one.
- id: of a session (`ses…`) or a workspace (`wrk…`); any other has no directory.
"""

parse_argument_names = parse_operation_ids
"""Tables of argument names have the same syntax."""

METADATA_KINDS: Mapping[str, ArgumentKind] = {"worktree_of": "directory"}
"""Kept by the task tools in a session's metadata: changes are applied to this directory."""


@dataclass(frozen=True, kw_only=True)
class Scopes:
    """The decisions, as operationIds and names of arguments. Each operation is in one of the first three sets.

    - all_directories: read or change what belongs to every directory.
    - no_directory: affect no directory.
    - one_directory: read or change what belongs to one directory.
    - filtered_lists: return a list of sessions, from which those outside of the allowlist are removed.
    - loads_nothing: take a `directory` without loading it.
    - new_sessions: have an `id` that may be that of a session that does not exist yet.
    - without_project: take a directory, but are useful without a project.
    - required_argument: the argument without which an operation covers every directory.
    - arguments_by_kind: the names of arguments that name a location, at any depth.
    - kind_exceptions: by operation and dotted name, arguments whose kind differs from that of others with the name.
    - not_locations: the names of arguments that are not locations.
    """

    all_directories: frozenset[str]
    no_directory: frozenset[str]
    one_directory: frozenset[str]
    filtered_lists: frozenset[str]
    loads_nothing: frozenset[str]
    new_sessions: frozenset[str]
    without_project: frozenset[str]
    required_argument: Mapping[str, str]
    arguments_by_kind: Mapping[ArgumentKind, frozenset[str]]
    kind_exceptions: Mapping[tuple[str, str], ArgumentKind | None]
    not_locations: frozenset[str]

    @cached_property
    def kind_by_argument(self) -> Mapping[str, ArgumentKind]:
        """The kind of each argument that names a location."""
        return {name: kind for kind, names in self.arguments_by_kind.items() for name in names}

    def scope_of(self, operation_id: str) -> Scope | None:
        """Return the scope of an operation, None if it is unknown."""
        if operation_id in self.all_directories:
            return "everywhere"
        if operation_id in self.no_directory:
            return "server"
        return "directory" if operation_id in self.one_directory else None

    def argument_kind(self, operation_id: str, dotted_name: str, name: str) -> ArgumentKind | None:
        """Return what an argument names; `dotted_name` is its path, `name` the last segment."""
        if (operation_id, dotted_name) in self.kind_exceptions:
            return self.kind_exceptions[operation_id, dotted_name]
        return self.kind_by_argument.get(name) or METADATA_KINDS.get(name)

    def is_known_argument(self, name: str) -> bool:
        """Whether there is a decision about the name of an argument."""
        return name in self.kind_by_argument or name in self.not_locations
