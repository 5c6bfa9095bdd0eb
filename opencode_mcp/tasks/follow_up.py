"""Send the next prompt to a session that exists, after checking that it can take one.

the session is idle -> model, agent, attachments, access -> prompt_async
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anyio

from opencode_mcp.exceptions import SessionBusy, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import DEFAULT_AGENT
from opencode_mcp.opencode.models import Message, Session
from opencode_mcp.opencode.prepare import directory_misreading

from .access import Change, change_access
from .agent_rules import refuse_denied_commands
from .attachments import file_parts
from .context import Context
from .external_activity import read_snapshot_across_processes
from .idempotency import request_suffix
from .metadata import EndedTurn, QueuedPrompt, add_ended_turn, task_metadata
from .model_selection import Selection, continue_selection
from .options import StartTask
from .permission_map import check_map
from .prompt import SentPrompt, refuse_system_prompt, send_prompt
from .rules import apply_rules, has_work_left, rules_of
from .session_state import PICKUP_SECONDS, SessionSnapshot, TaskStatus, classify, read_newest_messages
from .turn import read_family_usage
from .workspace import describe_removal

INTERRUPTED = "interrupted by the next prompt"


def ignore_session(session: Session) -> None:
    """Do nothing: the default of `on_session`."""


async def send_follow_up(
    context: Context,
    arguments: StartTask,
    session_id: str,
    on_session: Callable[[Session], None] = ignore_session,
    queued: QueuedPrompt | None = None,
) -> SentPrompt:
    """Send a prompt to a session, unless it has this request already; the caller holds the session's lock.

    With `queued` the prompt is the first of those that are queued.

    Raises:
        SessionBusy: the session works, also in another OpenCode process, or another prompt comes first.
        WorkflowError: a model, agent, file or worktree does not exist.
    """
    opencode = context.opencode
    snapshot, other_process_note = await read_snapshot_across_processes(opencode, session_id)
    on_session(snapshot.session)
    previous_prompt_id = snapshot.newest_message.user_message_id if snapshot.newest_message else ""
    if arguments.request_id is not None:
        sent_message = await find_sent_prompt(opencode, session_id, arguments.request_id)
        if sent_message is not None:
            refuse_reused_request_id(arguments, session_id, sent_message)
            state = "running" if snapshot.busy or other_process_note else "done"
            return SentPrompt(session_id=session_id, note=f"request {arguments.request_id} is already {state}")
    refuse_without_setup(snapshot)
    refuse_busy(snapshot, other_process_note)
    if await has_work_left(opencode, snapshot):
        raise SessionBusy(
            f"session {session_id} has a check to run, or a correction to make; wait_for_tasks waits for it, stop_task "
            "stops it",
            session_id,
        )
    if snapshot.queued and queued is None:
        raise SessionBusy(
            f"session {session_id} has {len(snapshot.queued)} queued prompts; wait_for_tasks waits for them, stop_task "
            "drops them",
            session_id,
        )
    selection, attachments = await check_follow_up(opencode, snapshot.session, arguments)
    if queued is not None or rules_of(snapshot) is not None:  # the prompt may replace the rules
        await save_ended_turn(opencode, snapshot, is_interrupted=queued is not None and queued.interrupts)
    changes_agent = arguments.agent is not None and task_metadata(snapshot.session).access is not None
    if arguments.permissions is not None or arguments.access is not None or changes_agent:
        await change_access(opencode, snapshot.session, selection.get("agent"), change_of(context, arguments))
    used = await read_family_usage(opencode, snapshot)
    await send_prompt(context, snapshot.session, arguments, selection, snapshot.newest_message, attachments, used)
    note = None if arguments.agent is not None else describe_kept_agent(selection.get("agent"), DEFAULT_AGENT)
    return SentPrompt(session_id=session_id, previous_prompt_id=previous_prompt_id, note=note)


async def check_follow_up(
    opencode: OpenCodeClient, session: Session, arguments: StartTask
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the model, agent and variant of a session's next prompt, and its attachments.

    Raises:
        WorkflowError: one does not exist, the agent may not run the check, or the session's worktree was removed.
    """
    await refuse_removed_worktree(opencode, session)
    if problem := directory_misreading(session.directory):
        raise WorkflowError(f"nothing was sent to session {session.id}: {problem}", session.id)
    refuse_system_prompt(opencode, arguments)
    selection = await continue_selection(opencode, session, selection_of(arguments))
    await refuse_denied_commands(opencode, session.directory, selection.get("agent"), {"check": arguments.check})
    await check_map(opencode, session.directory, arguments.permissions)
    return selection, await file_parts(opencode, session.directory, arguments.files)


