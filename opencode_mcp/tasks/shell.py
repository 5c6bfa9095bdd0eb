"""Run commands in OpenCode's shell, in a session of their own below a task's, which keeps their output."""

from __future__ import annotations

import anyio

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Message, Session, SessionStatus, parse_model

from .metadata import TaskMetadata, save_task_metadata, with_task_metadata
from .model_selection import DEFAULT_AGENT


async def create_shell_session(
    opencode: OpenCodeClient, session: Session, title: str, task: TaskMetadata | None = None
) -> Session:
    """Create a session below a task's, for commands in the task's directory."""
    facts = {"parentID": session.id, "title": title, "metadata": with_task_metadata({}, task or TaskMetadata())}
    created = await opencode.call("session_create", directory=session.directory, **facts)
    return parse_model("the response of session_create", Session, created)


async def run_script(
    opencode: OpenCodeClient, session: Session, shell_session: Session, script: str, seconds: float
) -> None:
    """Run a script for a task; one that takes longer is aborted, and the script's session stores why.

    Raises:
        OpenCodeError: OpenCode refuses, or does not answer; the script may have run.
    """
    operation = opencode.catalog["session_shell"]
    arguments = {"sessionID": shell_session.id, "agent": session.agent or DEFAULT_AGENT, "command": script}
    call = opencode.prepare(operation, arguments)
    with anyio.move_on_after(seconds) as limit:
        await opencode.request(operation, call.parts, read_seconds=None)
    if limit.cancelled_caught:
        reason = f"the {shell_session.title.lower()} took longer than {seconds:g} s"
        await save_task_metadata(opencode, shell_session.id, stopped=reason)
        await opencode.call("session_abort", sessionID=shell_session.id)


async def is_running(opencode: OpenCodeClient, shell_session: Session) -> bool:
    """Whether a session's script runs now."""
    location = {"directory": shell_session.directory}
    return shell_session.id in await opencode.call_as(dict[str, SessionStatus], "session_status", **location)


async def read_replies(opencode: OpenCodeClient, shell_session: Session) -> list[Message]:
    """Return the messages with a script's output; none before it runs."""
    messages = await opencode.call_as(list[Message], "session_messages", sessionID=shell_session.id)
    return [message for message in messages if message.info.role == "assistant" and message.parts]
