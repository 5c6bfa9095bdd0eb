"""Start a task: check everything, then send its prompt.

check -> worktree -> session -> prompt_async
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any

import anyio
from pydantic import AfterValidator, BaseModel, Field

from opencode_mcp.exceptions import OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.arguments import directory_misreading
from opencode_mcp.opencode.models import Message, Session, parse_model

from .arguments import Arguments
from .attach import WEB_OR_DATA, file_parts
from .choices import check_choices, check_session_model
from .context import Context
from .elsewhere import look_everywhere
from .identity import prompt_id, same_request, suffix
from .kept import check_kept
from .metadata import Permissions, TaskMetadata, task_metadata, with_task_metadata
from .place import check_directory, located, removal, workplace
from .report import newest_messages
from .stop import abandon
from .truth import Truth, judge

SEEN_SECONDS = 10.0
"""How long a prompt may take from its acceptance until it is worked on; 1.3 s were seen."""
MAX_DEPTH = 2
MAX_PATH_CHARS = 4_096
"""The longest path that Linux takes."""

ALLOW_ALL = [{"permission": "*", "pattern": "*", "action": "allow"}]


def not_too_long(path: str) -> str:
    """Return a path or URL.

    Raises:
        ValueError: no file can have this path.
    """
    if len(path) > MAX_PATH_CHARS and not path.startswith(WEB_OR_DATA):
        raise ValueError(f"the path has {len(path)} characters; the maximum is {MAX_PATH_CHARS}")
    return path


Attachment = Annotated[str, AfterValidator(not_too_long)]


class StartTask(Arguments):
    """What a task is to do, and how."""

    prompt: str = Field(min_length=1)
    session_id: str | None = Field(None, pattern="^ses", description="Continue this session.")
    directory: str | None = Field(None, description="Project directory; default: this server's.")
    worktree: bool = Field(
        False,
        description=(
            "Work in a fresh checkout of the last commit, without the project's uncommitted changes; collect_changes "
            "with apply merges the result into the project."
        ),
    )
    include_uncommitted: bool = Field(False, description="Copy uncommitted and untracked files into the worktree.")
    model: str | None = Field(None, pattern="^[^/]+/.+", description="provider/model")
    agent: str | None = None
    variant: str | None = Field(None, description="The model's reasoning effort, such as high.")
    system: str | None = Field(None, description="Added to the system prompt.")
    files: list[Attachment] = Field(
        default_factory=list[str], description="Paths (`~`, lines as path:1-20) or URLs to attach."
    )
    permissions: Permissions | None = Field(
        None,
        description=(
            "What to do when a tool call needs permission: report it, ask the user, allow it, or reject it. Default: "
            "ask if the client supports elicitation, else report."
        ),
    )
    request_id: str | None = Field(
        None, min_length=1, max_length=200, description="Idempotency key: the same id never starts a second task."
    )


class Turn(BaseModel):
    """A prompt that was sent: `after` is the user's message before it, "" when there is none.

    It is None where the prompt may have been sent by another process. `note` is what the caller must know.
    """

    session_id: str
    after: str | None = None
    note: str | None = None


def unnamed(session: Session) -> None:
    """(docstring: "Ignore the session.")"""


async def start(context: Context, arguments: StartTask, name: Callable[[Session], None] = unnamed) -> Turn:
    """Check everything, then send the prompt; `name` is called with its session as soon as that is there.

    Raises:
        WorkflowError: nothing was sent: what is unknown, busy or missing.
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
        async with context.for_session(arguments.session_id) as there:
            return await go_on(there, arguments, arguments.session_id, name)
    directory = arguments.directory or opencode.directory
    if arguments.directory is not None:
        await check_directory(opencode, arguments.directory)
    if arguments.request_id is not None and (known := await same_request(opencode, directory, arguments.request_id)):
        return await go_on(context, arguments, known, name)
    choices = await check_choices(opencode, directory, arguments.model, arguments.agent, arguments.variant)
    async with workplace(opencode, directory, arguments.worktree, arguments.include_uncommitted) as place:
        attached = await file_parts(opencode, place.directory, arguments.files)
        facts = {"permissions": effective(context, arguments), "request_id": arguments.request_id}
        task = place.task.model_copy(update=facts)
        session = place.session = await create_session(opencode, place.directory, task)
        first = session.id
        if arguments.request_id is not None:  # of several that are sent at once, one has the task
            first = await same_request(opencode, directory, arguments.request_id) or session.id
        if first == session.id:
            name(session)
            await send_prompt(opencode, session, arguments, choices, None, attached)
            place.kept = True
            return Turn(session_id=session.id, after="", note=place.note)
    return await go_on(context, arguments, first, name)


