"""An event feed without an OpenCode: its events are the test's."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opencode_mcp.opencode.events import Event, Listener


@dataclass(eq=False)
class FakeEventStream:
    """Tells whoever listens what the test tells."""

    subscribers: list[Listener] = field(default_factory=list[Listener])

    @property
    def listener_count(self) -> int:
        """How many listen now."""
        return len(self.subscribers)

    @contextmanager
    def subscribe(self, notice: Listener) -> Generator[None]:
        """Tell of every event while the block lasts."""
        self.subscribers.append(notice)
        yield
        self.subscribers.remove(notice)

    def dispatch(self, event: Event) -> None:
        """Tell of an event."""
        for notice in self.subscribers:
            notice(event)
