"""Show every task in a browser: approve, review, bring over.

The board listens on 127.0.0.1 and ends with its terminal. The printed address works once; Enter prints another one.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Self

import anyio
from anyio.from_thread import BlockingPortal

from opencode_mcp.cli.browser import has_browser, open_in_browser, redirect_file
from opencode_mcp.cli.console import TerminalReader, read_terminal
from opencode_mcp.cli.document_option import load_catalog
from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.connect import expected_generation
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.opencode.concurrency import background_task, background_task_group
from opencode_mcp.server import create_server
from opencode_mcp.server.bridge_server import BridgeServer
from opencode_mcp.server.http.app import extend_lifespan
from opencode_mcp.server.http.board import HOST, BoardTokens, board_settings, create_board_app
from opencode_mcp.server.http.serve import serve_http
from opencode_mcp.settings import Settings

MAX_PORT = 65_535
BACKGROUND_SECONDS = 1.0
"""How often a board in the background checks whether it still is, and whether its terminal is still there."""
HELP = "opencode-mcp: this address opens the board once"
TERMINAL_HELP = "opencode-mcp: Enter prints another address, Ctrl-C ends the board"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add where to listen, and whether to open a browser."""
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Serve the board until its terminal or a signal ends it.

    Raises:
        SettingsError: the port cannot be listened on.
    """
    tokens = BoardTokens()
    settings = board_settings(settings, tokens.bearer)
    set_up_logging(settings)
    server = create_server(settings, load_catalog(settings, expected_generation(settings)))
    with listen(options.port) as listener, EndSignals() as signals:
        console = BoardConsole(settings, tokens, listener.getsockname()[1], not options.no_browser, signals)
        anyio.run(console.serve, server, listener)
    return 0


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of 127.0.0.1, a free one for 0.

    Raises:
        SettingsError: it cannot be listened on.
    """
    if not 0 <= port <= MAX_PORT:
        raise SettingsError(f"--port takes a number from 0 to {MAX_PORT}")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise SettingsError(f"--port {port} cannot be listened on: {error.strerror}") from error


class EndSignals:
    """Handles the signals that end the board, for the duration of the block: each ends it in order.

    uvicorn handles SIGINT and SIGTERM while it serves, and raises them again when it has ended. That would kill this
    process before it has returned its exit code, so they come here.
    """

    def __init__(self) -> None:
        self.received = False
        """Whether a signal has come before uvicorn handled them."""
        self._restore = ExitStack()

    def __enter__(self) -> Self:
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # the last one is Windows' Ctrl-Break
            self._handle(name, self._note)
        # `nohup` lets a command outlive its terminal.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._handle("SIGHUP", end_board)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def _handle(self, name: str, handler: Callable[..., None]) -> None:
        if (number := getattr(signal, name, None)) is not None:
            self._restore.callback(signal.signal, number, signal.signal(number, handler))

    def _note(self, *_: object) -> None:
        self.received = True


def end_board(*_: object) -> None:
    """End the board as SIGTERM does. (A handler of signals, too.)"""
    signal.raise_signal(signal.SIGTERM)


class BoardConsole:
    """Serves the board, and what its terminal has to do with it: the printed addresses, Enter, and the end."""

    def __init__(
        self, settings: Settings, tokens: BoardTokens, port: int, opens_browser: bool, signals: EndSignals
    ) -> None:
        self._settings, self._tokens, self._port, self._signals = settings, tokens, port, signals
        self._opens_browser = opens_browser and has_browser(settings.environ)

    async def serve(self, server: BridgeServer, listener: socket.socket) -> None:
        """Serve until a signal, or the end of the terminal."""
        application = create_board_app(server, self._settings, self._port, self._tokens)
        router = application.router
        router.lifespan_context = extend_lifespan(router.lifespan_context, partial(background_task, self._run))
        await serve_http(server, application, HOST, self._port, listener)

    async def _run(self) -> None:
        """Print an address, open it, and print another one for each Enter."""
        if self._signals.received:
            end_board()
        async with BlockingPortal() as portal, background_task_group() as tasks:
            address = self._print_address()
            if self._opens_browser:
                tasks.start_soon(self._open, address)
            if not is_terminal():
                await anyio.sleep_forever()
            print(TERMINAL_HELP, file=sys.stderr, flush=True)  # noqa: T201 - for the user, not the log
            await self._read_terminal(TerminalReader(portal, read_foreground))
            end_board()
            await anyio.sleep_forever()

    async def _read_terminal(self, reader: TerminalReader) -> None:
        """Print another address for each line, until the terminal ends."""
        while True:
            if await reader.read_line() is not None:
                self._print_address()
            elif not is_in_background():
                return
            while is_in_background():
                await anyio.sleep(BACKGROUND_SECONDS)

    def _print_address(self) -> str:
        """Print and return a new address; the one before it is void."""
        # Browsers send neither a log nor another page what follows the #.
        address = f"http://{HOST}:{self._port}/#{self._tokens.renew()}"
        print(HELP, file=sys.stderr, flush=True)  # noqa: T201 - as above
        print(address, flush=True)  # noqa: T201 - what the command is for
        return address

    async def _open(self, address: str) -> None:
        """Open an address in the browser; the file that leads to it stays until it is used or void."""
        void = self._tokens.void
        with redirect_file(address) as path:
            await open_in_browser(path, self._settings.environ)
            await void.wait()


def is_terminal() -> bool:
    """Whether there is a terminal to read from."""
    return sys.stdin is not None and sys.stdin.isatty()  # pyright: ignore[reportUnnecessaryComparison] - without a console


def is_in_background() -> bool:
    """Whether the shell has put this command into the background of its terminal."""
    if sys.platform == "win32":
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()
    except OSError:  # the terminal has gone
        return False


def read_foreground() -> bytes:
    """Return the next line of the terminal; b"" at its end, and in the background, where only one command may read."""
    if sys.platform != "win32":  # else the kernel would stop this process; only this thread has the mask
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN})
    try:
        return read_terminal()
    except OSError:
        return b""
