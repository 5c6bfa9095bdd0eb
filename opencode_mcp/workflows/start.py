"""Start a task: check everything, then send its prompt.

check -> worktree -> session -> prompt_async
"""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

import anyio
from pydantic import BaseModel, ConfigDict, Field

from opencode_mcp.exceptions import APIError, OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCode
from opencode_mcp.opencode.models import Message, Session

from .choices import check_choices, check_session_model
from .context import Context
from .identity import prompt_id, same_request, suffix
from .metadata import Permissions, TaskMetadata, task_metadata, with_task_metadata
from .report import newest_messages
from .truth import judge, look

CHECKOUT_SECONDS = 120.0
MAX_DEPTH = 2
ALLOW_ALL = [{"permission": "*", "pattern": "*", "action": "allow"}]


class StartTask(BaseModel):
    """What a task is to do, and how."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1)
    session_id: str | None = Field(None, pattern="^ses", description="Go on with this session.")
    directory: str | None = Field(None, description="Project directory; the default is this server's.")
    worktree: bool = Field(False, description="Work in a fresh git worktree; collect_changes brings the result over.")
    model: str | None = Field(None, pattern="^[^/]+/.+", description="provider/model")
    agent: str | None = None
    variant: str | None = Field(None, description="The model's reasoning effort, such as high.")
    system: str | None = Field(None, description="Added to the system prompt.")
    files: list[str] = Field(default_factory=list[str], description="Paths or URLs to attach.")
    permissions: Permissions | None = Field(
        None,
        description="What happens when a tool call needs leave: report it, ask the user, allow it, reject it. "
        "Default: ask where the client can, else report.",
    )
    request_id: str | None = Field(
        None, min_length=1, max_length=200, description="The same id never starts a second task: safe to repeat."
    )


class Turn(BaseModel):
    """A prompt that was sent: `after` is the user's message before it; `note` what the caller must know."""

    session_id: str
    after: str | None = None
    note: str | None = None


async def start(context: Context, arguments: StartTask) -> Turn:
    """Check everything, then send the prompt.

    Raises:
        WorkflowError: nothing was sent: what is unknown, busy or missing.
    """
    if context.depth >= MAX_DEPTH:
        raise WorkflowError(
            f"this OpenCode was itself started by a task, {context.depth} deep: it may not start another"
        )
    opencode = context.opencode
    if arguments.session_id is not None:
        async with context.at(arguments.session_id) as there:
            return await go_on(there, arguments, arguments.session_id)
    directory = arguments.directory or opencode.directory
    if arguments.directory is not None:
        await check_directory(opencode, arguments.directory)
    if arguments.request_id is not None and (known := await same_request(opencode, directory, arguments.request_id)):
        return await go_on(context, arguments, known)
    choices = await check_choices(opencode, directory, arguments.model, arguments.agent, arguments.variant)
    async with workplace(opencode, directory, arguments.worktree) as place:
        task = TaskMetadata(
            permissions=effective(context, arguments), request_id=arguments.request_id, worktree_of=place.project
        )
        session = place.session = await create_session(opencode, place.directory, task)
        first = session.id
        if arguments.request_id is not None:  # of several that are sent at once, one has the task
            first = await same_request(opencode, directory, arguments.request_id) or session.id
        if first == session.id:
            await send_prompt(opencode, session, arguments, choices, None)
            place.kept = True
            return Turn(session_id=session.id)
    return await go_on(context, arguments, first)


@dataclass
class Workplace:
    """Where a task is to work. `project` is set for a worktree; what is not `kept` is removed again."""

    directory: str | None
    project: str | None = None
    session: Session | None = None
    kept: bool = False


@asynccontextmanager
async def workplace(opencode: OpenCode, directory: str | None, worktree: bool) -> AsyncGenerator[Workplace]:
    """Provide a place for a task; where none was started, for whatever reason, nothing is left behind.

    Raises:
        WorkflowError: there can be no worktree.
    """
    place = Workplace(directory)
    try:
        if worktree:
            project: str = (await opencode.call("path_get", **located(directory)))["directory"]
            place.directory, place.project = await make_worktree(opencode, project), project
            await checked_out(opencode, place.directory)
        yield place
    finally:
        if not place.kept:
            with anyio.CancelScope(shield=True), suppress(OpenCodeError):
                if place.session is not None:
                    await opencode.call("session_delete", sessionID=place.session.id)
                if place.project is not None:
                    body = {"directory": place.directory}
                    await opencode.call("worktree_remove", directory=place.project, body=body)


async def go_on(context: Context, arguments: StartTask, session_id: str) -> Turn:
    """Send a prompt to a session that exists, unless it has this request already.

    Raises:
        WorkflowError: the session is busy, or its model does not exist.
    """
    opencode = context.opencode
    truth = await look(opencode, session_id)
    after = truth.newest.user_message_id if truth.newest else None
    if arguments.request_id is not None:
        sent = await sent_before(opencode, session_id, arguments.request_id)
        if sent is not None:
            state = "running" if truth.busy else "done"
            return Turn(session_id=session_id, after=sent, note=f"request {arguments.request_id} is already {state}")
    if truth.busy:
        raise WorkflowError(
            f"session {session_id} is busy ({judge(truth).state}); wait_for_tasks waits for it, stop_task stops it",
            session_id,
        )
    directory = truth.session.directory
    choices = await check_choices(opencode, directory, arguments.model, arguments.agent, arguments.variant)
    if arguments.model is None:
        await check_session_model(opencode, directory, truth.session.model)
    if arguments.permissions is not None:
        await set_permissions(opencode, truth.session, arguments.permissions)
    await send_prompt(opencode, truth.session, arguments, choices, truth.newest)
    return Turn(session_id=session_id, after=after)


