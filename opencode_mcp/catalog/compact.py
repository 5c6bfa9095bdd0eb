"""Lists that tools return in a compact form: a model reads them to choose from, and pays for every character.

Measured on 1.18.33: seven agents are 18,796 characters with their permission rules and prompts, a model is about 1,000
with its limits, prices and options, a session about 700, and OpenCode lists 100 of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CompactForm = Literal["agents", "models", "sessions"]


@dataclass(frozen=True, slots=True)
class CompactList:
    """How tools return an operation's list; the library returns the response as it is.

    The argument `full` returns the whole response to a tool as well. `defaults` are arguments of tool calls that do not
    have them.
    """

    form: CompactForm
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


COMPACT_LISTS: Mapping[str, CompactList] = {
    "app.agents": CompactList("agents"),
    "config.providers": CompactList("models"),
    "session.list": CompactList("sessions", {"limit": 20}),
    "experimental.session.list": CompactList("sessions", {"limit": 20}),
}
"""The lists by operationId."""
