"""OpenCode versions: their format, the version that introduced each operation, and the oldest one for tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

GENERATION = 1
"""The major version that this package supports. OpenCode 2 has another API, under /api."""

OTHER_GENERATION = "whose API differs from 1.x, which opencode-mcp supports"
"""What an error says of an OpenCode with another major version."""

MIN_VERSION_FOR_TASKS = "1.15.13"
"""Older versions silently drop a session's `metadata` (1.15.0): a task's policy, request id and worktree."""

BEFORE_HEALTH = "1.0"
"""Stands for the unknown version of a server without /global/health, such as 1.0.152."""

VERSION_LINE = re.compile(r"(?:opencode2? )?v?(\d+\.\d+(?:\.\d+)?(?:[-+.][0-9A-Za-z.+-]*)?)", re.IGNORECASE)
"""1.18.33 prints `1.18.33`, OpenCode 2 prints `opencode v2.0.8`."""

FIRST_SEEN: Mapping[str, tuple[str, ...]] = {
    "1.1.11": (
        "experimental.resource.list",
        "global.health",
        "part.delete",
        "part.update",
        "permission.list",
        "permission.reply",
        "question.list",
        "question.reject",
        "question.reply",
        "tui.selectSession",
        "worktree.create",
        "worktree.list",
    ),
    "1.1.65": (
        "app.skills",
        "auth.remove",
        "global.config.get",
        "global.config.update",
        "worktree.remove",
        "worktree.reset",
    ),
    "1.3.0": (
        "experimental.session.list",
        "experimental.workspace.create",
        "experimental.workspace.list",
        "experimental.workspace.remove",
        "global.upgrade",
        "project.initGit",
        "session.deleteMessage",
    ),
    "1.14.41": (
        "experimental.console.get",
        "experimental.console.listOrgs",
        "experimental.console.switchOrg",
        "experimental.workspace.adapter.list",
        "experimental.workspace.status",
        "experimental.workspace.warp",
        "pty.connectToken",
        "pty.shells",
        "sync.history.list",
        "sync.replay",
        "sync.start",
        "sync.steal",
        "v2.session.compact",
        "v2.session.context",
        "v2.session.list",
        "v2.session.messages",
        "v2.session.prompt",
        "v2.session.wait",
        "vcs.apply",
        "vcs.diff",
        "vcs.diff.raw",
        "vcs.status",
    ),
    "1.15.0": (
        "experimental.workspace.syncList",
        "v2.model.list",
        "v2.provider.get",
        "v2.provider.list",
    ),
    "1.17.0": (
        "experimental.controlPlane.moveSession",
        "experimental.session.background",
        "project.directories",
        "v2.agent.list",
        "v2.command.list",
        "v2.event.subscribe",
        "v2.fs.find",
        "v2.fs.list",
        "v2.health.get",
        "v2.permission.request.list",
        "v2.permission.saved.list",
        "v2.permission.saved.remove",
        "v2.projectCopy.create",
        "v2.projectCopy.refresh",
        "v2.projectCopy.remove",
        "v2.question.request.list",
        "v2.reference.list",
        "v2.session.permission.list",
        "v2.session.permission.reply",
        "v2.session.question.reject",
        "v2.session.question.reply",
        "v2.skill.list",
    ),
    "1.17.11": (
        "experimental.capabilities.get",
        "experimental.projectCopy.generateName",
        "v2.credential.remove",
        "v2.credential.update",
        "v2.fs.read",
        "v2.integration.attempt.cancel",
        "v2.integration.attempt.complete",
        "v2.integration.attempt.status",
        "v2.integration.connect.key",
        "v2.integration.connect.oauth",
        "v2.integration.get",
        "v2.integration.list",
        "v2.location.get",
        "v2.pty.connect",
        "v2.pty.connectToken",
        "v2.pty.create",
        "v2.pty.get",
        "v2.pty.list",
        "v2.pty.remove",
        "v2.pty.update",
        "v2.session.create",
        "v2.session.get",
        "v2.session.question.list",
        "v2.session.revert.clear",
        "v2.session.revert.commit",
        "v2.session.revert.stage",
        "v2.session.switchAgent",
        "v2.session.switchModel",
    ),
    "1.17.19": (
        "v2.session.active",
        "v2.session.events",
        "v2.session.history",
        "v2.session.interrupt",
        "v2.session.message",
        "v2.session.permission.create",
        "v2.session.permission.get",
    ),
}
"""The operations that 1.0.152 lacks, by the first version observed to have them.

From GET /doc of 1.0.152, 1.1.11, 1.1.65, 1.3.0, 1.15.0, 1.17.0, 1.17.11, 1.17.19 and 1.18.33; for 1.14.41 each route
was requested, as its document lists only three. No operation was ever removed. Up to 1.3 a server forwards an unknown
route to a website, arguments included; later it returns its web page.
"""


def find_version(output: str) -> str | None:
    """Return the version in a program's output: its last line in that format, since log lines may precede it."""
    versions = [match[1] for line in output.splitlines() if (match := VERSION_LINE.fullmatch(line.strip()))]
    return versions[-1] if versions else None


def parse_release(version: str) -> tuple[int, int, int]:
    """Return a version's numbers for comparison; an invalid version compares as the oldest."""
    numbers = [int(number) for number in re.findall(r"\d+", version.partition("-")[0])[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major, minor, patch


def is_older(version: str, other: str) -> bool:
    """Whether a version comes before another."""
    return parse_release(version) < parse_release(other)


@cache
def version_by_operation() -> Mapping[str, str]:
    """Return the version that each operation was first seen in, by operationId."""
    return {operation: version for version, operations in FIRST_SEEN.items() for operation in operations}


def introduced_in(operation_id: str) -> str | None:
    """Return the version that introduced an operation; None if 1.0.152 has it or the operation is unknown."""
    return version_by_operation().get(operation_id)
