"""The files that a turn changed, and when they are not known: OpenCode sums up its snapshots, and may have none.

session_diff -> does every step have a snapshot, and is every written file in the sum? -> else git's uncommitted files

OpenCode sums up after each step, a moment after it reports the step as done.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import anyio
from pydantic import BaseModel, Field

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import FileChange, Message, Part, ProjectPath, Session

from .session_state import SessionSnapshot, was_rejected
from .turn import find_first_prompt_id, read_turn_messages
from .turn_prompts import READ_MESSAGES, RECENT_MESSAGES, reach_back, read_messages_back_to

READING_TOOLS = frozenset(
    {"read", "glob", "grep", "list", "ls", "lsp", "todowrite", "todoread", "question", "skill", "webfetch", "websearch"}
)
"""OpenCode's tools that change no file (1.18.33); any other may."""
WRITING_TOOLS = frozenset({"write", "edit"})
"""Its tools that change the file `filePath`."""


class TurnChanges(BaseModel):
    """What the turn changed in files."""

    files: int | None = None
    additions: int | None = None
    deletions: int | None = None
    paths: list[str] = []
    unknown: str | None = Field(
        default=None, description="Why the numbers are unknown, and what `paths` lists instead."
    )

    @classmethod
    def from_files(cls, changes: list[FileChange]) -> TurnChanges:
        """Return known changes; those of one file are added up."""
        paths = [*dict.fromkeys(change.file for change in changes)]
        return cls(
            files=len(paths),
            additions=sum(change.additions for change in changes),
            deletions=sum(change.deletions for change in changes),
            paths=paths,
        )


async def read_summed_changes(opencode: OpenCodeClient, snapshot: SessionSnapshot) -> list[FileChange]:
    """Read OpenCode's sums of the newest turn, one for each of its prompts."""
    newest = snapshot.newest_message
    if newest is None:
        return []
    changes: list[FileChange] = []
    first_prompt_id = find_first_prompt_id(snapshot)
    if first_prompt_id != newest.user_message_id:
        messages = await read_turn_messages(opencode, snapshot, first_prompt_id)
        for prompt_id in dict.fromkeys(message.user_message_id for message in messages):
            if prompt_id != newest.user_message_id:
                changes += await engine_of(opencode).diff_turn(snapshot.session.id, prompt_id)
    completed_at = newest.info.time.completed
    return [
        *changes,
        *await read_complete_diff(opencode, snapshot.session.id, newest.user_message_id, completed_at, snapshot.recent),
    ]


async def read_turn_changes(opencode: OpenCodeClient, snapshot: SessionSnapshot) -> TurnChanges:
    """Read what the newest turn changed; where that is unknown, which files git calls uncommitted."""
    newest = snapshot.newest_message
    try:
        changes = await read_summed_changes(opencode, snapshot)
    except WorkflowError as error:
        return await report_lost_changes(opencode, snapshot, str(error))
    if newest is None or (changes and has_snapshot(newest)):
        return TurnChanges.from_files(changes)
    messages = await read_turn_messages(opencode, snapshot, find_first_prompt_id(snapshot))
    reason = await find_gap(opencode, snapshot.session, messages, changes)
    if reason is None:
        return TurnChanges.from_files(changes)
    uncommitted = await read_uncommitted_files(opencode, snapshot.session)
    reason_text = f"{reason}; `paths` lists all uncommitted files there" if uncommitted else reason
    return TurnChanges(paths=uncommitted or [], unknown=reason_text)


async def read_removed_changes(opencode: OpenCodeClient, snapshot: SessionSnapshot) -> TurnChanges:
    """Read what the newest turn changed in a worktree that was removed, as far as OpenCode still shows it."""
    try:
        return TurnChanges.from_files(await read_summed_changes(opencode, snapshot))
    except WorkflowError as error:
        return await report_lost_changes(opencode, snapshot, str(error))


async def report_lost_changes(opencode: OpenCodeClient, snapshot: SessionSnapshot, reason: str) -> TurnChanges:
    """Return that the newest turn's changes are unknown, if it has called tools that may change files."""
    messages = await read_turn_messages(opencode, snapshot, find_first_prompt_id(snapshot))
    may_have_changed = any(may_change(part) for message in messages for part in reply_parts(message))
    return TurnChanges(unknown=reason) if may_have_changed else TurnChanges.from_files([])


