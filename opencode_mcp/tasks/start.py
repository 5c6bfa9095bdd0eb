"""Start a task: check everything, then send its prompt.

check -> worktree -> session -> prompt_async
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
from pydantic import BaseModel

from opencode_mcp.exceptions import OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Message, Session, parse_model
from opencode_mcp.opencode.prepare import directory_misreading

from .access import change_access, session_rules
from .agent_rules import refuse_denied_check
from .attachments import file_parts
from .context import Context
from .external_activity import read_snapshot_across_processes
from .idempotency import find_request_session, request_suffix
from .metadata import (
    Permissions,
    TaskMetadata,
    check_metadata_stored,
    task_metadata,
    with_task_metadata,
)
from .model_selection import DEFAULT_AGENT, Selection, check_model_selection, continue_selection
from .options import StartTask
from .prompt import make_rules, send_prompt
from .rules import has_work_left
from .session_state import PICKUP_SECONDS, SessionSnapshot, classify, read_newest_messages
from .stop import abandon
from .turn import read_family_usage
from .workspace import check_directory, describe_removal, directory_argument, prepare_workspace

MAX_DEPTH = 2


class SentPrompt(BaseModel):
    """A prompt that was sent: `previous_prompt_id` is the user's message before it, "" when there is none.

    It is None where the prompt may have been sent by another process. `note` is what the caller must know.
    """

    session_id: str
    previous_prompt_id: str | None = None
    note: str | None = None


def ignore_session(session: Session) -> None:
    """Do nothing: the default of `on_session`."""


async def submit_task(
    context: Context, arguments: StartTask, on_session: Callable[[Session], None] = ignore_session
) -> SentPrompt:
    """Check everything, then send the prompt; `on_session` is called with its session as soon as that exists.

    Raises:
        WorkflowError: what is unknown, busy or missing; nothing was sent.
    """
    if context.depth >= MAX_DEPTH:
        raise WorkflowError(
            f"this OpenCode was started by a task itself (depth {context.depth}): it must not start another"
        )
    opencode = context.opencode
    if arguments.include_uncommitted and (arguments.session_id is not None or not arguments.worktree):
        raise WorkflowError(
            "include_uncommitted needs a new task in a worktree: pass `worktree: true` and no session_id"
        )
    if arguments.session_id is not None:
        async with context.for_session(arguments.session_id) as session_context:
            return await continue_session(session_context, arguments, arguments.session_id, on_session)
    directory = arguments.directory or opencode.directory
    if arguments.directory is not None:
        await check_directory(opencode, arguments.directory)
    if arguments.request_id is not None and (
        existing_id := await find_request_session(opencode, directory, arguments.request_id)
    ):
        return await continue_session(context, arguments, existing_id, on_session)
    selection = await check_model_selection(opencode, directory, selection_of(arguments))
    await refuse_denied_check(opencode, directory, arguments.agent, arguments.check)
    async with prepare_workspace(opencode, directory, arguments.worktree, arguments.include_uncommitted) as workspace:
        attachments = await file_parts(opencode, workspace.directory, arguments.files)
        task = workspace.task.model_copy(
            update={
                "permissions": choose_permissions(context, arguments),
                "access": arguments.access,
                "request_id": arguments.request_id,
                "rules": make_rules(context, arguments),
            }
        )
        session = workspace.session = await create_session(opencode, workspace.directory, arguments.agent, task)
        winner_id = session.id
        if arguments.request_id is not None:  # of several concurrent calls with this id, one has the task
            winner_id = await find_request_session(opencode, directory, arguments.request_id) or session.id
        if winner_id == session.id:
            on_session(session)
            await send_prompt(context, session, arguments, selection, None, attachments)
            workspace.keep = True
            return SentPrompt(session_id=session.id, previous_prompt_id="", note=workspace.note)
    return await continue_session(context, arguments, winner_id, on_session)


def refuse_busy(snapshot: SessionSnapshot, elsewhere: str | None) -> None:
    """Refuse a prompt to a session that works; `elsewhere` says that another OpenCode process runs it.

    Raises:
        WorkflowError: what to do instead.
    """
    session_id = snapshot.session.id
    if snapshot.busy or was_just_sent(snapshot.newest_message):
        raise WorkflowError(
            f"session {session_id} is busy ({classify(snapshot).state}); wait_for_tasks waits for it, stop_task "
            f"stops it",
            session_id,
        )
    if elsewhere is not None:
        raise WorkflowError(
            f"session {session_id} cannot take a prompt now. {elsewhere} wait_for_tasks waits for its end; "
            "session_fork copies its messages so far to a new session",
            session_id,
        )


async def continue_session(
    context: Context, arguments: StartTask, session_id: str, on_session: Callable[[Session], None] = ignore_session
) -> SentPrompt:
    """Send a prompt to a session that exists, unless it has this request already.

    Raises:
        WorkflowError: the session is busy, or its model does not exist.
    """
    opencode = context.opencode
    async with opencode.session_lock(session_id):  # of two concurrent prompts OpenCode may lose one
        refuse_while_starting(context, session_id, arguments.request_id)
        snapshot, other_process_note = await read_snapshot_across_processes(opencode, session_id)
        on_session(snapshot.session)
        previous_prompt_id = snapshot.newest_message.user_message_id if snapshot.newest_message else ""
        if arguments.request_id is not None:
            sent_message = await find_sent_prompt(opencode, session_id, arguments.request_id)
            if sent_message is not None:
                refuse_reused_request_id(arguments, session_id, sent_message)
                state = "running" if snapshot.busy or other_process_note else "done"
                return SentPrompt(session_id=session_id, note=f"request {arguments.request_id} is already {state}")
        refuse_busy(snapshot, other_process_note)
        if await has_work_left(opencode, snapshot):
            raise WorkflowError(
                f"session {session_id} has a check to run; wait_for_tasks waits for it, stop_task stops it", session_id
            )
        await refuse_removed_worktree(opencode, snapshot.session)
        directory = snapshot.session.directory
        if problem := directory_misreading(directory):
            raise WorkflowError(f"nothing was sent to session {session_id}: {problem}", session_id)
        selection = await continue_selection(opencode, snapshot.session, selection_of(arguments))
        await refuse_denied_check(opencode, directory, selection.get("agent"), arguments.check)
        attachments = await file_parts(opencode, directory, arguments.files)
        changes_agent = arguments.agent is not None and task_metadata(snapshot.session).access is not None
        if arguments.permissions is not None or arguments.access is not None or changes_agent:
            await change_access(
                opencode, snapshot.session, selection.get("agent"), arguments.access, arguments.permissions
            )
        used = await read_family_usage(opencode, snapshot)
        await send_prompt(context, snapshot.session, arguments, selection, snapshot.newest_message, attachments, used)
        try:
            with suppress(OpenCodeError):  # the wait that follows reports it
                await wait_until_visible(opencode, session_id, snapshot.newest_message)
        except anyio.get_cancelled_exc_class():
            await abandon(context, session_id, previous_prompt_id)
            raise
        note = None if arguments.agent is not None else describe_kept_agent(selection.get("agent"))
        return SentPrompt(session_id=session_id, previous_prompt_id=previous_prompt_id, note=note)


def selection_of(arguments: StartTask) -> Selection:
    """Return the model, agent and variant that a prompt names."""
    return Selection(arguments.model, arguments.agent, arguments.variant)


def describe_kept_agent(agent: str | None) -> str | None:
    """Say which agent a follow-up goes on with; None if it is the usual one."""
    return None if agent in {None, DEFAULT_AGENT} else f"agent {agent}, as in the session's last prompt"


async def refuse_removed_worktree(opencode: OpenCodeClient, session: Session) -> None:
    """Refuse a prompt to a session whose worktree was removed.

    Raises:
        WorkflowError: how it was removed, and what to do.
    """
    if removal_note := await describe_removal(opencode, session, task_metadata(session)):
        raise WorkflowError(
            f"{removal_note}, so the prompt was not sent. Start a new task; read_transcript returns this conversation",
            session.id,
        )


def refuse_while_starting(context: Context, session_id: str, request_id: str | None) -> None:
    """Refuse a second prompt for a session whose first was not sent yet; the same request sends the same prompt.

    Raises:
        WorkflowError: the session's task is being started.
    """
    start = context.servers.pending_starts.get(session_id)
    if start is not None and not start.finished.is_set() and (request_id is None or start.request_id != request_id):
        raise WorkflowError(f"session {session_id} is still starting; wait_for_tasks waits for it", session_id)


def was_just_sent(newest: Message | None) -> bool:
    """Whether a session's newest message is a prompt that OpenCode may not have started on yet."""
    return (
        newest is not None
        and newest.info.role == "user"
        and abs(time.time() - newest.info.time.created / 1000) < PICKUP_SECONDS
    )


