"""Runs a program under the supervisor: it and all its child processes stop with the block or with this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process

from . import supervisor

STOP_SECONDS = 20.0
"""The supervisor takes at most 2 s to dispose, or 10 s until a program has exited by itself, and 6 s to kill."""

OUTPUT_TAIL_BYTES = 4096
"""How much of the end of a program's output is kept."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CompletedProcess:
    """How a program ended: its exit status, and the end of its output."""

    status: int
    output: str


@asynccontextmanager
async def open_supervised_process(
    command: Sequence[str],
    environ: Mapping[str, str],
    directory: str,
    pass_fds: Sequence[int] = (),
    keeps_input: bool = False,
) -> AsyncGenerator[Process]:
    """Run a program under the supervisor; `pass_fds` stay open until all its processes have exited (POSIX).

    With `keeps_input` its standard input is open until then, and the program has some seconds to exit when it closes.
    """
    options = (supervisor.KEEP_INPUT,) if keeps_input else ()
    process = await anyio.open_process(
        (sys.executable, "-I", "-S", str(Path(supervisor.__file__)), *options, *command),
        env=environ,
        cwd=directory,
        stderr=None,
        start_new_session=True,
        pass_fds=pass_fds,
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await stop_supervisor(process)


async def stop_supervisor(process: Process) -> None:
    """Close the supervisor's input, and wait until it has stopped all its processes."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    with anyio.move_on_after(STOP_SECONDS) as limit:
        await process.wait()
    if limit.cancelled_caught:
        log.error("the supervisor (process %s) does not exit", process.pid)
        await process.stdout.aclose()
    else:
        await process.aclose()  # its pipe too, whose end asyncio may not have read yet


async def run_supervised_process(
    command: Sequence[str], environ: Mapping[str, str], directory: str, seconds: float, pass_fds: Sequence[int] = ()
) -> CompletedProcess | None:
    """Run a program until it exits; None if it takes longer than `seconds`, after stopping it."""
    output = b""
    with anyio.move_on_after(seconds):
        async with open_supervised_process(command, environ, directory, pass_fds) as process:
            assert process.stdout is not None
            async for chunk in process.stdout:
                output = (output + chunk)[-OUTPUT_TAIL_BYTES:]
            return CompletedProcess(await process.wait(), output.decode(errors="replace"))
    return None
