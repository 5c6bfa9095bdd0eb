"""An event feed without an OpenCode: its events are the test's."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opencode_mcp.opencode.events import Event, Listener


@dataclass(eq=False)
class Feed:
    """Tells whoever listens what the test tells."""

    notices: list[Listener] = field(default_factory=list[Listener])

    @property
    def listener_count(self) -> int:
        """How many listen now."""
        return len(self.notices)

    @contextmanager
    def subscribe(self, notice: Listener) -> Generator[None]:
        """Tell of every event while the block lasts."""
        self.notices.append(notice)
        yield
        self.notices.remove(notice)

    def tell(self, event: Event) -> None:
        """Tell of an event."""
        for notice in self.notices:
            notice(event)