async def sent_before(opencode: OpenCode, session_id: str, request_id: str) -> str | None:
    """Return the message before that of a request which the session has already, or None when it has it not."""
    before = ""
    for message in await newest_messages(opencode, session_id, limit=200):
        if message.info.id.endswith(suffix(request_id)):
            return before
        if message.info.role == "user":
            before = message.info.id
    return None


async def create_session(opencode: OpenCode, directory: str | None, task: TaskMetadata) -> Session:
    """Create the task's session, with its policy where every bridge finds it."""
    facts = {"metadata": with_task_metadata({}, task), **rules(task.permissions)}
    created = dict[str, Any]()
    with anyio.CancelScope(shield=True):  # as with a worktree
        created = await opencode.call("session_create", **facts, **located(directory))
    return Session.model_validate(created)


async def set_permissions(opencode: OpenCode, session: Session, permissions: Permissions) -> None:
    """Change the policy of a session.

    Raises:
        WorkflowError: it was allowed everything. OpenCode only ever adds to a session's rules (1.18.33).
    """
    task = task_metadata(session)
    if task.permissions == "allow" and permissions != "allow":
        raise WorkflowError(
            f"session {session.id} was allowed everything, and OpenCode cannot take that back: "
            "give the task to a new session",
            session.id,
        )
    task = task.model_copy(update={"permissions": permissions})
    metadata = with_task_metadata(session.metadata, task)
    await opencode.call("session_update", sessionID=session.id, metadata=metadata, **rules(permissions))


def rules(permissions: Permissions | None) -> dict[str, Any]:
    """Return a session's own rules. Subagents do not inherit them: what they ask is answered while waiting."""
    return {"permission": ALLOW_ALL} if permissions == "allow" else {}


def located(directory: str | None) -> dict[str, str]:
    """Return the argument that says where; None leaves the choice to OpenCode."""
    return {} if directory is None else {"directory": directory}


async def send_prompt(
    opencode: OpenCode,
    session: Session,
    arguments: StartTask,
    choices: Mapping[str, Any],
    newest: Message | None,
) -> None:
    """Send the prompt after the newest message; with ids of our own only where repeating must be safe."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": arguments.prompt}]
    parts += [file_part(path, session.directory) for path in arguments.files]
    optional: dict[str, Any] = dict(choices)
    if arguments.system is not None:
        optional["system"] = arguments.system
    if arguments.request_id is not None:
        own = prompt_id(session, newest, arguments.request_id)
        optional["messageID"] = f"msg_{own}"
        parts[0]["id"] = f"prt_{own}"
    with anyio.CancelScope(shield=True):  # cut off on its way it may be taken, and nobody would know of it
        await opencode.call("session_prompt_async", sessionID=session.id, parts=parts, **optional)


async def make_worktree(opencode: OpenCode, directory: str) -> str:
    """Create a git worktree. Cut off, it would be made all the same, and nobody would know where.

    Raises:
        WorkflowError: the directory is not in a git repository.
    """
    created = dict[str, str]()
    try:
        with anyio.CancelScope(shield=True):
            created = await opencode.call("worktree_create", directory=directory)
    except APIError as error:
        raise WorkflowError(f"no worktree could be made of {directory}: {error.message or error}") from error
    return created["directory"]


async def checked_out(opencode: OpenCode, worktree: str) -> None:
    """Wait until the files of a worktree are there: OpenCode answers before they are.

    Raises:
        WorkflowError: the checkout does not end.
    """
    with anyio.move_on_after(CHECKOUT_SECONDS):
        while any(one["status"] == "deleted" for one in await opencode.call("vcs_status", directory=worktree)):
            await anyio.sleep(0.1)
        return
    raise WorkflowError(f"the files of the worktree {worktree} are not there after {CHECKOUT_SECONDS:g} s")


async def check_directory(opencode: OpenCode, directory: str) -> None:
    """Refuse a directory that is not there: OpenCode would work in it all the same.

    Raises:
        WorkflowError: it is not a directory on OpenCode's machine.
    """
    try:
        await opencode.call("file_list", directory=directory, path=".")
    except APIError as error:
        raise WorkflowError(f"{directory} is no directory on OpenCode's machine") from error


def effective(context: Context, arguments: StartTask) -> Permissions:
    """Return the task's policy: to ask where somebody can be asked, unless it was given."""
    return arguments.permissions or ("ask" if context.asker is not None else "report")


def file_part(path: str, directory: str) -> dict[str, Any]:
    """Return the part that attaches a file; a relative path is the project's."""
    mime = mimetypes.guess_type(path)[0] or "text/plain"
    if path.startswith(("http://", "https://", "data:", "file://")):
        return {"type": "file", "mime": mime, "url": path, "filename": path.rpartition("/")[2][:100]}
    windows = PureWindowsPath(directory).drive != ""
    absolute = str((PureWindowsPath if windows else PurePosixPath)(directory) / path).replace("\\", "/")
    url = "file://" + ("/" if windows else "") + quote(absolute, safe="/:")
    return {"type": "file", "mime": mime, "url": url, "filename": absolute.rpartition("/")[2]}
