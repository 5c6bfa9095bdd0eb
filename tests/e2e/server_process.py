"""A server as a process of its own, on a free port."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio

from tests.eventually import eventually
from tests.server.connections import free_port, is_accepting

ROOT = Path(__file__).parents[2]

SERVER_COMMAND = (str(Path(sys.executable).with_name("opencode-mcp")), "http", "--port")
FIXTURE_SERVER_COMMAND = (sys.executable, "-m", "tests.e2e.fixture_server")


@asynccontextmanager
async def run_server(
    command: tuple[str, ...], environ: Mapping[str, str], port: int | None = None
) -> AsyncGenerator[str]:
    """Run a command that takes a port and serves on it; return the address of its endpoint once it accepts."""
    port = port or free_port()
    async with await anyio.open_process(
        (*command, str(port)), env=environ, cwd=ROOT, stdout=None, stderr=None
    ) as process:
        try:
            await eventually(partial(is_accepting, port))
            assert process.returncode is None
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
