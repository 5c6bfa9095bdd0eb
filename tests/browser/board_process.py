"""`opencode-mcp board` as a person runs it: at a terminal."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opencode_mcp.settings import Settings
from tests.cli.command_process import Terminal, command_environ, run_in_terminal

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+/#[\w-]{20,})\s")
"""What the command prints: where the board is, with a token that opens it once."""


class BoardProcess:
    """A running board."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self._used = 0

    async def next_address(self) -> str:
        """Return an address that was not opened yet."""
        if self._used:
            await self.terminal.type("\n")
        self._used += 1
        return (await self.terminal.wait_for_matches(ADDRESS, self._used))[-1][1]


@contextmanager
def run_board(environ: Mapping[str, str], settings: Settings, *flags: str) -> Generator[BoardProcess]:
    """Run a board until the block ends."""
    with run_in_terminal(command_environ(environ, settings), "board", "--no-browser", *flags) as terminal:
        yield BoardProcess(terminal)
