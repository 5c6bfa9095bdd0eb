"""The result of one check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check and, unless it is `ok`, advice. Only `failed` keeps the server from working."""

    check: str
    state: State
    message: str
    advice: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def as_data(self) -> dict[str, Any]:
        """Return it for `--json`."""
        facts = {"facts": dict(self.facts)} if self.facts else {}
        return {"check": self.check, "state": self.state, "says": self.message, "advice": self.advice, **facts}
