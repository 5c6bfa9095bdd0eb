"""An OpenCode that tests share. It serves a bounded number of them: it grows and slows down with what it has done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup, TaskStatus

from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.managed import managed_server

TESTS_PER_SERVER = 60


@dataclass
class SharedOpenCode:
    """One OpenCode, with a home and data of its own. `ended` ends it."""

    endpoint: Endpoint
    users: int = 0
    served: int = 0
    ended: anyio.Event = field(default_factory=anyio.Event)


class SharedServerPool:
    """Lends an OpenCode, and starts a fresh one in a fresh home when one has served its share of tests.

    `folder` makes an empty folder, and `environ_in` the environment of an OpenCode whose home that is.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        program: Program,
        folder: Callable[[str], Path],
        environ_in: Callable[[Path], Mapping[str, str]],
    ) -> None:
        self._tasks = tasks
        self._program = program
        self._folder = folder
        self._environ_in = environ_in
        self._current: SharedOpenCode | None = None

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[Endpoint]:
        """Lend the server while the block lasts; one that is lent does not end."""
        server = self._current
        if server is None or server.served >= TESTS_PER_SERVER:
            if server is not None and not server.users:
                server.ended.set()
            server = self._current = await self._tasks.start(self._run)
        server.served += 1
        server.users += 1
        try:
            yield server.endpoint
        finally:
            server.users -= 1
            if server is not self._current and not server.users:
                server.ended.set()

    async def _run(self, *, task_status: TaskStatus[SharedOpenCode]) -> None:
        """Run one OpenCode until it is over."""
        environ = self._environ_in(self._folder("home"))
        async with managed_server(self._program.command, str(self._folder("served")), environ) as server:
            life = SharedOpenCode(await server.endpoint())
            task_status.started(life)
            await life.ended.wait()
