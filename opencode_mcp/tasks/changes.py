"""The collect_changes tool: a task's changes; for a task in a worktree also apply and discard.

session -> worktree there? -> changes since its base -> apply -> everything arrived? -> discard

A worktree is removed only when no session is running in it, and only with its own branch.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import PurePath
from typing import Annotated, Literal, Protocol

import anyio
from pydantic import BaseModel, Field, WithJsonSchema

from opencode_mcp.exceptions import OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import FileChange, Session
from opencode_mcp.tasks.worktree.local import open_local_worktree, read_local_changes, refuse_altered
from opencode_mcp.tasks.worktree.remote import read_remote_changes

from .arguments import Arguments
from .context import Context
from .external_activity import read_snapshot_across_processes
from .metadata import TaskMetadata, save_task_metadata, task_metadata
from .next_call import NextCall
from .rules import has_work_left
from .session_state import PICKUP_SECONDS, SessionSnapshot, classify, read_session, refuse_without_messages
from .turn_changes import read_changes_or_uncommitted
from .workspace import describe_removal

MAX_NAMED = 10
MAX_SESSIONS = 16
CONFIG_FILES = frozenset({"opencode.json", "opencode.jsonc"})
SCHEMA_LINE = re.compile(r'^\+\s*"\$schema": "https://opencode\.ai/config\.json",', re.MULTILINE)
"""What OpenCode itself adds to a config file without `$schema` when it reads the file (1.18.33)."""


class ReadChanges(Arguments):
    """Arguments of collect_changes where changes are not allowed; `comparison.py` takes `session_ids`."""

    session_id: str | None = Field(None, pattern="^ses", description="From a report or session_list.")
    session_ids: list[Annotated[str, Field(pattern="^ses")]] = Field(
        default_factory=list[str],
        max_length=MAX_SESSIONS,
        description="Instead of one: worktree tasks to compare, or to discard.",
    )
    message_id: str | None = Field(
        None,
        pattern="^msg",
        description="Only what this user message led to (from read_transcript).",
    )
    format: Literal["stat", "patch"] = Field(
        "stat", description="stat (default): files and line counts; patch: the whole diff too."
    )


class CollectChanges(ReadChanges):
    """Arguments of collect_changes."""

    apply: bool = Field(
        False, description="Worktree tasks: merge into the project's files, uncommitted, all or nothing."
    )
    discard: bool = Field(
        False, description="Worktree tasks: remove worktree and branch; refused if changes would be lost."
    )
    force: bool = Field(False, description="With discard: even if changes are lost.")


class ChangedFile(BaseModel):
    """One changed file."""

    path: str
    status: str
    additions: int
    deletions: int

    @classmethod
    def of(cls, change: FileChange) -> ChangedFile:
        """Return a change without its patch."""
        return cls(path=change.file, status=change.status, additions=change.additions, deletions=change.deletions)


class CollectedChanges(BaseModel):
    """What a task changed, and whether that was applied or discarded."""

    session_id: str
    directory: str
    files: list[ChangedFile]
    additions: int
    deletions: int
    patch: str | None = None
    applied_to: str | None = Field(None, description="The project whose files have the changes now; absent if none.")
    discarded: bool
    missing: list[str] = Field(default=[], description="Of a worktree: what the project lacks.")
    note: str | None = None
    next: Annotated[NextCall | None, WithJsonSchema({"type": "object"})] = None


class WorktreeChanges(Protocol):
    """The changes in a worktree since it was created, and whether they can be applied to the project now."""

    @property
    def target(self) -> str:
        """The top of the project's working tree."""
        ...

    @property
    def state(self) -> str | None:
        """What identifies this state of the worktree; None where it cannot be identified."""
        ...

    @property
    def unmergeable(self) -> list[str]:
        """Changes that cannot be applied, as text."""
        ...

    @property
    def missing(self) -> list[str]:
        """Changes that the project lacks, as text; the unmergeable ones included."""
        ...

    @property
    def note(self) -> str | None:
        """What a reader of `files` must also know."""
        ...

    @property
    def instructions(self) -> str:
        """What to do with the unmergeable changes."""
        ...

    async def files(self) -> list[FileChange]:
        """Return the changed files."""
        ...

    def contents(self) -> dict[str, str]:
        """Return, by changed file, a text that is the same in two worktrees only if the file's content is."""
        ...

    async def patch(self) -> str:
        """Return one patch of all of them."""
        ...

    async def apply(self) -> None:
        """Apply them to the project, all or nothing."""
        ...

    def prepare_removal(self, force: bool) -> AbstractAsyncContextManager[str | None]:
        """Prepare the worktree so that removing it in the block deletes only its own branch.

        Provides another branch that the task had checked out, which stays, or None.
        """
        ...


