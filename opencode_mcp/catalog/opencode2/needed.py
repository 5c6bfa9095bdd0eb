"""The operations of OpenCode 2 that this package itself calls, with all arguments that it sends."""

from __future__ import annotations

from collections.abc import Mapping

LOCATION = frozenset({"location"})
PAGE = frozenset({"limit", "cursor"})
SESSION = frozenset({"sessionID"})

NEEDED: Mapping[str, frozenset[str]] = {
    "agent.list": LOCATION,
    "command.list": LOCATION,
    "config.get": LOCATION,
    "event.subscribe": frozenset(),
    "form.list": LOCATION,
    "fs.find": LOCATION | {"query", "type", "limit"},
    "fs.list": LOCATION | {"path"},
    "fs.read": LOCATION | {"path"},
    "location.get": LOCATION,
    "mcp.list": LOCATION,
    "model.default": LOCATION,
    "model.list": LOCATION,
    "permission.request.list": LOCATION,
    "project.list": frozenset(),
    "server.info": frozenset(),
    "session.active": frozenset(),
    "session.create": LOCATION | {"parentID", "title", "agent", "model", "metadata", "permissions"},
    "session.diff": SESSION | {"from", "to", "context"},
    "session.form.cancel": SESSION | {"formID", "message", "directory"},
    "session.form.reply": SESSION | {"formID", "answer", "directory"},
    "session.get": SESSION,
    "session.inbox.cancel": SESSION | {"inboxID"},
    "session.inbox.list": SESSION,
    "session.interrupt": SESSION,
    "session.list": PAGE | {"directory", "project", "parentID"},
    "session.message.get": SESSION | {"messageID"},
    "session.message.list": SESSION | PAGE | {"type"},
    "session.permission.reply": SESSION | {"requestID", "decision", "message"},
    "session.prompt": SESSION | {"id", "text", "files", "metadata"},
    "session.remove": SESSION,
    "session.shell": SESSION | {"id", "command"},
    "session.switchAgent": SESSION | {"agent"},
    "session.switchModel": SESSION | {"model"},
    "session.update": SESSION | {"metadata", "permissions"},
    "shell.get": LOCATION | {"id"},
    "shell.list": LOCATION,
    "shell.output": LOCATION | {"id", "cursor", "limit"},
    "shell.remove": LOCATION | {"id"},
    "vcs.diff": LOCATION | {"mode", "base", "context"},
    "vcs.get": LOCATION,
    "vcs.status": LOCATION,
    "worktree.create": frozenset({"projectID", "from"}),
    "worktree.list": frozenset({"projectID"}),
    "worktree.remove": frozenset({"projectID", "directory", "force"}),
}
"""By operationId."""
