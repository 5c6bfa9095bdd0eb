"""The log files of OpenCode and of the bridge, redacted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from opencode_mcp.opencode.process.data_folder import data_folder
from opencode_mcp.redaction import Position, Redactor
from opencode_mcp.settings import Settings

MAX_BYTES = 4 * 1024 * 1024
"""How much of the end of a file is read."""
POLL_SECONDS = 0.5


@dataclass
class LogFile:
    """A log file; `source` is who writes it. Each read goes on where the last one ended."""

    source: str
    path: Path
    _position: int = 0
    _incomplete: bytes = field(default=b"", repr=False)

    def read_last(self, count: int, redactor: Redactor) -> list[str]:
        """Return the last lines of the file.

        Raises:
            OSError: it cannot be read.
        """
        self._position = max(0, self.path.stat().st_size - MAX_BYTES)
        is_cut = self._position > 0
        # Half a line may have half a secret, which is not recognized.
        lines = self.read_new(redactor)[1 if is_cut else 0 :]
        return lines[-count:] if count else []

    def read_new(self, redactor: Redactor) -> list[str]:
        """Return the lines that were completed since the last read; of a file that was begun anew, all of them.

        Raises:
            OSError: it cannot be read.
        """
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._position:
                self._position, self._incomplete = 0, b""
            file.seek(self._position)
            data = file.read()
        self._position += len(data)
        text, newline, self._incomplete = (self._incomplete + data).rpartition(b"\n")
        return redact_lines(text.decode(errors="replace"), redactor) if newline else []


def redact_lines(text: str, redactor: Redactor) -> list[str]:
    """Return the lines of a log without secrets; one may be longer than a line.

    A line is also redacted as a command line is, because logs name settings as `name=value`.
    """
    redactor.refresh()
    return [
        redactor.redact_text(line.rstrip("\r"), Position.ARGUMENTS) for line in redactor.redact_text(text).split("\n")
    ]


def find_log_files(settings: Settings) -> tuple[list[LogFile], list[str]]:
    """Return the log files that there are, and why others are not there.

    Raises:
        OSError: one was removed meanwhile.
    """
    files: list[LogFile] = []
    problems: list[str] = []
    folder = data_folder(settings.child_environ) / "log"
    logs = sorted(folder.glob("*.log"), key=os.path.getmtime)
    if settings.urls:
        problems.append("opencode: the server at --url or --server has its log on its own machine")
    elif logs:
        files.append(LogFile("opencode", logs[-1]))
    else:
        problems.append(f"opencode: no log in {folder}")
    if settings.log_file is None:
        problems.append(
            "bridge: it logs to its stderr, which the client keeps; --log-file or OPENCODE_MCP_LOG_FILE names a file"
        )
    elif settings.log_file.is_file():
        files.append(LogFile("bridge", settings.log_file))
    else:
        problems.append(f"bridge: {settings.log_file} does not exist")
    return files, problems


def follow(files: list[LogFile], redactor: Redactor) -> Iterator[tuple[LogFile, str]]:
    """Yield each new line of any of the files, without end; one that is removed may come again."""
    while True:
        time.sleep(POLL_SECONDS)
        for file in files:
            with suppress(FileNotFoundError):
                yield from ((file, line) for line in file.read_new(redactor))