async def collect_changes(context: Context, arguments: CollectChanges) -> CollectedChanges:
    """Collect what one task changed: that of `session_id`.

    Raises:
        WorkflowError: the session is of OpenCode's v2 API; it still runs; its worktree was removed, or it has none to
            apply or discard; the changes conflict; or discarding would lose changes.
    """
    opencode = context.opencode
    assert arguments.session_id is not None
    start = context.servers.pending_starts.get(arguments.session_id)
    if start is not None and not start.finished.is_set():
        raise WorkflowError(
            f"{arguments.session_id} is still starting; call wait_for_tasks first", arguments.session_id
        )
    session = await read_session(opencode, arguments.session_id)
    await refuse_without_messages(opencode, session.id)
    task = task_metadata(session)
    if arguments.apply or arguments.discard:
        refuse_partial(session, task, arguments)
    if task.worktree_of is None or arguments.message_id is not None:
        changes, note = await read_changes_or_uncommitted(opencode, session, arguments.message_id)
        patch = "".join(change.patch for change in changes)
        return build_result(session, arguments, changes, patch, None, note)
    if removal_note := await describe_removal(opencode, session, task):
        raise WorkflowError(
            f"{removal_note}. With `message_id` (see session_messages) collect_changes still shows what a prompt "
            f"changed",
            session.id,
        )
    if not (arguments.apply or arguments.discard):
        async with open_worktree_changes(opencode, session, task) as worktree:
            return await collect_from_worktree(opencode, session, task, arguments, worktree)
    async with (
        opencode.session_lock(session.id),
        opencode.session_lock(f"files of {task.worktree_of}"),
    ):  # locked: no prompt can start meanwhile
        await refuse_running_work(opencode, session, task, arguments.discard, arguments.force)
        async with open_worktree_changes(opencode, session, task) as worktree:
            return await collect_from_worktree(opencode, session, task, arguments, worktree)


async def collect_from_worktree(
    opencode: OpenCodeClient, session: Session, task: TaskMetadata, arguments: CollectChanges, worktree: WorktreeChanges
) -> CollectedChanges:
    """Collect the changes of a worktree; without `force` it is discarded only if the project has all of them."""
    changes = await worktree.files()
    patch = await worktree.patch() if arguments.format == "patch" else ""
    if arguments.discard and not arguments.force:
        refuse_loss(session, worktree, worktree.unmergeable if arguments.apply else worktree.missing)
    applied = arguments.apply and has_mergeable(changes, worktree)
    missing = [*(worktree.unmergeable if arguments.apply else worktree.missing)]
    if arguments.apply and (changes or worktree.missing):
        await worktree.apply()
        if worktree.state is not None:
            await save_task_metadata(opencode, session.id, collected=worktree.state)
    notes = [worktree.note, await describe_schema_line(changes, worktree)]
    if arguments.discard:
        try:
            notes.append(
                await discard_worktree(
                    opencode, session, task, worktree, force=arguments.force, loses_changes=bool(missing)
                )
            )
        except OpenCodeError as error:
            if not applied:
                raise
            raise WorkflowError(
                f"the changes were applied to {worktree.target}, but the worktree was not discarded: {error}",
                session.id,
            ) from error
    note = "; ".join(filter(None, notes)) or None
    result = build_result(session, arguments, changes, patch, worktree.target if applied else None, note)
    return result.model_copy(update={"missing": missing})


def has_mergeable(changes: Sequence[FileChange], worktree: WorktreeChanges) -> bool:
    """Whether a worktree has something to apply: a change, or one that was applied and that the task has reverted."""
    return bool(changes) or len(worktree.missing) > len(worktree.unmergeable)


async def describe_schema_line(changes: Sequence[FileChange], worktree: WorktreeChanges) -> str | None:
    """Say that OpenCode, not the task, adds `$schema` to a config file; None where no config file has a new one."""
    config = [change.file for change in changes if PurePath(change.file).name in CONFIG_FILES]
    if not config or not SCHEMA_LINE.search(await worktree.patch()):
        return None
    return f"OpenCode itself adds the `$schema` line to {', '.join(config)}"


async def discard_worktree(
    opencode: OpenCodeClient,
    session: Session,
    task: TaskMetadata,
    worktree: WorktreeChanges,
    *,
    force: bool,
    loses_changes: bool,
) -> str | None:
    """Remove a worktree, and say which branch it leaves behind."""
    outcome = "discarded, with changes that were not applied" if loses_changes else "discarded"
    async with worktree.prepare_removal(force) as branch:
        await remove_worktree(opencode, session, task, outcome)
    return None if branch is None else f"kept the branch {branch}, which the task had checked out"


