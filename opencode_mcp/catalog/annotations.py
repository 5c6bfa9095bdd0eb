"""The MCP tool annotations: what a call of an operation may do, one decision per operation.

- readOnlyHint: the tool does not modify its environment.
- destructiveHint: if it does, it may destroy or overwrite, not only add.
- idempotentHint: repeating the call with the same arguments has no additional effect.
- openWorldHint: the tool may interact with external entities, not only with a closed domain.

Clients run read-only tools without asking, and in parallel. So an unclear operation is not read-only, an unclear write
is destructive, and so is anything that may run the project's code. Loading a directory runs its plugins and MCP servers
as well; `LoadGuard` decides which directories a call may load. The HTTP method is not enough: one GET types into a
shell, one POST only lists.

An operation that is not named here comes from a newer document: a GET is then read-only, anything else
destructive and not idempotent, and both are open-world.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hints:
    """The four hints of an operation. A read-only operation is never destructive and always idempotent."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


READ_ONLY = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)


def parse_operation_ids(table: str) -> frozenset[str]:
    """Read the operationIds of a table: separated by white space, a `#` starts a comment."""
    return frozenset(word for line in table.splitlines() for word in line.partition("#")[0].split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """The decisions, as operationIds. Each operation is in one of `reads`, `writes` and `destroys`.

    - reads: do not change anything.
    - writes: add or change something; nothing is lost.
    - destroys: may lose or overwrite data, stop work, run commands or a model with tools, change credentials or
      configuration, replace the program, or have an effect that cannot be undone.
    - idempotent: of the latter two, those whose immediate repetition has no further effect.
    - open_world: interact with the world outside of the server: a model, the network, a shell, a publication.
    - unavailable: have no result, whatever the arguments: a search returns them last.
    - unbounded: call a model without a task, or change which model is called, or what limits a task.
    """

    reads: frozenset[str]
    writes: frozenset[str]
    destroys: frozenset[str]
    idempotent: frozenset[str]
    open_world: frozenset[str]
    unbounded: frozenset[str]
    unavailable: frozenset[str] = frozenset()

    def hints_for(self, operation_id: str, method: str) -> Hints:
        """Return the hints of an operation; `method` decides only when the operation is unknown."""
        is_known = operation_id in self.reads or operation_id in self.writes or operation_id in self.destroys
        read_only = operation_id in self.reads or (not is_known and method.upper() == "GET")
        return Hints(
            read_only=read_only,
            destructive=not read_only and operation_id not in self.writes,
            idempotent=read_only or operation_id in self.idempotent,
            open_world=not is_known or operation_id in self.open_world,
        )
