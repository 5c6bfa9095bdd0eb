"""Commands that a client runs in an OpenCode 2 session: they run beside its turns, and no model sees them."""

from __future__ import annotations

import secrets
import time
from typing import Any

import anyio
from pydantic import Field

from opencode_mcp.exceptions import APIError
from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.models import Model, parse_model

from .directories import location_argument
from .entries import Entry, ShellOutput
from .pages import read_data, read_pages
from .sessions import read_session

POLL_SECONDS = 0.2
START_SECONDS = 30.0
"""How long OpenCode may take to begin with a command."""

END_BYTES = 16_384
"""How much of the end of a long output is read."""

SEARCHED_COMMANDS = 20
"""How many of a session's newest commands may still run."""


class ShellInfo(Model):
    """A command that a directory's OpenCode runs, or has run; its `metadata` has the session that it runs for."""

    id: str
    status: str
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])


async def run_shell(opencode: OpenCodeClient, session_id: str, command: str) -> None:
    """Run a command in a session's directory until it has ended, or OpenCode no longer knows it.

    OpenCode answers before the command has ended.
    """
    directory = (await read_session(opencode, session_id)).directory
    operation = opencode.catalog["session_shell"]
    message_id = make_message_id()
    call = opencode.prepare(operation, {"sessionID": session_id, "id": message_id, "command": command})
    await opencode.request(operation, call.parts, read_seconds=None)
    with anyio.move_on_after(START_SECONDS):
        while await find_command(opencode, session_id, message_id) is None:
            await anyio.sleep(POLL_SECONDS)
    while await is_running(opencode, session_id, message_id, directory):
        await anyio.sleep(POLL_SECONDS)


async def is_running(opencode: OpenCodeClient, session_id: str, message_id: str, directory: str) -> bool:
    """Whether a command runs: after OpenCode has exited, the message of a command says so for good."""
    entry = await find_command(opencode, session_id, message_id)
    return entry is not None and entry.status == "running" and await is_known(opencode, entry.shell_id, directory)


async def find_command(opencode: OpenCodeClient, session_id: str, message_id: str) -> Entry | None:
    """Return the message of a command, None while there is none."""
    try:
        return await read_data(opencode, Entry, "session_message_get", sessionID=session_id, messageID=message_id)
    except APIError as error:
        if error.status != 404:
            raise
        return None


async def is_known(opencode: OpenCodeClient, shell_id: str, directory: str) -> bool:
    """Whether OpenCode still has a command."""
    try:
        await opencode.call("shell_get", id=shell_id, **location_argument(directory))
    except APIError as error:
        if error.status != 404:
            raise
        return False
    return True


async def end_commands(opencode: OpenCodeClient, session_id: str) -> None:
    """End the commands of a session that still run."""
    found = await read_pages(opencode, "session_message_list", SEARCHED_COMMANDS, sessionID=session_id, type="shell")
    entries = parse_model("the response of session_message_list", list[Entry], found)
    running = [entry.shell_id for entry in entries if entry.status == "running"]
    directory = (await read_session(opencode, session_id)).directory if running else ""
    for shell_id in running:
        await opencode.call("shell_remove", id=shell_id, **location_argument(directory))


async def with_end_of_output(opencode: OpenCodeClient, session_id: str, entry: Entry) -> Entry:
    """Return a command with the end of its output too, as long as OpenCode has that: its message has the beginning."""
    if not entry.output.truncated:
        return entry
    directory = (await read_session(opencode, session_id)).directory
    query = {"cursor": max(0, entry.output.size - END_BYTES), "limit": END_BYTES}
    try:
        end = await read_data(
            opencode, ShellOutput, "shell_output", id=entry.shell_id, **location_argument(directory), **query
        )
    except APIError as error:
        if error.status != 404:
            raise
        return entry
    output = f"{entry.output.output}\n…\n{end.output}"
    return entry.model_copy(update={"output": entry.output.model_copy(update={"output": output})})


async def list_sessions_with_commands(opencode: OpenCodeClient, directory: str | None) -> list[str]:
    """Return the sessions for which a command runs in a directory; those of tools are among them."""
    try:
        shells = await read_data(opencode, list[ShellInfo], "shell_list", **location_argument(directory))
    except APIError as error:
        if error.status != 404:
            raise
        return []  # the directory was removed
    return [
        shell.metadata["sessionID"] for shell in shells if shell.status == "running" and "sessionID" in shell.metadata
    ]


def make_message_id() -> str:
    """Return an id for a message, in OpenCode's form: it sorts after those that were made before."""
    return f"msg_{int(time.time() * 1000) * 0x1000 & 0xFFFF_FFFF_FFFF:012x}{secrets.token_hex(7)}"
