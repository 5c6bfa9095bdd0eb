"""Whether another OpenCode process may be running a session that this one does not run.

Several OpenCode processes may work on one data folder, and each knows only of its own work: it lists neither the
status nor the requests of the others' sessions. What all of them see is what was written, and when; and on Linux
which processes use the data (`opencode/process/other_processes.py`). From that:

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
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.models import Message
from opencode_mcp.opencode.process.other_processes import SharingProcess, find_sharing_processes

from .session_state import SessionSnapshot, classify, read_newest_messages, read_session, read_snapshot

PROMPT_SECONDS = 60.0
"""How long a prompt, or a tool's result, may be without a reply to it; 1.3 s were seen."""

MODEL_SECONDS = 2_400.0
"""How long a reply may be silent: OpenCode waits 300 s for a model, six times, and writes nothing (1.18.33)."""

TOOL_SECONDS = 7_200.0
"""How long a tool call may be silent: its command runs, or it waits for permission."""

PROCESS_SECONDS = 86_400.0
"""How long any of them may be silent where a process is known that may be running it."""

CLOCK_PRECISION_SECONDS = 0.5
"""How exactly the start of a process is known; no process serves requests that early."""

OTHER_PROCESS_SECONDS = 2.0
"""How long a session must seem to run elsewhere: at the end of a turn OpenCode is idle before the reply is complete."""

NEWEST_MESSAGES = 10


async def describe_other_process(
    opencode: OpenCodeClient, snapshot: SessionSnapshot, previous: SessionSnapshot | None = None
) -> str | None:
    """Say why another OpenCode process may be running a session with an unfinished turn; None when none can be.

    `previous` is an earlier snapshot of the same session: if it has new messages and this server is idle, another
    process runs it.
    """
    if snapshot.busy or snapshot.newest_message is None or classify(snapshot).stalled_reason is None:
        return None
    if previous is not None and not previous.busy and previous.newest_message not in (None, snapshot.newest_message):
        return grown_session_note(
            started_before(snapshot.newest_message.written_at, await read_sharing_processes(opencode))
        )
    messages, *writes = await gather(
        partial(read_newest_messages, opencode, snapshot.session.id, NEWEST_MESSAGES),
        *(partial(read_last_write, opencode, descendant_id) for descendant_id in snapshot.family[1:]),
    )
    last_write = max(
        snapshot.session.time.updated or 0,
        *writes,
        *(message.written_at for message in messages),
        snapshot.newest_message.written_at,
    )
    processes = await read_sharing_processes(opencode)
    silence = max(0.0, time.time() - last_write / 1000)
    if processes is None:
        return unknown_processes_note(silence) if silence <= max_silence(messages) else None
    candidates = started_before(last_write, processes)
    limit = PROMPT_SECONDS if find_open_reply(messages) is None else PROCESS_SECONDS
    return known_processes_note(candidates, silence) if candidates and silence <= limit else None


async def read_sharing_processes(opencode: OpenCodeClient) -> tuple[SharingProcess, ...] | None:
    """Return the other processes that use the server's data; None where that cannot be known."""
    endpoint = opencode.server.current_endpoint()
    return None if endpoint is None else await run_sync(find_sharing_processes, endpoint)


def started_before(time_ms: float, processes: tuple[SharingProcess, ...] | None) -> list[SharingProcess]:
    """Return those of the processes that were there at a time (ms)."""
    return [process for process in processes or () if process.started <= time_ms / 1000 + CLOCK_PRECISION_SECONDS]


async def read_snapshot_across_processes(
    opencode: OpenCodeClient, session_id: str
) -> tuple[SessionSnapshot, str | None]:
    """Read a session's state, and why another process may be running it, if that holds for OTHER_PROCESS_SECONDS."""
    snapshot = first = await read_snapshot(opencode, session_id)
    started = anyio.current_time()
    while (note := await describe_other_process(opencode, snapshot, first)) is not None:
        if anyio.current_time() - started >= OTHER_PROCESS_SECONDS:
            return snapshot, note
        await anyio.sleep(0.2)
        snapshot = await read_snapshot(opencode, session_id)
    return snapshot, None


async def read_last_write(opencode: OpenCodeClient, session_id: str) -> float:
    """Return when a session was last written to (ms)."""
    session = await read_session(opencode, session_id)
    newest = await read_newest_messages(opencode, session_id, 1)
    return max(session.time.updated or session.time.created, *(message.written_at for message in newest), 0)


def find_open_reply(messages: list[Message]) -> Message | None:
    """Return the newest reply if it is incomplete: prompts may have come after it, which wait for its end."""
    replies = [message for message in messages if message.info.role == "assistant"]
    last = replies[-1] if replies else None
    return last if last and last.info.time.completed is None and last.info.error is None else None


def max_silence(messages: list[Message]) -> float:
    """Return how long a turn may be silent, by what it does; no process is known."""
    reply = find_open_reply(messages)
    if reply is None:
        return PROMPT_SECONDS
    tools = [part.state.status for part in reply.parts if part.state is not None]
    return TOOL_SECONDS if {"pending", "running"} & {*tools} else MODEL_SECONDS


def grown_session_note(processes: list[SharingProcess]) -> str:
    """Say that another process runs a session, and which ones it can be as far as that is known."""
    suffix = f" ({format_processes(processes)})" if processes else ""
    return (
        f"Another OpenCode process{suffix} is running this session: its messages change, and this "
        "OpenCode does not run it."
    )


def format_processes(processes: list[SharingProcess]) -> str:
    """Name processes, not too many of them."""
    return "; ".join(map(str, processes[:3]))


def known_processes_note(processes: list[SharingProcess], silence: float) -> str:
    """Name the processes that may be running a session."""
    return (
        "Another OpenCode process may be running this session or waiting for an answer there: this OpenCode does not "
        f"run it, and other processes use the same data ({format_processes(processes)}). Last written {silence:.0f} "
        f"s ago."
    )


def unknown_processes_note(silence: float) -> str:
    """Say that a session may be running, and that no more is known."""
    return (
        "Another OpenCode process may be running this session or waiting for an answer there: this OpenCode "
        f"does not run it, and its turn is unfinished. Last written {silence:.0f} s ago; after a long silence "
        "it is reported as failed."
    )


def describe_last_write(snapshot: SessionSnapshot) -> str:
    """Say when the session itself was last written to."""
    written = snapshot.newest_message.written_at if snapshot.newest_message is not None else 0.0
    written_at = max(snapshot.session.time.updated or snapshot.session.time.created, written) / 1000
    timestamp = datetime.fromtimestamp(written_at, UTC).isoformat(timespec="seconds")
    return f"last written at {timestamp}, {max(0.0, time.time() - written_at):.0f} s ago"
