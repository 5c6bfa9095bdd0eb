"""Start a task: check everything, then send its prompt.

check -> worktree -> session -> setup -> prompt_async
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import anyio

from opencode_mcp.exceptions import OpenCodeError, SessionBusy, TransportError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Session

from .access import session_rules
from .agent_rules import refuse_denied_commands
from .attachments import file_parts
from .context import Context
from .follow_up import change_of, ignore_session, selection_of, send_follow_up, wait_until_visible
from .follower import follow
from .idempotency import find_request_session
from .json_answer import refuse_invalid_schema
from .metadata import (
    TaskMetadata,
    check_metadata_stored,
    with_task_metadata,
)
from .model_selection import check_model_selection
from .options import StartTask
from .permission_map import check_map
from .prompt import SentPrompt, make_rules, refuse_system_prompt, send_prompt
from .queued_prompts import queue_prompt
from .session_state import read_session
from .setup import set_up
from .stop import abandon
from .workspace import check_directory, prepare_workspace

MAX_DEPTH = 2


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
    await refuse_invalid_schema(arguments.output_schema)
    if arguments.include_uncommitted and (arguments.session_id is not None or not arguments.worktree):
        raise WorkflowError(
            "include_uncommitted needs a new task in a worktree: pass `worktree: true` and no session_id"
        )
    if arguments.setup and arguments.session_id is not None:
        raise WorkflowError("setup is for a new session, and this one exists: nothing was sent. Pass no session_id")
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
    selection = await check_options(opencode, directory, arguments)
    async with prepare_workspace(opencode, directory, arguments.worktree, arguments.include_uncommitted) as workspace:
        attachments = await file_parts(opencode, workspace.directory, arguments.files)
        change, facts = change_of(context, arguments), {"request_id": arguments.request_id}
        facts |= {"permissions": change.default, "rules": make_rules(context, arguments)}
        facts |= {"answer_group": arguments.answer_group, "has_setup": bool(arguments.setup) or None}
        task = change.apply(workspace.task.model_copy(update=facts), engine_of(opencode).traits)
        session = workspace.session = await create_session(opencode, workspace.directory, arguments.agent, task)
        winner_id = session.id
        if arguments.request_id is not None:  # of several concurrent calls with this id, one has the task
            winner_id = await find_request_session(opencode, directory, arguments.request_id) or session.id
        if winner_id == session.id:
            on_session(session)
            started = time.time()
            await set_up(context, session, arguments)
            with following_if_lost(context, arguments, session.id):
                await send_prompt(context, session, arguments, selection, None, attachments, started=started)
            follow_if_ruled(context, arguments, session.id)
            workspace.keep = True
            return SentPrompt(session_id=session.id, previous_prompt_id="", note=workspace.note, session=session)
    return await continue_session(context, arguments, winner_id, on_session)


async def check_options(opencode: OpenCodeClient, directory: str | None, arguments: StartTask) -> dict[str, Any]:
    """Check what a new task names, and return the `model`, `agent` and `variant` of its prompt.

    Raises:
        WorkflowError: one of them is unknown or not allowed, a rule denies a command, or a permission is unknown.
    """
    refuse_system_prompt(opencode, arguments)
    selection = await check_model_selection(opencode, directory, selection_of(arguments))
    commands = {"setup": arguments.setup, "check": arguments.check}
    await refuse_denied_commands(opencode, directory, arguments.agent, commands)
    await check_map(opencode, directory, arguments.permissions)
    return selection


async def continue_session(
    context: Context, arguments: StartTask, session_id: str, on_session: Callable[[Session], None] = ignore_session
) -> SentPrompt:
    """Send a prompt to a session that exists, unless it has this request already; `when_busy` may queue it.

    Raises:
        WorkflowError: the session is busy, or what `send_follow_up` and `queue_prompt` raise.
    """
    opencode = context.opencode
    if arguments.when_busy != "refuse":
        await wait_until_started(context, session_id)
    await join_start(context, session_id, arguments.request_id, on_session)
    async with opencode.session_lock(session_id):  # of two concurrent prompts OpenCode may lose one
        refuse_while_starting(context, session_id, arguments.request_id)
        try:
            with following_if_lost(context, arguments, session_id):
                prompt = await send_follow_up(context, arguments, session_id, on_session)
        except SessionBusy:
            if arguments.when_busy == "refuse":
                raise
            prompt = await queue_prompt(context, arguments, session_id)
            follow(context, session_id)
        if prompt.previous_prompt_id is not None:
            follow_if_ruled(context, arguments, session_id)
            try:
                with suppress(OpenCodeError):  # the wait that follows reports it
                    await wait_until_visible(opencode, session_id, prompt.previous_prompt_id)
            except anyio.get_cancelled_exc_class():
                await abandon(context, session_id, prompt.previous_prompt_id)
                raise
        return prompt


def follow_if_ruled(context: Context, arguments: StartTask, session_id: str) -> None:
    """Enforce the rules of a prompt that was sent, if it has any."""
    if make_rules(context, arguments) is not None:
        follow(context, session_id)


@contextmanager
def following_if_lost(context: Context, arguments: StartTask, session_id: str) -> Generator[None]:
    """Enforce the rules of the prompt that the block sends, if its response is lost: OpenCode may have accepted it."""
    try:
        yield
    except TransportError:
        follow_if_ruled(context, arguments, session_id)
        raise


async def wait_until_started(context: Context, session_id: str) -> None:
    """Wait until no call of this process is about to send a prompt to a session."""
    start = context.servers.pending_starts.get(session_id)
    if start is not None:
        await start.finished.wait()


async def join_start(
    context: Context, session_id: str, request_id: str | None, on_session: Callable[[Session], None]
) -> None:
    """Wait for the call of this process that is about to send the same request: its setup may take minutes.

    Raises:
        OpenCodeError: what that call raised.
    """
    start = context.servers.pending_starts.get(session_id)
    if request_id is None or start is None or start.request_id != request_id or start.finished.is_set():
        return
    on_session(await read_session(context.opencode, session_id))
    await start.finished.wait()
    if start.failure is not None:
        raise start.failure


def refuse_while_starting(context: Context, session_id: str, request_id: str | None) -> None:
    """Refuse a second prompt for a session whose first was not sent yet; the same request sends the same prompt.

    Raises:
        WorkflowError: the session's task is being started.
    """
    start = context.servers.pending_starts.get(session_id)
    if start is not None and not start.finished.is_set() and (request_id is None or start.request_id != request_id):
        raise WorkflowError(f"session {session_id} is still starting; wait_for_tasks waits for it", session_id)


async def create_session(
    opencode: OpenCodeClient, directory: str | None, agent: str | None, task: TaskMetadata
) -> Session:
    """Create the task's session, with the task's metadata and its rules for `agent` in it."""
    rules = await session_rules(opencode, directory, agent, task)
    metadata = with_task_metadata({}, task)
    session = await engine_of(opencode).create_session(directory, metadata=metadata, agent=agent, rules=rules)
    await check_metadata_stored(opencode, session, task)
    return session
