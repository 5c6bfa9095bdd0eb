"""The operations of OpenCode 2 that this package itself calls, with all arguments that it sends."""

from __future__ import annotations

from collections.abc import Mapping

NEEDED: Mapping[str, frozenset[str]] = {
    "agent.list": frozenset({"location"}),
    "config.get": frozenset({"location"}),
    "event.subscribe": frozenset(),
    "form.list": frozenset({"location"}),
    "location.get": frozenset({"location"}),
    "mcp.list": frozenset({"location"}),
    "model.default": frozenset({"location"}),
    "model.list": frozenset({"location"}),
    "permission.request.list": frozenset({"location"}),
    "project.list": frozenset(),
    "server.info": frozenset(),
    "session.active": frozenset(),
    "session.form.cancel": frozenset({"sessionID", "formID", "message"}),
    "session.form.reply": frozenset({"sessionID", "formID", "answer"}),
    "session.get": frozenset({"sessionID"}),
    "session.list": frozenset({"directory", "limit"}),
    "session.permission.reply": frozenset({"sessionID", "requestID", "decision", "message"}),
}
"""By operationId."""
