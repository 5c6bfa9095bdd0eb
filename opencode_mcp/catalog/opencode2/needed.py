"""The operations of OpenCode 2 that this package itself calls, with all arguments that it sends."""

from __future__ import annotations

from collections.abc import Mapping

NEEDED: Mapping[str, frozenset[str]] = {
    "event.subscribe": frozenset(),
    "location.get": frozenset({"location"}),
    "project.list": frozenset(),
    "server.info": frozenset(),
    "session.get": frozenset({"sessionID"}),
    "session.list": frozenset({"directory", "limit"}),
}
"""By operationId."""
