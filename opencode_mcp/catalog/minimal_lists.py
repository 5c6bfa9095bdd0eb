"""Lists that tools return in a minimal form: a model reads them to choose from, and pays for every character.

Measured on 1.18.33: seven agents are 18,796 characters with their permission rules and prompts, a model is about 1,000
with its limits, prices and options, a session about 700, and OpenCode lists 100 of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MinimalForm = Literal["agents", "models", "sessions"]


@dataclass(frozen=True, slots=True)
class MinimalList:
    """How tools return an operation's list; the library returns the response as it is.

    The argument `full` returns the whole response to a tool as well. `defaults` are arguments of tool calls that do not
    have them.
    """

    form: MinimalForm
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


MINIMAL_LISTS: Mapping[str, MinimalList] = {
    "app.agents": MinimalList("agents"),
    "config.providers": MinimalList("models"),
    "session.list": MinimalList("sessions", {"limit": 20}),
    "experimental.session.list": MinimalList("sessions", {"limit": 20}),
}
"""The lists by operationId."""
