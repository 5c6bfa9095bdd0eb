"""The collect_changes tool: a task's changes; for a task in a worktree also apply and discard.

session -> worktree there? -> changes since its base -> apply -> everything arrived? -> discard
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol

from pydantic import BaseModel, Field

from opencode_mcp.exceptions import OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import FileChange, Message, Session

from .arguments import Arguments
from .context import Context
from .metadata import TaskMetadata, save_task_metadata, task_metadata
from .place import removal
from .remote import remote_changes
from .removing import refuse_work, remove
from .second_engine import refuse_unseen
from .truth import read_session
from .turn_changes import known_changes
from .worktree import local, local_changes, refuse_altered

NAMED = 10


class CollectChanges(Arguments):
    """Arguments of collect_changes."""

    session_id: str = Field(pattern="^ses")
    message_id: str | None = Field(
        None, pattern="^msg", description=("Only the changes made in reply to this user message.")
    )
    format: Literal["stat", "patch"] = "stat"
    apply: bool = Field(False, description="Worktree tasks: apply the changes to the project's files, uncommitted.")
    discard: bool = Field(False, description="Worktree tasks: remove the worktree and its branch, after apply.")
    force: bool = Field(False, description="Discard even changes that were not applied.")


class ChangedFile(BaseModel):
    """One changed file."""

    path: str
    status: str
    additions: int
    deletions: int


class CollectedChanges(BaseModel):
    """What a task changed, and what became of it."""

    session_id: str
    directory: str
    files: list[ChangedFile]
    additions: int
    deletions: int
    patch: str | None
    applied_to: str | None
    discarded: bool
    note: str | None = None


class WorktreeChanges(Protocol):
    """What a worktree holds since it was made, and how that fits into the project now."""

    @property
    def target(self) -> str:
        """The top of the project's working tree."""
        ...

    @property
    def state(self) -> str | None:
        """What identifies this state of the worktree, where that can be told."""
        ...

    @property
    def left_behind(self) -> list[str]:
        """What cannot be brought over, in words."""
        ...

    @property
    def missing(self) -> list[str]:
        """What the project does not have, in words."""
        ...

    @property
    def note(self) -> str | None:
        """What a reader of the files must know beside them."""
        ...

    @property
    def how(self) -> str:
        """What to do with what cannot be brought over."""
        ...

    async def files(self) -> list[FileChange]:
        """Return the changed files."""
        ...

    async def patch(self) -> str:
        """Return one patch of all of them."""
        ...

    async def apply(self) -> None:
        """Bring them over, all or nothing."""
        ...

    def leaving(self, force: bool) -> AbstractAsyncContextManager[str | None]:
        """Have the worktree removed in the block, and nothing else with it; provide the branch that stays."""
        ...


async def collect_changes(context: Context, arguments: CollectChanges) -> CollectedChanges:
    """Collect what a task changed.

    Raises:
        WorkflowError: it is of the second engine; it still works; it has no worktree to apply or discard, or not any
            more; the changes conflict; what would be discarded is nowhere else.
    """
    opencode = context.opencode
    start = context.servers.pending_starts.get(arguments.session_id)
    if start is not None and not start.over.is_set():
        raise WorkflowError(
            f"{arguments.session_id} is still starting; call wait_for_tasks first", arguments.session_id
        )
    session = await read_session(opencode, arguments.session_id)
    await refuse_unseen(opencode, session.id)
    task = task_metadata(session)
    if arguments.apply or arguments.discard:
        refuse_part(session, task, arguments)
    if task.worktree_of is None or arguments.message_id is not None:
        changes, note = await known_changes(opencode, session, arguments.message_id)
        patch = "".join(one.patch for one in changes)
        return collected(session, arguments, changes, patch, None, note)
    if gone := await removal(opencode, session, task):
        raise WorkflowError(
            f"{gone}. With `message_id` (see session_messages) collect_changes still shows what a prompt changed",
            session.id,
        )
    if not (arguments.apply or arguments.discard):
        async with worktree_changes(opencode, session, task) as found:
            return await collect(opencode, session, task, arguments, found)
    async with (
        opencode.session_lock(session.id),
        opencode.session_lock(f"files of {task.worktree_of}"),
    ):  # no prompt meanwhile
        await refuse_work(opencode, session, task, arguments.discard, arguments.force)
        async with worktree_changes(opencode, session, task) as found:
            return await collect(opencode, session, task, arguments, found)