async def read_session_changes(
    opencode: OpenCodeClient, session: Session, message_id: str | None
) -> tuple[list[FileChange], str | None]:
    """Return the changes of one user message, or of all of them in order, and why they may lack something."""
    messages = await engine_of(opencode).list_messages(session.id)
    prompt_ids = (
        [message.info.id for message in messages if message.info.role == "user"] if message_id is None else [message_id]
    )
    changes: list[FileChange] = []
    gap: str | None = None
    for prompt_id in prompt_ids:
        turn = [message for message in messages if message.user_message_id == prompt_id]
        completed_at = turn[-1].info.time.completed if turn else None  # of several replies the last one decides
        turn_changes = await read_complete_diff(opencode, session.id, prompt_id, completed_at)
        gap = gap or await find_gap(opencode, session, turn, turn_changes)
        changes += turn_changes
    return changes, gap


async def read_changes_or_uncommitted(
    opencode: OpenCodeClient, session: Session, message_id: str | None
) -> tuple[list[FileChange], str | None]:
    """Return a session's changes as `read_session_changes` does; where they are unknown all that git calls uncommitted,
    and a note that says so.

    Raises:
        WorkflowError: they are unknown, and there is no git repository to read them from.
    """
    changes, gap = await read_session_changes(opencode, session, message_id)
    if gap is None:
        return changes, None
    top = await find_repository(opencode, session)
    if top is None:
        raise WorkflowError(
            f"the changes of {session.id} are unknown: {gap}. read_transcript shows its tool calls",
            session.id,
        )
    changes = await engine_of(opencode).diff_files(top, "git")
    return changes, f"The session's changes are unknown: {gap}. These are all uncommitted changes in {top}, from git"


async def find_gap(
    opencode: OpenCodeClient, session: Session, turn: list[Message], changes: list[FileChange]
) -> str | None:
    """Say why OpenCode's sum of a turn may lack something; None when it is complete."""
    parts = [part for message in turn for part in reply_parts(message)]
    change_calls = [part for part in parts if may_change(part)]
    if not change_calls:
        return None
    steps = [part for part in parts if part.type == "step-start"]
    if not steps:
        return "OpenCode takes no snapshot of a shell command outside of a model's turn"
    if any(step.snapshot is None for step in steps):
        return await no_snapshot_reason(opencode, session)
    summed_files = tuple(change.file for change in changes)
    unsummed = [
        path
        for part in change_calls
        if (path := written_path(part)) and not (summed_files and path.endswith(summed_files))
    ]
    if changes and not unsummed:
        return None
    return await incomplete_reason(opencode, session, unsummed)


def has_snapshot(message: Message) -> bool:
    """Whether OpenCode made a snapshot when it began a reply."""
    return any(part.type == "step-start" and part.snapshot is not None for part in message.parts)


def reply_parts(message: Message) -> tuple[Part, ...]:
    """Return the parts of a reply."""
    return message.parts if message.info.role == "assistant" else ()


def may_change(part: Part) -> bool:
    """Whether a part is a tool call that ran and may have changed a file."""
    return part.type == "tool" and part.tool not in READING_TOOLS and part.state is not None and not was_rejected(part)


def written_path(part: Part) -> str | None:
    """Return the file that a tool call has written."""
    if part.tool not in WRITING_TOOLS or part.state is None or part.state.status != "completed":
        return None
    path: Any = part.state.input.get("filePath")
    return path if isinstance(path, str) else None


async def no_snapshot_reason(opencode: OpenCodeClient, session: Session) -> str:
    """Say why OpenCode keeps no snapshot in a session's directory."""
    if (await read_project_path(opencode, session)).worktree == "/":
        return "the folder is not in a git repository, and OpenCode takes no snapshots outside of one"
    if not (await engine_of(opencode).read_config(session.directory)).snapshot:
        return "`snapshot` is false in OpenCode's configuration"
    return "OpenCode took no snapshot of this turn"


async def incomplete_reason(opencode: OpenCodeClient, session: Session, written: list[str]) -> str | None:
    """Say why a sum lacks something, by what git says; None when nothing shows that it does.

    One file name that is not UTF-8 keeps OpenCode from any new snapshot (1.18.33).
    """
    uncommitted = await read_uncommitted_files(opencode, session) or []
    if any("\ufffd" in path for path in uncommitted):
        return "a file name that is not UTF-8 prevents OpenCode's snapshots"
    if written and any(path.endswith(tuple(uncommitted)) for path in written):
        return "OpenCode's snapshot lacks a file that the turn wrote"
    return None


async def read_uncommitted_files(opencode: OpenCodeClient, session: Session) -> list[str] | None:
    """Return the files that git calls uncommitted in a session's repository; None without a repository."""
    top = await find_repository(opencode, session)
    if top is None:
        return None
    return [change.file for change in await engine_of(opencode).list_uncommitted(top)]


