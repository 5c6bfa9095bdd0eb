"""A Redis of the test's own: the distribution's server, on a loopback port, without persistence."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import pytest
from anyio.abc import Process

from tests.eventually import eventually
from tests.server.connections import free_port, is_accepting

PASSWORD = "the password of Redis"


@dataclass
class RedisServer:
    """A Redis that can go away and come back, without what it knew."""

    port: int
    process: Process | None = None

    @property
    def url(self) -> str:
        """Where it is, with its password."""
        return f"redis://:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start it."""
        program = shutil.which("redis-server")
        if program is None:
            pytest.fail("there is no redis-server on PATH: install the distribution's package redis-server")
        command = (program, "--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD)
        self.process = await anyio.open_process((*command, "--save", "", "--appendonly", "no"), stdout=None)
        await eventually(lambda: is_accepting(self.port))

    async def stop(self) -> None:
        """Kill it."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def run_redis_server() -> AsyncGenerator[RedisServer]:
    """Run a Redis."""
    server = RedisServer(free_port())
    await server.start()
    try:
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            await server.stop()
