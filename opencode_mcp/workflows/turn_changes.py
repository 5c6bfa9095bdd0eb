"""What a turn changed in files, and when that is not known: OpenCode sums up its snapshots, and may have none.

session_diff -> does every step have a snapshot, and is every written file in the sum? -> else git, where it tells
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import FileChange, Message, Part, ProjectPath, Session

from .diffs import diff_of, turn_messages
from .truth import Truth, was_rejected

READS = frozenset(
    {"read", "glob", "grep", "list", "ls", "lsp", "todowrite", "todoread", "question", "skill", "webfetch", "websearch"}
)
"""OpenCode's tools that change no file (1.18.33); any other may."""
WRITES = frozenset({"write", "edit"})
"""Its tools that change the file `filePath`."""

DOUBT_MESSAGES = 40
"""How many of a turn's newest messages are searched for tool calls when its sum is empty."""


class Changes(BaseModel):
    """What the turn changed in files."""

    files: int | None = Field(description="null: unknown, see `unknown`.")
    additions: int | None
    deletions: int | None
    paths: list[str]
    unknown: str | None = Field(
        default=None, description=("Why the numbers are unknown, and what `paths` lists instead.")
    )

    @classmethod
    def of(cls, changed: list[FileChange]) -> Changes:
        """Return known changes."""
        return cls(
            files=len(changed),
            additions=sum(one.additions for one in changed),
            deletions=sum(one.deletions for one in changed),
            paths=[one.file for one in changed],
        )


async def summed_changes(opencode: OpenCodeClient, truth: Truth) -> list[FileChange]:
    """Read OpenCode's sum of the newest turn."""
    newest = truth.newest
    if newest is None:
        return []
    return await diff_of(opencode, truth.session.id, newest.user_message_id, newest.info.time.completed)


async def changes_of(opencode: OpenCodeClient, truth: Truth) -> Changes:
    """Read what the newest turn changed; where that is unknown, which files git calls uncommitted."""
    changed = await summed_changes(opencode, truth)
    if truth.newest is None or (changed and has_snapshot(truth.newest)):
        return Changes.of(changed)
    messages = await turn_messages(opencode, truth.session.id, truth.newest.user_message_id, DOUBT_MESSAGES)
    reason = await doubt_of(opencode, truth.session, messages, changed)
    if reason is None:
        return Changes.of(changed)
    found = await uncommitted_files(opencode, truth.session)
    said = f"{reason}; `paths` lists all uncommitted files there" if found else reason
    return Changes(files=None, additions=None, deletions=None, paths=found or [], unknown=said)


async def session_changes(
    opencode: OpenCodeClient, session: Session, message_id: str | None
) -> tuple[list[FileChange], str | None]:
    """Return the changes of one user message, or of all of them in order, and why they may lack something."""
    messages = await opencode.call_as(list[Message], "session_messages", sessionID=session.id)
    ids = [one.info.id for one in messages if one.info.role == "user"] if message_id is None else [message_id]
    changes: list[FileChange] = []
    doubt: str | None = None
    for id in ids:
        turn = [one for one in messages if one.user_message_id == id]
        ended = turn[-1].info.time.completed if turn else None  # of several replies the last one decides
        changed = await diff_of(opencode, session.id, id, ended)
        doubt = doubt or await doubt_of(opencode, session, turn, changed)
        changes += changed
    return changes, doubt


async def known_changes(
    opencode: OpenCodeClient, session: Session, message_id: str | None
) -> tuple[list[FileChange], str | None]:
    """Return a session's changes as `session_changes` does; where they are unknown all that git calls uncommitted,
    and a note that says so.

    Raises:
        WorkflowError: they are unknown, and git does not tell either.
    """
    changes, doubt = await session_changes(opencode, session, message_id)
    if doubt is None:
        return changes, None
    top = await repository(opencode, session)
    if top is None:
        raise WorkflowError(
            f"the changes of {session.id} are unknown: {doubt}. read_transcript shows its tool calls",
            session.id,
        )
    changes = await opencode.call_as(list[FileChange], "vcs_diff", directory=top, mode="git")
    return (
        changes,
        f"The session's changes are unknown: {doubt}. These are all uncommitted changes in {top}, from git",
    )