async def wait_until_visible(opencode: OpenCodeClient, session_id: str, previous: Message | None) -> None:
    """Wait until an accepted prompt is in the session; if it does not appear in time, the next wait reports that."""
    with anyio.move_on_after(PICKUP_SECONDS):
        while True:
            newest = await read_newest_messages(opencode, session_id, limit=1)
            if newest and (previous is None or newest[0].info.id != previous.info.id):
                return
            await anyio.sleep(0.05)


async def find_sent_prompt(opencode: OpenCodeClient, session_id: str, request_id: str) -> Message | None:
    """Return the prompt that was sent with a request id, or None."""
    for message in await read_newest_messages(opencode, session_id, limit=200):
        if message.info.id.endswith(request_suffix(request_id)):
            return message
    return None


def refuse_reused_request_id(arguments: StartTask, session_id: str, sent_message: Message) -> None:
    """Refuse a request id that is reused with another prompt.

    Raises:
        WorkflowError: the first prompt's text is not this one's; this one was not sent.
    """
    if sent_message.text != arguments.prompt:
        raise WorkflowError(
            f"request_id {arguments.request_id!r} was already used in session {session_id} with another prompt, so "
            "this prompt was not sent: give each prompt its own request_id. report_task reports on the first one",
            session_id,
        )


async def create_session(
    opencode: OpenCodeClient, directory: str | None, agent: str | None, task: TaskMetadata
) -> Session:
    """Create the task's session, with the task's metadata and its rules for `agent` in it."""
    rules = await session_rules(opencode, directory, agent, task)
    facts = {"metadata": with_task_metadata({}, task), **rules}
    created = dict[str, Any]()
    with anyio.CancelScope(shield=True):  # a session that is created after a cancellation would be lost
        created = await opencode.call("session_create", **facts, **directory_argument(directory))
    session = parse_model("the response of session_create", Session, created)
    await check_metadata_stored(opencode, session, task)
    return session


def choose_permissions(context: Context, arguments: StartTask) -> Permissions:
    """Return the task's policy; by default `ask` where the client can ask its user, else `report`."""
    return arguments.permissions or ("ask" if context.elicitor is not None else "report")
