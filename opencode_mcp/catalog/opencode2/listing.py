"""How the tools of OpenCode 2 are grouped and listed: in the toolsets of OpenCode 1, as far as there are operations."""

from __future__ import annotations

from opencode_mcp.catalog.annotations import parse_operation_ids
from opencode_mcp.catalog.listing import Listing

USE_LOCATION = (
    "experimental.fs.write",
    "form.list",
    "fs.find",
    "fs.list",
    "fs.read",
    "location.get",
    "permission.request.list",
    "pty.create",
    "shell.create",
    "vcs.diff",
    "vcs.init",
    "vcs.status",
)
"""Operations of which a call often names the location. The others list what is the same in most of them."""

LOCATED = parse_operation_ids("""
    agent command config debug experimental form fs integration location mcp model permission plugin provider pty
    reference rpc shell skill vcs websearch
""")
"""The first words of the ids of operations that take a location."""

LISTING = Listing(
    toolsets={
        "command": "agent",
        "credential": "provider",
        "debug": "server",
        "experimental.generate": "session",
        "experimental.integration": "provider",
        "experimental.voice": "session",
        "form": "question",
        "fs": "file",
        "fs.find": "find",
        "experimental.fs": "file",
        "integration": "provider",
        "location": "project",
        "location.reload": "server",
        "model": "provider",
        "plugin": "agent",
        "reference": "project",
        "rpc": "agent",
        "server.experimental.persistentPty": "pty",
        "session.form": "question",
        "session.message": "message",
        "session.permission": "permission",
        "shell": "pty",
        "skill": "agent",
        "websearch": "find",
    },
    essential=("agent_list", "model_list", "fs_read", "fs_find", "session_list"),
    seldom_needed={
        **dict.fromkeys(LOCATED, frozenset({"location"})),
        **dict.fromkeys(USE_LOCATION, frozenset[str]()),
        "session.create": frozenset({"id"}),
        "session.form": frozenset({"directory"}),
        "session.form.create": frozenset({"id"}),
        "session.permission.create": frozenset({"id"}),
        "session.list": frozenset({"order", "subpath"}),
        "session.prompt": frozenset({"id", "metadata"}),
        "session.shell": frozenset({"id"}),
        "session.synthetic": frozenset({"id", "metadata"}),
        "session.compact": frozenset({"id"}),
    },
)