async def doubt_of(
    opencode: OpenCodeClient, session: Session, turn: list[Message], changed: list[FileChange]
) -> str | None:
    """Say why OpenCode's sum of a turn may lack something; None when it is complete."""
    parts = [part for message in turn for part in replied(message)]
    worked = [part for part in parts if may_change(part)]
    if not worked:
        return None
    steps = [part for part in parts if part.type == "step-start"]
    if not steps:
        return "OpenCode takes no snapshot of a shell command outside of a model's turn"
    if any(step.snapshot is None for step in steps):
        return await why_no_snapshot(opencode, session)
    summed = tuple(one.file for one in changed)
    written = [path for part in worked if (path := written_path(part)) and not (summed and path.endswith(summed))]
    if changed and not written:
        return None
    return await why_incomplete(opencode, session, written)


def has_snapshot(message: Message) -> bool:
    """Whether OpenCode made a snapshot when it began a reply."""
    return any(part.type == "step-start" and part.snapshot is not None for part in message.parts)


def replied(message: Message) -> tuple[Part, ...]:
    """Return the parts of a reply."""
    return message.parts if message.info.role == "assistant" else ()


def may_change(part: Part) -> bool:
    """Whether a part is a tool call that was carried out, and may have changed a file."""
    return part.type == "tool" and part.tool not in READS and part.state is not None and not was_rejected(part)


def written_path(part: Part) -> str | None:
    """Return the file that a tool call has written."""
    if part.tool not in WRITES or part.state is None or part.state.status != "completed":
        return None
    path: Any = part.state.input.get("filePath")
    return path if isinstance(path, str) else None


async def why_no_snapshot(opencode: OpenCodeClient, session: Session) -> str:
    """Say why OpenCode keeps no snapshot in a session's directory."""
    if (await project_path(opencode, session)).worktree == "/":
        return "the folder is not in a git repository, and OpenCode takes no snapshots outside of one"
    config: dict[str, Any] = await opencode.call("config_get", directory=session.directory)
    if config.get("snapshot") is False:
        return "`snapshot` is false in OpenCode's configuration"
    return "OpenCode took no snapshot of this turn"


async def why_incomplete(opencode: OpenCodeClient, session: Session, written: list[str]) -> str | None:
    """Say why a sum lacks something, by what git says; None when nothing shows that it does.

    One file name that is not UTF-8 keeps OpenCode from any new snapshot (1.18.33).
    """
    found = await uncommitted_files(opencode, session) or []
    if any("\ufffd" in path for path in found):
        return "a file name that is not UTF-8 prevents OpenCode's snapshots"
    if written and any(path.endswith(tuple(found)) for path in written):
        return "OpenCode's snapshot lacks a file that the turn wrote"
    return None


async def uncommitted_files(opencode: OpenCodeClient, session: Session) -> list[str] | None:
    """Return the files that git calls uncommitted in a session's repository; None without a repository."""
    top = await repository(opencode, session)
    if top is None:
        return None
    return [one.file for one in await opencode.call_as(list[FileChange], "vcs_status", directory=top)]


async def repository(opencode: OpenCodeClient, session: Session) -> str | None:
    """Return the top of the repository that a session works in, as far as that is allowed; None without one."""
    top = (await project_path(opencode, session)).worktree
    if top == "/":
        return None
    return top if opencode.allowlist.allows(top) else session.directory


async def project_path(opencode: OpenCodeClient, session: Session) -> ProjectPath:
    """Return where a session's directory is."""
    return await opencode.call_as(ProjectPath, "path_get", directory=session.directory)
