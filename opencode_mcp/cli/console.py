"""A call at a terminal: elicitation of permissions and questions, and progress on stderr.

Progress is one live line on a terminal, with every finished step above it.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import anyio
import mcp_types as types
from anyio.from_thread import BlockingPortal
from mcp.client import ClientRequestContext
from rich.console import Console
from rich.text import Text

from .output import printable

LINE_BYTES = 65536
SPINNER_COLUMNS = 3
BOOLEANS = {"yes": True, "no": False}
IDLE_MESSAGE = "working"
"""The server's message while a call reports nothing."""


class Prompter:
    """Prompts for forms: one field after another, one form at a time. Ctrl-D cancels a form."""

    def __init__(self, progress: ProgressDisplay, portal: BlockingPortal) -> None:
        self._progress = progress
        self._reader = TerminalReader(portal)
        self._lock = anyio.Lock()

    async def ask(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Show a form, and return the typed answers (an `mcp` elicitation callback)."""
        if not isinstance(params, types.ElicitRequestFormParams):
            return types.ElicitResult(action="cancel")
        async with self._lock:
            with self._progress.pause():
                self._progress.print_line(printable(params.message), "bold yellow")
                try:
                    content = await self._fill_form(params.requested_schema)
                except anyio.get_cancelled_exc_class():
                    self._progress.print_line("\n(no longer asked)", "dim")
                    raise
        return types.ElicitResult(action="cancel" if content is None else "accept", content=content)

    async def _fill_form(self, schema: Mapping[str, Any]) -> dict[str, Any] | None:
        """Ask for every field; None at the end of input."""
        fields: Mapping[str, Mapping[str, Any]] = schema["properties"]
        content: dict[str, Any] = {}
        for name, field in fields.items():
            free_text_name = f"{name}_other"
            if is_answered(name, content, fields):
                continue
            while name not in content and free_text_name not in content:
                text = await self._ask_field(field)
                if text is None:
                    return None
                choice = read_value(field, text)
                if choice is not None:
                    content[name] = choice
                elif text and free_text_name in fields:
                    content[free_text_name] = text
                elif not text and name not in schema.get("required", ()):
                    break
        return content

    async def _ask_field(self, field: Mapping[str, Any]) -> str | None:
        """Show a field and its options; return the typed line."""
        options: list[str] = field.get("enum", [*BOOLEANS] if field.get("type") == "boolean" else [])
        lines = [field.get("title") or "", field.get("description") or ""]
        lines += [f"  {number}  {option}" for number, option in enumerate(options, 1)]
        self._progress.print_line(printable("\n".join(line for line in lines if line)))
        discard_typed_ahead()
        self._progress.print_line("> ", end="")
        return await self._reader.read_line()


def is_answered(name: str, content: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Whether a field needs no prompt: free text is typed in place of an option, and a granted permission needs no
    message."""
    if name.endswith("_other") and name.removesuffix("_other") in fields:
        return True
    return name == "message" and content.get("reply") in {"once", "always"}


def read_value(field: Mapping[str, Any], text: str) -> str | bool | int | float | None:
    """Return the value of a text in a field of its type; None if it is none."""
    match field.get("type"):
        case "boolean":
            return BOOLEANS.get(match_option([*BOOLEANS], text) or "")
        case "integer":
            return int(text) if re.fullmatch(r"[+-]?\d+", text) else None
        case "number":
            return float(text) if re.fullmatch(r"[+-]?\d+([.]\d+)?", text) else None
        case _:
            return match_option(field["enum"], text) if "enum" in field else text or None


def match_option(options: Sequence[str], text: str) -> str | None:
    """Return the option that a text selects by number, name or unique prefix; None if it selects none."""
    if text.isdecimal() and 0 < int(text) <= len(options):
        return options[int(text) - 1]
    exact = [option for option in options if option.casefold() == text.casefold()]
    prefixed = [option for option in options if text and option.casefold().startswith(text.casefold())]
    return (exact or prefixed)[0] if exact or len(prefixed) == 1 else None


def read_terminal() -> bytes:
    """Return the next line of the terminal, b"" at the end of input."""
    # Not sys.stdin: the thread that waits would hold its lock, and the interpreter could not exit.
    return os.read(sys.stdin.fileno(), LINE_BYTES)


class TerminalReader:
    """Reads lines from the terminal with `read`, in a daemon thread: a read cannot be cancelled."""

    def __init__(self, portal: BlockingPortal, read: Callable[[], bytes] = read_terminal) -> None:
        self._portal, self._read_terminal = portal, read
        self._send, self._receive = anyio.create_memory_object_stream[bytes](1)
        self._reading = False

    async def read_line(self) -> str | None:
        """Return the next line without its end, or None at the end of input."""
        if not self._reading:  # else the thread of a withdrawn question still reads
            self._reading = True
            threading.Thread(target=self._read, daemon=True).start()
        data = await self._receive.receive()
        return data.decode(errors="replace").strip() if data else None

    def _read(self) -> None:
        data = self._read_terminal()
        with suppress(RuntimeError):  # the call is over
            self._portal.call(self._deliver, data)

    async def _deliver(self, data: bytes) -> None:
        self._reading = False
        with suppress(anyio.WouldBlock):
            self._send.send_nowait(data)


def discard_typed_ahead() -> None:
    """Discard what was typed before the question was shown: it is not an answer to it."""
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            msvcrt.getwch()
    else:
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)


class ProgressDisplay:
    """Shows progress for the duration of the block. Without a terminal only finished steps are printed."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._status = self._console.status(Text("…"))
        self._started_at = time.monotonic()
        self._current = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._print_current()
        self._status.stop()

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Show a progress notification (an `mcp` progress callback)."""
        text = " ".join(printable(message or "").split())
        if text in {"", IDLE_MESSAGE, self._current}:
            return
        if step_key(text) != step_key(self._current):
            self._print_current()
        self._current = text
        line = Text(text)
        line.truncate(self._console.width - SPINNER_COLUMNS, overflow="ellipsis")
        self._status.update(line)

    def _print_current(self) -> None:
        """Print the finished step."""
        if self._current:
            self.print_line(f"{time.monotonic() - self._started_at:6.1f} s  {self._current}", "dim")
            self._current = ""

    def print_line(self, text: str, style: str = "", end: str = "\n") -> None:
        """Print a text above the live line."""
        self._console.print(text, style=style or None, end=end, soft_wrap=True)

    @contextmanager
    def pause(self) -> Generator[None]:
        """Hide the live line while the user types."""
        self._print_current()
        self._status.stop()
        try:
            yield
        finally:
            if self._console.is_terminal:
                self._status.start()


def step_key(message: str) -> str:
    """Return the subject of a message, without its numbers: messages with the same key are one step."""
    return re.sub(r"\d+", "", message.partition(": ")[0])
