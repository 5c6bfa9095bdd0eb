"""How to read the frames of an event stream, by OpenCode's generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .opencode2_events import Opencode2Events

ReadFrame = Callable[[Mapping[str, Any]], Iterator[Mapping[str, Any]]]
"""Yields the events that one frame of a connection has, which is a JSON object."""


def read_payload(frame: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the event of a frame of OpenCode 1's /global/event, without the `sync` duplicates of durable events."""
    payload: Any = frame.get("payload")
    if isinstance(payload, dict) and payload.get("type", "sync") != "sync":  # pyright: ignore[reportUnknownMemberType]
        yield payload


def read_as_it_is(frame: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the frame."""
    yield frame


READERS: Mapping[int, Callable[[], ReadFrame]] = {1: lambda: read_payload, 2: lambda: Opencode2Events().read}
"""In the words of OpenCode 1; for one connection each."""

NATIVE_READERS: Mapping[int, Callable[[], ReadFrame]] = {1: lambda: read_payload, 2: lambda: read_as_it_is}
"""In OpenCode's own words: `{"type", "properties"}` or `{"type", "data"}`."""
