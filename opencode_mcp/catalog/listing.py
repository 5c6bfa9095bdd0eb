"""How the tools of operations are grouped, listed and described.

An amendment is a fact with its evidence; descriptions are only words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """`toolsets` are those that are not the first word of the operationId, and `seldom_needed` the arguments that
    tools/list leaves out, each by the operationId or its first words; the longest prefix counts.

    `essential` are the tool names of the operations in the essential preset.
    """

    toolsets: Mapping[str, str]
    essential: tuple[str, ...]
    seldom_needed: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class ArgumentDescriptions:
    """Descriptions of arguments, which replace the document's: meanings, defaults, and where ids come from.

    - common: those of arguments in the operations of the other two, unless `own` has another.
    - own: descriptions by operationId.
    - with_common_arguments: operations with no other arguments than `common` ones.
    """

    common: Mapping[str, str]
    own: Mapping[str, Mapping[str, str]]
    with_common_arguments: frozenset[str]

    def describe(self, operation_id: str, argument: str) -> str:
        """Return the description of an argument, "" where the document's own stays."""
        if operation_id not in self.own and operation_id not in self.with_common_arguments:
            return ""
        return self.own.get(operation_id, {}).get(argument) or self.common.get(argument, "")


def find_longest_prefix(table: Mapping[str, T], operation_id: str, default: T) -> T:
    """Return the entry for the most of the first words of an operationId."""
    words = operation_id.split(".")
    prefixes = (".".join(words[:length]) for length in range(len(words), 0, -1))
    return next((table[prefix] for prefix in prefixes if prefix in table), default)