def refuse_busy(truth: Truth, elsewhere: str | None) -> None:
    """Refuse a prompt to a session that works; `elsewhere` says that another OpenCode process runs it.

    Raises:
        WorkflowError: what to do instead.
    """
    session_id = truth.session.id
    if truth.busy or just_sent(truth.newest):
        raise WorkflowError(
            f"session {session_id} is busy ({judge(truth).state}); wait_for_tasks waits for it, stop_task stops it",
            session_id,
        )
    if elsewhere is not None:
        raise WorkflowError(
            f"session {session_id} cannot take a prompt now. {elsewhere} wait_for_tasks waits for its end; "
            "session_fork copies its messages so far to a new session",
            session_id,
        )


async def go_on(
    context: Context, arguments: StartTask, session_id: str, name: Callable[[Session], None] = unnamed
) -> Turn:
    """Send a prompt to a session that exists, unless it has this request already.

    Raises:
        WorkflowError: the session is busy, or its model does not exist.
    """
    opencode = context.opencode
    async with opencode.session_lock(session_id):  # of two at the same time OpenCode may lose one
        refuse_while_starting(context, session_id, arguments.request_id)
        truth, elsewhere = await look_everywhere(opencode, session_id)
        name(truth.session)
        after = truth.newest.user_message_id if truth.newest else ""
        if arguments.request_id is not None:
            sent = await sent_already(opencode, session_id, arguments.request_id)
            if sent is not None:
                refuse_another_prompt(arguments, session_id, sent)
                state = "running" if truth.busy or elsewhere else "done"
                return Turn(session_id=session_id, note=f"request {arguments.request_id} is already {state}")
        refuse_busy(truth, elsewhere)
        await refuse_removed(opencode, truth.session)
        directory = truth.session.directory
        if problem := directory_misreading(directory):
            raise WorkflowError(f"nothing was sent to session {session_id}: {problem}", session_id)
        own = truth.session.model
        choices = await check_choices(opencode, directory, arguments.model, arguments.agent, arguments.variant, own)
        if arguments.model is None:
            await check_session_model(opencode, directory, truth.session.model)
        attached = await file_parts(opencode, directory, arguments.files)
        if arguments.permissions is not None:
            await set_permissions(opencode, truth.session, arguments.permissions)
        await send_prompt(opencode, truth.session, arguments, choices, truth.newest, attached)
        try:
            with suppress(OpenCodeError):  # whoever waits for it finds out
                await until_seen(opencode, session_id, truth.newest)
        except anyio.get_cancelled_exc_class():
            await abandon(context, session_id, after)
            raise
        return Turn(session_id=session_id, after=after)


async def refuse_removed(opencode: OpenCodeClient, session: Session) -> None:
    """Refuse a prompt to a session whose worktree is not there any more.

    Raises:
        WorkflowError: how it went, and what to do.
    """
    if gone := await removal(opencode, session, task_metadata(session)):
        raise WorkflowError(
            f"{gone}, so the prompt was not sent. Start a new task; read_transcript returns this conversation",
            session.id,
        )


def refuse_while_starting(context: Context, session_id: str, request_id: str | None) -> None:
    """Refuse a second prompt for a session whose first was not sent yet; the same request sends the same prompt.

    Raises:
        WorkflowError: the session's task is being started.
    """
    start = context.servers.pending_starts.get(session_id)
    if start is not None and not start.over.is_set() and (request_id is None or start.request_id != request_id):
        raise WorkflowError(f"session {session_id} is still starting; wait_for_tasks waits for it", session_id)