async def save_ended_turn(opencode: OpenCodeClient, snapshot: SessionSnapshot, is_interrupted: bool) -> None:
    """Store in a session how its newest turn has ended, before another prompt follows it."""
    newest, rules = snapshot.newest_message, rules_of(snapshot)
    if newest is None:
        return
    status = await apply_rules(opencode, snapshot, classify(snapshot))
    if status.stalled_reason is not None:
        status = TaskStatus("failed", error=status.stalled_reason)
    if is_interrupted and status.state in {"failed", "stopped"}:
        status = TaskStatus("stopped", error=INTERRUPTED, check=status.check)
    prompt_ids = (newest.user_message_id, snapshot.prompt_id, *([] if rules is None else [rules.prompt_id]))
    await add_ended_turn(
        opencode,
        snapshot.session.id,
        EndedTurn(
            prompt_ids=prompt_ids,
            message_id=newest.info.id,
            state=status.state,
            error=status.error,
            check=status.check,
            has_json=status.structured is not None,
            ended=time.time() * 1000,
        ),
    )


def refuse_busy(snapshot: SessionSnapshot, elsewhere: str | None) -> None:
    """Refuse a prompt to a session that works; `elsewhere` says that another OpenCode process runs it.

    Raises:
        SessionBusy: it says what to do instead.
    """
    session_id = snapshot.session.id
    if snapshot.busy or was_just_sent(snapshot.newest_message):
        raise SessionBusy(
            f"session {session_id} is busy ({classify(snapshot).state}); wait_for_tasks waits for it, stop_task "
            f"stops it, `when_busy` queues the prompt",
            session_id,
        )
    if elsewhere is not None:
        raise SessionBusy(
            f"session {session_id} cannot take a prompt now. {elsewhere} wait_for_tasks waits for its end; "
            "session_fork copies its messages so far to a new session",
            session_id,
        )


def selection_of(arguments: StartTask) -> Selection:
    """Return the model, agent and variant that a prompt names."""
    return Selection(arguments.model, arguments.agent, arguments.variant)


def change_of(context: Context, arguments: StartTask) -> Change:
    """Return what a prompt changes about its session; the default policy asks the user where the client can."""
    return Change(arguments.access, arguments.permissions, "ask" if context.elicitor is not None else "report")


def describe_kept_agent(agent: str | None, default: str) -> str | None:
    """Say which agent a follow-up goes on with; None if it is the usual one."""
    return None if agent in {None, default} else f"agent {agent}, as in the session's last prompt"


def refuse_without_setup(snapshot: SessionSnapshot) -> None:
    """Refuse a prompt to a session whose first prompt waits for its setup, in this bridge or another.

    Raises:
        WorkflowError: what to do.
    """
    session = snapshot.session
    if snapshot.newest_message is None and task_metadata(session).has_setup:
        raise WorkflowError(
            f"the setup of session {session.id} has not ended, so its first prompt was not sent. If it does not "
            "run any more, the bridge that ran it has ended: start a new task, with another request_id if it had one",
            session.id,
        )


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


def was_just_sent(newest: Message | None) -> bool:
    """Whether a session's newest message is a prompt that OpenCode may not have started on yet."""
    return (
        newest is not None
        and newest.info.role == "user"
        and abs(time.time() - newest.info.time.created / 1000) < PICKUP_SECONDS
    )


async def wait_until_visible(opencode: OpenCodeClient, session_id: str, previous_prompt_id: str) -> bool:
    """Wait until an accepted prompt is in the session; False if it does not appear in time."""
    with anyio.move_on_after(PICKUP_SECONDS):
        while True:
            newest = await read_newest_messages(opencode, session_id, limit=1)
            if newest and newest[0].user_message_id != previous_prompt_id:
                return True
            await anyio.sleep(0.05)
    return False


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
