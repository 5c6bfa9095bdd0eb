"""A running `opencode serve`: this bridge's own, or the one that all bridges of the user share."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from anyio.abc import AnyByteReceiveStream, Process

from opencode_mcp.opencode.endpoint import OtherBridge

from .executable import Program
from .launch import LAUNCHES
from .registration import compute_key, describe_for_registration, make_shared_folder
from .shared_process import open_shared_process
from .supervised import open_supervised_process

log = logging.getLogger(__name__)


class OpenCodeProcess(Protocol):
    """A running `opencode serve`. Kill the process `pid` to stop it. `age_seconds` is the time since its start.

    `stop_reason` is why another bridge or the user has stopped it, "" if it exited by itself.
    """

    @property
    def pid(self) -> int: ...

    @property
    def password(self) -> str: ...

    @property
    def age_seconds(self) -> float: ...

    @property
    def stop_reason(self) -> str: ...

    @property
    def stdout(self) -> AnyByteReceiveStream: ...

    @property
    def others(self) -> Sequence[OtherBridge]: ...

    def publish(self, **facts: Any) -> None:
        """Publish facts about this bridge to the other bridges."""
        ...

    async def wait_until_published(self) -> None:
        """Wait until everything that was published has been sent, for a few seconds at most."""
        ...

    def share_of(self, slots: int) -> int:
        """Return how many of the slots for requests this bridge may use now."""
        ...

    def on_bridges_changed(self, callback: Callable[[], None]) -> None:
        """Call a function whenever another bridge has connected, disconnected or published something."""
        ...

    async def wait(self) -> int:
        """Wait until it has exited, and return its status."""
        ...

    def stop(self, *, reason: str) -> None:
        """Stop it, unless other bridges have active work in it; they report the reason."""
        ...


OpenProcess = Callable[[Program, Mapping[str, str], str], AbstractAsyncContextManager[OpenCodeProcess]]
"""Runs a program with an environment and a password for the block, or connects to one that runs."""


@dataclass(frozen=True)
class OwnProcess:
    """An `opencode serve` of this bridge alone, which ends with it."""

    process: Process
    password: str
    others: Sequence[OtherBridge] = ()
    age_seconds: float = 0.0
    stop_reason: str = ""

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self.process.pid

    @property
    def stdout(self) -> AnyByteReceiveStream:
        """OpenCode's output."""
        assert self.process.stdout is not None
        return self.process.stdout

    def publish(self, **facts: Any) -> None:
        """Do nothing: there are no other bridges."""

    async def wait_until_published(self) -> None:
        """Return immediately."""

    def share_of(self, slots: int) -> int:
        """Return all."""
        return slots

    def on_bridges_changed(self, callback: Callable[[], None]) -> None:
        """Do nothing: there are no other bridges."""

    async def wait(self) -> int:
        """Wait until it has exited, and return its status."""
        return await self.process.wait()

    def stop(self, *, reason: str) -> None:
        """Do nothing: it stops with the block."""


def run_own(directory: str) -> OpenProcess:
    """Return what runs an OpenCode of this bridge alone, in a directory."""

    @asynccontextmanager
    async def open_process(
        program: Program, environ: Mapping[str, str], password: str
    ) -> AsyncGenerator[OpenCodeProcess]:
        launch = LAUNCHES[program.generation]
        environment, command = launch.environment(program, environ, password), launch.command(program)
        async with open_supervised_process(command, environment, directory, keeps_input=launch.keeps_input) as process:
            log.info("OpenCode of this bridge alone: supervisor %s", process.pid)
            yield OwnProcess(process, password)

    return open_process


def run_by_generation(openers: Mapping[int, OpenProcess]) -> OpenProcess:
    """Return what runs a program as those of its generation are run."""

    def open_process(
        program: Program, environ: Mapping[str, str], password: str
    ) -> AbstractAsyncContextManager[OpenCodeProcess]:
        return openers[program.generation](program, environ, password)

    return open_process


def join_shared(directory: str, environ: Mapping[str, str], linger: float) -> OpenProcess:
    """Return what connects to the user's shared OpenCode, or starts it in a directory.

    `environ` decides which bridges share it. It runs for `linger` seconds after the last bridge.
    """

    @asynccontextmanager
    async def open_process(
        program: Program, start_environ: Mapping[str, str], password: str
    ) -> AsyncGenerator[OpenCodeProcess]:
        launch = LAUNCHES[program.generation]
        environment = launch.environment(program, start_environ, password)
        environment |= describe_for_registration(program, environ, password)
        folder, key = make_shared_folder(environ), compute_key(program, environ)
        async with open_shared_process(key, folder, launch.command(program), environment, directory) as process:
            process.publish(linger=linger, pid=os.getpid())
            log.info("shared OpenCode: supervisor %s, registered in %s", process.pid, folder / f"{key}.json")
            yield process

    return open_process
