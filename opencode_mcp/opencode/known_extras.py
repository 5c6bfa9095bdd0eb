"""Arguments that clients add to calls of any tool.

They are dropped where a tool has no such argument. Any other unknown name is refused, as it may be a misspelling.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownExtra:
    """An argument that `client` adds. `beside`, if set, must be there as well: the name alone could be a mistake."""

    argument: str
    client: str
    beside: str = ""


KNOWN_EXTRAS: Mapping[str, KnownExtra] = {
    extra.argument: extra
    for extra in (
        KnownExtra("toolCallId", "n8n"),
        KnownExtra("action", "n8n", beside="toolCallId"),
        KnownExtra("chatInput", "n8n", beside="toolCallId"),
        KnownExtra("sessionId", "n8n", beside="toolCallId"),
        KnownExtra("tool", "n8n", beside="toolCallId"),
        KnownExtra("task_progress", "Cline"),
        KnownExtra("random_string", "Cursor"),
    )
}
"""By argument, as seen in reports of users to other MCP servers. docs/results.md lists them."""


def is_known_extra(name: str, names: Container[str]) -> bool:
    """Whether a client is known to add an argument to a call with these `names`."""
    extra = KNOWN_EXTRAS.get(name)
    return extra is not None and (not extra.beside or extra.beside in names)
