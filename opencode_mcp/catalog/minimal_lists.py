"""Lists that tools return in a minimal form: a model reads them to choose from, and pays for every character."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MinimalForm = Literal["agents", "models", "sessions", "located agents", "located models", "located sessions"]
"""The located ones are those of OpenCode 2, an object with the list in `data`."""


@dataclass(frozen=True, slots=True)
class MinimalList:
    """How tools return an operation's list; the library returns the response as it is.

    The argument `full` returns the whole response to a tool as well. `defaults` are arguments of tool calls that do not
    have them.
    """

    form: MinimalForm
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
