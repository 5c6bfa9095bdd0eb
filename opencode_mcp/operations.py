"""Operations by attribute: `session.create` of the document is `operations.session.create(…)`.

operations.pyi, generated from the document by scripts/write_stubs.py, is what editors and type checkers read.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .catalog import Catalog

Call = Callable[..., Awaitable[Any]]
"""Calls an operation: its tool name, then its arguments by name."""

Pages = Callable[..., AsyncGenerator[Any]]
"""Iterates over the pages of an operation's list, with the same arguments."""

GenerationT = TypeVar("GenerationT")
"""The generation of OpenCode: `Literal[1]`, as in the stub the default, or `Literal[2]`."""


@dataclass
class Node:
    """A segment of operationIds: the tool name of the operation that ends here, and the segments that follow."""

    tool: str | None = None
    below: dict[str, Node] = field(default_factory=dict[str, "Node"])


class Operations:
    """The operations below one segment. A segment can be callable and have operations below it (`vcs.diff`)."""

    def __init__(self, call: Call, pages: Pages, node: Node) -> None:
        self._call = call
        self._pages = pages
        self._node = node

    def __getattr__(self, name: str) -> Operations:
        # `copy` reads attributes before `__init__` has set any.
        children = {} if name.startswith("_") else self._node.below
        if name not in children:
            raise AttributeError(f"OpenCode has no operation {name!r} here; available: {', '.join(sorted(children))}")
        child = children[name]
        kind = Operations if child.tool is None else CallableOperation
        return kind(self._call, self._pages, child)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._node.below})


class CallableOperation(Operations):
    """A segment that is an operation itself, and may have operations below it."""

    async def __call__(self, **arguments: Any) -> Any:
        return await self._call(self._node.tool, **wire_names(arguments))

    def pages(self, **arguments: Any) -> AsyncGenerator[Any]:
        """Iterate over the pages of a list: each is what the call with these arguments returns, then what follows."""
        return self._pages(self._node.tool, **wire_names(arguments))


class ClientOperations(Operations, Generic[GenerationT]):
    """The operations of a client. For a type checker they are those of its generation."""


def build_tree(catalog: Catalog) -> Node:
    """Arrange a catalog's operations by the segments of their ids."""
    root = Node()
    for operation in catalog.values():
        node = root
        for name in attribute_names(operation.id):
            node = node.below.setdefault(name, Node())
        node.tool = operation.name
    return root


def attribute_names(operation_id: str) -> list[str]:
    """Return an operationId's segments in snake_case: `global.switchOrg` -> `global_`, `switch_org`."""
    names = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation_id).lower().split(".")
    return [python_name(name) for name in names]


def python_name(name: str) -> str:
    """Return a name as Python takes it: `from` is `from_`."""
    return f"{name}_" if keyword.iskeyword(name) else name


def wire_names(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by their names in the document: of `from_`, `from`."""
    names = {name: name.removesuffix("_") for name in arguments}
    return {short if keyword.iskeyword(short) else name: arguments[name] for name, short in names.items()}