async def collect(
    opencode: OpenCodeClient, session: Session, task: TaskMetadata, arguments: CollectChanges, found: WorktreeChanges
) -> CollectedChanges:
    """Report the changes of a worktree; before anything goes, all of it must be in the project."""
    changes = await found.files()
    patch = await found.patch() if arguments.format == "patch" else ""
    if arguments.discard and not arguments.force:
        refuse_loss(session, found, found.left_behind if arguments.apply else found.missing)
    applied = arguments.apply and bool(changes or found.missing)
    if applied:
        await found.apply()
        if found.state is not None:
            await save_task_metadata(opencode, session.id, collected=found.state)
    notes = [found.note]
    if arguments.discard:
        lost = bool(found.left_behind if arguments.apply else found.missing)
        try:
            notes.append(await discard(opencode, session, task, found, force=arguments.force, lost=lost))
        except OpenCodeError as error:
            if not applied:
                raise
            raise WorkflowError(
                f"the changes were applied to {found.target}, but the worktree was not discarded: {error}", session.id
            ) from error
    note = "; ".join(filter(None, notes)) or None
    return collected(session, arguments, changes, patch, found.target if applied else None, note)


async def discard(
    opencode: OpenCodeClient, session: Session, task: TaskMetadata, found: WorktreeChanges, *, force: bool, lost: bool
) -> str | None:
    """Remove a worktree, and say which branch it leaves behind."""
    how = "discarded, with changes that were not applied" if lost else "discarded"
    async with found.leaving(force) as branch:
        await remove(opencode, session, task, how)
    return None if branch is None else f"kept the branch {branch}, which the task had checked out"


def collected(
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
        files=[
            ChangedFile(path=one.file, status=one.status, additions=one.additions, deletions=one.deletions)
            for one in changes
        ],
        additions=sum(one.additions for one in changes),
        deletions=sum(one.deletions for one in changes),
        patch=patch if arguments.format == "patch" else None,
        applied_to=applied_to,
        discarded=arguments.discard,
        note=note,
    )


@asynccontextmanager
async def worktree_changes(
    opencode: OpenCodeClient, session: Session, task: TaskMetadata
) -> AsyncGenerator[WorktreeChanges]:
    """Provide what a worktree holds: read by git where it is on this machine, else by OpenCode's operations."""
    worktree = await local(opencode, task)
    if worktree is None:
        await refuse_altered(opencode, task)
    if worktree is not None:
        async with local_changes(opencode, task, worktree) as changes:
            yield changes
    else:
        messages = await opencode.call_as(list[Message], "session_messages", sessionID=session.id)
        yield await remote_changes(opencode, session, task, messages)


def refuse_part(session: Session, task: TaskMetadata, arguments: CollectChanges) -> None:
    """Refuse to apply or discard what is not the whole of a worktree.

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


def refuse_loss(session: Session, found: WorktreeChanges, missing: list[str]) -> None:
    """Refuse to discard what is nowhere else.

    Raises:
        WorkflowError: names it, and what to do.
    """
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise WorkflowError(
            f"nothing was discarded: the worktree has changes that {found.target} lacks: "
            f"{', '.join(missing[:NAMED])}{more}. "
            + (f"{found.how}. " if found.left_behind and found.how else "")
            + "`apply: true` applies what it can; `force: true` discards the rest",
            session.id,
        )
