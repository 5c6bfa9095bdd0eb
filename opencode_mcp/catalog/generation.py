"""What is known of one generation of OpenCode beside its document: the major version that decides about the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from opencode_mcp.openapi.document import Document
from opencode_mcp.openapi.snapshots import SNAPSHOTS, Snapshot, load_snapshot
from opencode_mcp.redaction.structure import Position

from .amendment import Amendment
from .annotations import Annotations
from .listing import ArgumentDescriptions, Listing
from .minimal_lists import MinimalList
from .phrases import Phrases, load_phrases
from .scopes import Scopes


@dataclass(frozen=True, kw_only=True, eq=False)
class Generation:
    """The knowledge of a generation, by operationId: nothing of it applies to another one's operation of the same id.

    - package: has the data, one module for each field.
    - event_stream: the tool name of the operation that streams the events of all directories.
    - first_seen: the operations by the version that introduced them.
    - health: the tool name of the operation that any running server answers.
    - least_share: the share of the bundled operations that a running server's document must have.
    - mismatch: completes "X is OpenCode 3.0.0, …", about a server of another generation.
    - alternative: completes "…, or …", what else to do about it.
    - update: the command that installs a version which has all that is needed.
    - username: the user name that a server takes, None if the user chooses it.
    - password_variables: the variables in which a server gets its password, those that come first before the others.
    - needed: the operations that this package itself calls, with all arguments that it sends.
    """

    number: int
    package: str
    amendments: tuple[Amendment, ...]
    annotations: Annotations
    arguments: ArgumentDescriptions
    descriptions: Mapping[str, str]
    event_stream: str
    health: str
    least_share: float
    listing: Listing
    minimal_lists: Mapping[str, MinimalList]
    mismatch: str
    alternative: str
    update: str
    username: str | None
    password_variables: tuple[str, ...]
    needed: Mapping[str, frozenset[str]]
    positions: Mapping[Position, frozenset[str]]
    scopes: Scopes
    first_seen: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def snapshot(self) -> Snapshot:
        """The bundled document."""
        return SNAPSHOTS[self.number]

    @property
    def phrases(self) -> Phrases:
        """What users say for each operation."""
        return load_phrases(self.package)

    @cached_property
    def position_by_operation(self) -> Mapping[str, Position]:
        """The position of each operation's whole response."""
        return {name: position for position, names in self.positions.items() for name in names}

    @cached_property
    def version_by_operation(self) -> Mapping[str, str]:
        """The version that each operation was first seen in; the others were always there."""
        return {name: version for version, names in self.first_seen.items() for name in names}

    @property
    def credential_variables(self) -> str:
        """The variables to set for a server that requires credentials, for a message."""
        return self.password_variables[0] + ("" if self.username else " (and OPENCODE_SERVER_USERNAME)")

    def load_document(self) -> Document:
        """Return the bundled document, parsed."""
        return load_snapshot(self.number)

    def amendments_for(self, operation_id: str) -> tuple[Amendment, ...]:
        """Return the amendments of an operation, in their order."""
        return tuple(amendment for amendment in self.amendments if operation_id in amendment.operations)
