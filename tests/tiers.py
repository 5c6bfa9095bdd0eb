"""Which tier a test belongs to: decided by what it uses, and checked while it runs."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

TIER_BY_FIXTURE = {
    "binaries": "clients",
    "programs": "clients",
    "spawns": "process",
    "second": "process",
    "isolated_server": "process",
    "module_endpoint": "opencode",
    "endpoint": "opencode",
    "program": "process",
    "environ": "process",
}
"""A fixture, and the tier of the tests that use it. The first that fits decides."""

TIERS = ("clients", "scale", "browser", "slow", "process", "opencode", "unit")
"""Every tier, in the order in which tests run: those that take longest begin first."""

MARKED_TIERS = frozenset(TIERS) - {*TIER_BY_FIXTURE.values(), "unit"}
"""The tiers that no fixture tells: a test is in one of them if it is marked."""

SPAWN_EVENTS = frozenset({"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system"})
"""Audit events of the interpreter that mean a new process."""


def tier_of(item: pytest.Item) -> str:
    """Return the tier that a test is marked with, else the one that its fixtures tell."""
    marked = next((tier for tier in TIERS if item.get_closest_marker(tier)), None)
    used: frozenset[str] = frozenset(getattr(item, "fixturenames", ()))
    return marked or next((tier for fixture, tier in TIER_BY_FIXTURE.items() if fixture in used), "unit")


class SpawnRecorder:
    """Notes the processes that this interpreter starts."""

    def __init__(self) -> None:
        self._recorded: list[str] | None = None
        sys.addaudithook(self._on_audit_event)  # stays for as long as the interpreter

    def _on_audit_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._recorded is not None and event in SPAWN_EVENTS:
            self._recorded.append(f"{event} {arguments[0] if arguments else ''}".strip())

    @contextmanager
    def record(self) -> Generator[list[str]]:
        """Note what is started while the block lasts."""
        noted = self._recorded = list[str]()
        try:
            yield noted
        finally:
            self._recorded = None
