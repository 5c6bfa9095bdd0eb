"""How the tools of OpenCode 1 are grouped and listed."""

from __future__ import annotations

from opencode_mcp.catalog.listing import Listing

USE_LOCATION = ("v2.fs.find", "v2.fs.list", "v2.fs.read", "v2.location.get", "v2.pty.create", "v2.session.create")
"""Operations of the v2 API of which a call often names the location. The others find it by an id, or list what is the
same in most locations."""

LISTING = Listing(
    toolsets={
        "app": "agent",
        "auth": "provider",
        "command": "agent",
        "experimental.capabilities": "server",
        "experimental.console": "provider",
        "experimental.controlPlane": "session",
        "experimental.projectCopy": "project",
        "experimental.resource": "mcp",
        "formatter": "file",
        "global": "server",
        "global.config": "config",
        "global.event": "event",
        "app.log": "server",
        "instance": "server",
        "lsp": "file",
        "part": "message",
        "path": "project",
        "session.deleteMessage": "message",
        "session.message": "message",
        "session.messages": "message",
        "tool": "agent",
    },
    essential=("app_agents", "config_providers", "file_read", "find_text", "session_list"),
    seldom_needed={
        "pty.connect": frozenset({"ticket"}),  # the bridge connects with its password
        "session.command": frozenset({"messageID"}),
        "session.list": frozenset({"path"}),
        "session.prompt": frozenset({"messageID"}),
        "session.prompt_async": frozenset({"messageID"}),
        "session.shell": frozenset({"messageID"}),
        "tui": frozenset({"directory"}),
        "v2": frozenset({"location", "ticket"}),
        **dict.fromkeys(USE_LOCATION, frozenset[str]()),
    },
)