async def find_repository(opencode: OpenCodeClient, session: Session) -> str | None:
    """Return the top of the repository that a session works in, as far as that is allowed; None without one."""
    top = (await read_project_path(opencode, session)).worktree
    if top == "/":
        return None
    return top if opencode.allowlist.allows(top) else session.directory


async def read_project_path(opencode: OpenCodeClient, session: Session) -> ProjectPath:
    """Return where a session's directory is."""
    return await engine_of(opencode).read_paths(session.directory)


DIFF_LAG_SECONDS = 10.0
"""How long the sum may lag behind; 1.18.33 takes 0.1 s on a quiet machine, some seconds on a busy one."""
PATCH_LAG_SECONDS = 2.0
"""How long a step may lag behind in saying what it has touched; under load 1.18.33 ends the turn before."""
TURN_LIMITS = READ_MESSAGES[:2]
"""How many messages are searched for what a turn has touched."""


async def read_complete_diff(
    opencode: OpenCodeClient,
    session_id: str,
    message_id: str,
    completed_at: float | None,
    recent: Sequence[Message] | None = None,
) -> list[FileChange]:
    """Return what a user message led to; when its turn has just `completed_at` (ms), with all of its steps in the sum.

    A file that a step has put back, or written as it was, never comes into the sum: then the time decides. `recent` are
    messages as in `read_messages_back_to`: nothing is read of a turn whose steps show that it has left all files alone.
    """
    has_turn = recent is not None and reach_back(recent, RECENT_MESSAGES, message_id)
    known = replies_to(recent or (), message_id) if has_turn else []
    if left_files_alone(known):
        return []
    changes = await engine_of(opencode).diff_turn(session_id, message_id)
    if completed_at is None or time.time() - completed_at / 1000 >= DIFF_LAG_SECONDS:
        return changes
    began = anyio.current_time()
    while True:
        summed_files = tuple(change.file for change in changes)
        replies = known if say_what_they_touched(known) else await read_replies(opencode, session_id, message_id)
        touched, written = find_touched_paths(replies)
        unsummed = {path for path in touched | written if not path.endswith(summed_files)}
        limit_seconds = DIFF_LAG_SECONDS if unsummed & touched else PATCH_LAG_SECONDS
        if not unsummed or anyio.current_time() - began > limit_seconds:
            return changes
        await anyio.sleep(0.2)
        changes = await engine_of(opencode).diff_turn(session_id, message_id)


def find_touched_paths(replies: Sequence[Message]) -> tuple[set[str], set[str]]:
    """Return the paths that the steps of a turn have touched, as the steps themselves say, and those that tool calls
    have written: a step says so a moment after its call."""
    parts = [part for reply in replies for part in reply.parts]
    touched = {path for part in parts if part.type == "patch" for path in part.files}
    return touched, {path for part in parts if (path := written_path(part))}


def say_what_they_touched(replies: Sequence[Message]) -> bool:
    """Whether all steps of a turn have ended, each with the files as they were or with those that it has touched."""
    for reply in replies:
        kinds = Counter(part.type for part in reply.parts)
        if not kinds["step-start"] or kinds["step-start"] != kinds["step-finish"]:
            return False
        if len(file_states([reply])) > 1 and not kinds["patch"]:
            return False
    return bool(replies)


def left_files_alone(replies: Sequence[Message]) -> bool:
    """Whether the steps of a turn show that its sum is empty: OpenCode compares the first state with the last one."""
    return say_what_they_touched(replies) and len(file_states(replies)) == 1 and not any(find_touched_paths(replies))


def file_states(replies: Iterable[Message]) -> set[str | None]:
    """Return the states of the files, as snapshots show them, before and after the steps of a turn."""
    parts = [part for reply in replies for part in reply.parts]
    return {part.snapshot for part in parts if part.type in {"step-start", "step-finish"}}


async def read_replies(opencode: OpenCodeClient, session_id: str, message_id: str) -> list[Message]:
    """Return the replies to a user's message, oldest first; of a long turn those among the newest messages."""
    messages = await read_messages_back_to(opencode, session_id, message_id, limits=TURN_LIMITS)
    return replies_to(messages, message_id)


def replies_to(messages: Iterable[Message], message_id: str) -> list[Message]:
    """Return those of the messages that reply to a user's message."""
    return [
        message for message in messages if message.info.role == "assistant" and message.user_message_id == message_id
    ]
