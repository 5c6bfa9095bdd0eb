"""Permission rules, and the requests of what they leave to the user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import anyio

from .store import Json

ALLOW_ALL: Json = {"action": "*", "resource": "*", "effect": "allow"}
DEFAULT_RULES: tuple[Json, ...] = (
    ALLOW_ALL,
    {"action": "external_directory", "resource": "*", "effect": "ask"},
    {"action": "read", "resource": "*.env", "effect": "ask"},
    {"action": "read", "resource": "*.env.*", "effect": "ask"},
)
"""Facts, permissions: what every agent has before its own rules."""

ACTIONS_OF_V1 = {"bash": "shell", "task": "subagent", "write": "edit", "patch": "edit"}
"""Facts, permissions: names of V1, which are renamed in configuration files only."""


REJECTED = "permission.rejected"


class Declined(Exception):
    """The user rejected without a message: the turn ends."""

    def __init__(self, message: str = "The user declined this tool call") -> None:
        super().__init__(message)


class Refused(Exception):
    """The call failed, a rule denies, or the user rejected with a message: the model goes on with the error."""

    def __init__(self, message: str, kind: str = "tool.execution") -> None:
        super().__init__(message)
        self.kind = kind


def effect_of(rules: Iterable[Json], action: str, resource: str) -> str:
    """Return the effect of the last rule that matches. Facts, permissions: without one it is `ask`."""
    effect = "ask"
    for rule in rules:
        if fnmatchcase(action, rule["action"]) and fnmatchcase(resource, rule["resource"]):
            effect = rule["effect"]
    return effect


def evaluate(rules: Sequence[Json], action: str, resources: Sequence[str], saved: Iterable[Json]) -> str:
    """Return the effect for several resources: any `deny` denies, and saved approvals are added as `allow`."""
    if "deny" in {effect_of(rules, action, resource) for resource in resources}:
        return "deny"
    allowed = [*rules, *({"effect": "allow", **item} for item in saved)]
    effects = {effect_of(allowed, action, resource) for resource in resources}
    return "ask" if "ask" in effects else "allow"


def rules_of_config(permission: Any) -> list[Json]:
    """Return the rules of V1's `permission`: an effect, or for each tool an effect or effects by pattern."""
    if permission is None:
        return []
    if isinstance(permission, str):
        return [{"action": "*", "resource": "*", "effect": permission}]
    rules: list[Json] = []
    for tool, effects in permission.items():
        action = ACTIONS_OF_V1.get(tool, tool)
        patterns: Json = {"*": effects} if isinstance(effects, str) else effects
        rules += [{"action": action, "resource": pattern, "effect": effect} for pattern, effect in patterns.items()]
    return rules


@dataclass(eq=False)
class PendingPermission:
    """A request that waits, and the agent whose rules left it to the user. Facts, permissions: in memory only."""

    request: Json
    agent: str | None = None
    settled: anyio.Event = field(default_factory=anyio.Event)
    decision: str = "once"
    message: str | None = None

    def settle(self, decision: str, message: str | None = None) -> None:
        """Give the answer."""
        self.decision, self.message = decision, message
        self.settled.set()

    def raise_if_rejected(self) -> None:
        """Raise what a rejection is for the turn. Source: an empty message is none."""
        if self.decision != "reject":
            return
        if not self.message:
            raise Declined
        raise Refused(f"The user rejected this tool call with the following feedback: {self.message}", REJECTED)


@dataclass(eq=False)
class PendingForm:
    """A form: `detail` is as `session.form.get` returns it; `directory` is that of one without a session."""

    detail: Json
    settled: anyio.Event = field(default_factory=anyio.Event)
    directory: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether it waits for an answer."""
        return self.detail["state"]["status"] == "pending"

    @property
    def info(self) -> Json:
        """The form without its state, as it is listed."""
        return {name: value for name, value in self.detail.items() if name != "state"}

    def settle(self, state: Json) -> None:
        """Give the answer or cancel."""
        self.detail["state"] = state
        self.settled.set()