def just_sent(newest: Message | None) -> bool:
    """Whether a session's newest message is a prompt that is yet to be worked on."""
    return (
        newest is not None
        and newest.info.role == "user"
        and abs(time.time() - newest.info.time.created / 1000) < SEEN_SECONDS
    )


async def until_seen(opencode: OpenCodeClient, session_id: str, before: Message | None) -> None:
    """Wait until a prompt that was accepted is there for others to see; one that does not come is found out later."""
    with anyio.move_on_after(SEEN_SECONDS):
        while True:
            newest = await newest_messages(opencode, session_id, limit=1)
            if newest and (before is None or newest[0].info.id != before.info.id):
                return
            await anyio.sleep(0.05)


async def sent_already(opencode: OpenCodeClient, session_id: str, request_id: str) -> Message | None:
    """Return the message of a request which the session has already, or None when it has it not."""
    for message in await newest_messages(opencode, session_id, limit=200):
        if message.info.id.endswith(suffix(request_id)):
            return message
    return None


def refuse_another_prompt(arguments: StartTask, session_id: str, sent: Message) -> None:
    """Refuse a request id that comes again with another prompt.

    Raises:
        WorkflowError: the first prompt's text is not this one's; this one was not sent.
    """
    if sent.text != arguments.prompt:
        raise WorkflowError(
            f"request_id {arguments.request_id!r} was already used in session {session_id} with another prompt, so "
            "this prompt was not sent: give each prompt its own request_id. report_task reports on the first one",
            session_id,
        )


async def create_session(opencode: OpenCodeClient, directory: str | None, task: TaskMetadata) -> Session:
    """Create the task's session, with its policy where every bridge finds it."""
    facts = {"metadata": with_task_metadata({}, task), **rules(task.permissions)}
    created = dict[str, Any]()
    with anyio.CancelScope(shield=True):  # as with a worktree
        created = await opencode.call("session_create", **facts, **located(directory))
    session = parse_model("the response of session_create", Session, created)
    await check_kept(opencode, session, task)
    return session


async def set_permissions(opencode: OpenCodeClient, session: Session, permissions: Permissions) -> None:
    """Change the policy of a session.

    Raises:
        WorkflowError: it was allowed everything. OpenCode only ever adds to a session's rules (1.18.33).
    """
    task = task_metadata(session)
    if task.permissions == "allow" and permissions != "allow":
        raise WorkflowError(
            f"session {session.id} allows everything, and OpenCode cannot revoke that: start "
            "a new session for the task",
            session.id,
        )
    task = task.model_copy(update={"permissions": permissions})
    metadata = with_task_metadata(session.metadata, task)
    await opencode.call("session_update", sessionID=session.id, metadata=metadata, **rules(permissions))


def rules(permissions: Permissions | None) -> dict[str, Any]:
    """Return a session's own rules. Subagents do not inherit them: their requests are answered by the wait."""
    return {"permission": ALLOW_ALL} if permissions == "allow" else {}


async def send_prompt(
    opencode: OpenCodeClient,
    session: Session,
    arguments: StartTask,
    choices: Mapping[str, Any],
    newest: Message | None,
    attached: list[dict[str, Any]],
) -> None:
    """Send the prompt after the newest message; with ids of our own only where repeating must be safe."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": arguments.prompt}, *attached]
    optional: dict[str, Any] = dict(choices)
    if arguments.system is not None:
        optional["system"] = arguments.system
    if arguments.request_id is not None:
        own = prompt_id(session, newest, arguments.request_id)
        optional["messageID"] = f"msg_{own}"
        parts[0]["id"] = f"prt_{own}"
    with anyio.CancelScope(shield=True):  # cut off on its way it may be taken, and nobody would know of it
        await opencode.call("session_prompt_async", sessionID=session.id, parts=parts, **optional)


def effective(context: Context, arguments: StartTask) -> Permissions:
    """Return the task's policy: to ask where somebody can be asked, unless it was given."""
    return arguments.permissions or ("ask" if context.asker is not None else "report")
