"""Whether another OpenCode process may be running a session that this one does not run.

Several OpenCode processes may work on one data folder, and each knows only of its own work: it lists neither the
status nor the requests of the others' sessions. What all of them see is what was written, and when; and on Linux
which processes use the data (`opencode/processes.py`). From that:

- A turn writes when it begins. So only a process that was there at the session's last write can be running it; where
  the processes are known and there is none, nothing runs it.
- Where they are not known, a session that was written to not long ago may be running: a silent model and a tool at
  work write nothing for a while.
- A reply is begun at once. A prompt that has none a minute later is worked on by no process.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

import anyio
from anyio.to_thread import run_sync

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.background import gather
from opencode_mcp.opencode.models import Message
from opencode_mcp.opencode.processes import SharingProcess, find_sharing_processes

from .truth import Truth, judge, look, read_session

PROMPT_SECONDS = 60.0
"""How long a prompt, or a tool's result, may be without a reply to it; 1.3 s were seen."""

MODEL_SECONDS = 2_400.0
"""How long a reply may be silent: OpenCode waits 300 s for a model, six times, and writes nothing (1.18.33)."""

TOOL_SECONDS = 7_200.0
"""How long a tool call may be silent: its command runs, or it waits for permission."""

PROCESS_SECONDS = 86_400.0
"""How long any of them may be silent where a process is known that may be running it."""

CLOCK_SECONDS = 0.5
"""How exactly the start of a process is known; none serves so early."""

STAYS_SECONDS = 2.0
"""How long a session must look like another's: at the end of a turn OpenCode is idle before the reply is complete."""

NEWEST_MESSAGES = 10


async def elsewhere(opencode: OpenCodeClient, truth: Truth, before: Truth | None = None) -> str | None:
    """Say why another OpenCode process may be running a session with an unfinished turn; None when none can be.

    `before` is an earlier truth of the same session: what has grown since without this server is at work elsewhere.
    """
    if truth.busy or truth.newest is None or judge(truth).doubt is None:
        return None
    if before is not None and not before.busy and before.newest not in (None, truth.newest):
        return grown_note(there_at(truth.newest.written_at, await known_neighbours(opencode)))
    messages, *written = await gather(
        partial(newest_messages, opencode, truth.session.id),
        *(partial(last_written, opencode, id) for id in truth.family[1:]),
    )
    at = max(truth.session.time.updated or 0, *written, *(one.written_at for one in messages), truth.newest.written_at)
    known = await known_neighbours(opencode)
    silence = max(0.0, time.time() - at / 1000)
    if known is None:
        return unknown_note(silence) if silence <= allowed(messages) else None
    there = there_at(at, known)
    longest = PROMPT_SECONDS if open_reply(messages) is None else PROCESS_SECONDS
    return known_note(there, silence) if there and silence <= longest else None


async def known_neighbours(opencode: OpenCodeClient) -> tuple[SharingProcess, ...] | None:
    """Return the other processes that use the server's data; None where that cannot be known."""
    endpoint = opencode.server.current_endpoint()
    return None if endpoint is None else await run_sync(find_sharing_processes, endpoint)


def there_at(at: float, known: tuple[SharingProcess, ...] | None) -> list[SharingProcess]:
    """Return those of the processes that were there at a time (ms)."""
    return [process for process in known or () if process.started <= at / 1000 + CLOCK_SECONDS]


async def look_everywhere(opencode: OpenCodeClient, session_id: str) -> tuple[Truth, str | None]:
    """Read the truth, and why another process may be running the session if it looks so for some seconds."""
    truth = before = await look(opencode, session_id)
    began = anyio.current_time()
    while (note := await elsewhere(opencode, truth, before)) is not None:
        if anyio.current_time() - began >= STAYS_SECONDS:
            return truth, note
        await anyio.sleep(0.2)
        truth = await look(opencode, session_id)
    return truth, None


async def newest_messages(opencode: OpenCodeClient, session_id: str) -> list[Message]:
    """Return a session's newest messages, oldest first."""
    return await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=NEWEST_MESSAGES)


async def last_written(opencode: OpenCodeClient, session_id: str) -> float:
    """Return when a session was last written to (ms)."""
    session = await read_session(opencode, session_id)
    newest = await opencode.call_as(list[Message], "session_messages", sessionID=session_id, limit=1)
    return max(session.time.updated or session.time.created, *(one.written_at for one in newest), 0)


def open_reply(messages: list[Message]) -> Message | None:
    """Return the newest reply if it is incomplete: prompts may have come after it, which wait for its end."""
    replies = [one for one in messages if one.info.role == "assistant"]
    last = replies[-1] if replies else None
    return last if last and last.info.time.completed is None and last.info.error is None else None


def allowed(messages: list[Message]) -> float:
    """Return how long a turn may be silent, by what it does; no process is known."""
    reply = open_reply(messages)
    if reply is None:
        return PROMPT_SECONDS
    tools = [part.state.status for part in reply.parts if part.state is not None]
    return TOOL_SECONDS if {"pending", "running"} & {*tools} else MODEL_SECONDS


def grown_note(processes: list[SharingProcess]) -> str:
    """Say that another process runs a session, and which ones it can be as far as that is known."""
    who = f" ({named(processes)})" if processes else ""
    return (
        f"Another OpenCode process{who} is running this session: its messages change, and this "
        "OpenCode does not run it."
    )


def named(processes: list[SharingProcess]) -> str:
    """Name processes, not too many of them."""
    return "; ".join(map(str, processes[:3]))


def known_note(processes: list[SharingProcess], silence: float) -> str:
    """Name the processes that may be running a session."""
    return (
        "Another OpenCode process may be running this session or waiting for an answer there: this OpenCode does not "
        f"run it, and other processes use the same data ({named(processes)}). Last written {silence:.0f} s ago."
    )


def unknown_note(silence: float) -> str:
    """Say that a session may be running, and that no more is known."""
    return (
        "Another OpenCode process may be running this session or waiting for an answer there: this OpenCode "
        f"does not run it, and its turn is unfinished. Last written {silence:.0f} s ago; after a long silence "
        "it is reported as failed."
    )


def since(truth: Truth) -> str:
    """Say when the session itself was last written to."""
    written = truth.newest.written_at if truth.newest is not None else 0.0
    at = max(truth.session.time.updated or truth.session.time.created, written) / 1000
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return f"last written at {when}, {max(0.0, time.time() - at):.0f} s ago"