def build_result(
    session: Session,
    arguments: CollectChanges,
    changes: list[FileChange],
    patch: str,
    applied_to: str | None,
    note: str | None,
) -> CollectedChanges:
    """Return the result."""
    return CollectedChanges(
        session_id=session.id,
        directory=session.directory,
        files=[ChangedFile.of(change) for change in changes],
        additions=sum(change.additions for change in changes),
        deletions=sum(change.deletions for change in changes),
        patch=patch if arguments.format == "patch" else None,
        applied_to=applied_to,
        discarded=arguments.discard,
        note=note,
    )


@asynccontextmanager
async def open_worktree_changes(
    opencode: OpenCodeClient, session: Session, task: TaskMetadata
) -> AsyncGenerator[WorktreeChanges]:
    """Provide a worktree's changes: read with git where it is on this machine, else with OpenCode's operations."""
    local_git = await open_local_worktree(opencode, task)
    if local_git is not None:
        async with read_local_changes(opencode, task, local_git) as changes:
            yield changes
    else:
        await refuse_altered(opencode, task)
        messages = await engine_of(opencode).list_messages(session.id)
        yield await read_remote_changes(opencode, session, task, messages)


def refuse_partial(session: Session, task: TaskMetadata, arguments: CollectChanges) -> None:
    """Refuse to apply or discard anything but a whole worktree.

    Raises:
        WorkflowError: why not.
    """
    if task.worktree_of is None:
        raise WorkflowError(
            f"{session.id} works in {session.directory} itself, not in a worktree: nothing to apply or discard "
            "(session_revert undoes a message's changes)",
            session.id,
        )
    if arguments.message_id is not None:
        raise WorkflowError("apply and discard work on the whole task: omit message_id", session.id)


def refuse_loss(session: Session, worktree: WorktreeChanges, missing: list[str]) -> None:
    """Refuse to discard changes that exist only in the worktree.

    Raises:
        WorkflowError: names them, and what to do.
    """
    if missing:
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        raise WorkflowError(
            f"nothing was discarded: the worktree has changes that {worktree.target} lacks: "
            f"{', '.join(missing[:MAX_NAMED])}{more}. "
            + (f"{worktree.instructions}. " if worktree.unmergeable and worktree.instructions else "")
            + "`apply: true` applies what it can; `force: true` discards the rest",
            session.id,
        )


async def refuse_running_work(
    opencode: OpenCodeClient, session: Session, task: TaskMetadata, discard: bool, force: bool
) -> None:
    """Refuse to change the files of a running task, and to discard a worktree in which another session runs.

    Raises:
        WorkflowError: which session runs, and what to do.
    """
    snapshot, other_process_note = await read_snapshot_across_processes(opencode, session.id)
    if snapshot.busy or was_just_written(snapshot) or await has_work_left(opencode, snapshot):
        raise WorkflowError(f"{session.id} is still running; call wait_for_tasks or stop_task first", session.id)
    if not discard:
        return
    if other_process_note is not None and not force:
        raise WorkflowError(
            f"nothing was discarded. {other_process_note} `force: true` removes the worktree anyway", session.id
        )
    others: set[str] = set()
    for directory in {task.worktree or session.directory, session.directory}:
        others |= await engine_of(opencode).list_running(directory)
    if others:
        raise WorkflowError(
            f"nothing was discarded: {', '.join(sorted(others))} running in the same worktree; call "
            "wait_for_tasks or stop_task first",
            session.id,
        )


def was_just_written(snapshot: SessionSnapshot) -> bool:
    """Whether a prompt or reply is so recent that OpenCode may not have started or completed it yet."""
    newest = snapshot.newest_message
    written_at = snapshot.session.time.created if newest is None else newest.written_at
    return classify(snapshot).stalled_reason is not None and abs(time.time() - written_at / 1000) < PICKUP_SECONDS


async def remove_worktree(opencode: OpenCodeClient, session: Session, task: TaskMetadata, outcome: str) -> None:
    """Remove a worktree. The metadata is saved first: later the session's directory may not be allowed any more.

    Raises:
        OpenCodeError: it was not removed.
    """
    await save_task_metadata(opencode, session.id, removed=outcome)
    try:
        worktree = task.worktree or session.directory
        await engine_of(opencode).remove_worktree(task.worktree_of, worktree)
        if await describe_removal(opencode, session, task) is None:
            raise WorkflowError(f"OpenCode reports the worktree {worktree} as removed, but it still exists")
    except OpenCodeError:
        with anyio.CancelScope(shield=True):
            await save_task_metadata(opencode, session.id, removed=None)
        raise
