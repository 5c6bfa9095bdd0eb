"""An OpenCode that tests share. It serves a bounded number of them: it grows and slows down with what it has done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup, TaskStatus

from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.install import Program
from opencode_mcp.opencode.process import managed_server

TESTS_PER_SERVER = 60


@dataclass
class Life:
    """One OpenCode, with a home and data of its own. `over` ends it."""

    endpoint: Endpoint
    users: int = 0
    served: int = 0
    over: anyio.Event = field(default_factory=anyio.Event)


class SharedServer:
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
        self._life: Life | None = None

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[Endpoint]:
        """Lend the server while the block lasts; one that is lent does not end."""
        life = self._life
        if life is None or life.served >= TESTS_PER_SERVER:
            if life is not None and not life.users:
                life.over.set()
            life = self._life = await self._tasks.start(self._live)
        life.served += 1
        life.users += 1
        try:
            yield life.endpoint
        finally:
            life.users -= 1
            if life is not self._life and not life.users:
                life.over.set()

    async def _live(self, *, task_status: TaskStatus[Life]) -> None:
        """Run one OpenCode until it is over."""
        environ = self._environ_in(self._folder("home"))
        async with managed_server(self._program.command, str(self._folder("served")), environ) as server:
            life = Life(await server.endpoint())
            task_status.started(life)
            await life.over.wait()
