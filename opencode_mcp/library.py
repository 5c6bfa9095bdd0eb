"""`from opencode_mcp import OpenCode`: every operation and every task tool, as a Python program calls them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import anyio

from .catalog import Catalog, Operation
from .catalog.generations import DEFAULT_GENERATION
from .connect import connect
from .exceptions import InvalidArguments
from .opencode import Answer, ServerPool, execute_operation
from .opencode.concurrency import background_task_group
from .opencode.endpoint import ignore_progress
from .opencode.event_readers import NATIVE_READERS
from .opencode.events import SUBSCRIBE_LAG_SECONDS, EventFeed
from .opencode.pages import iterate_pages
from .operations import ClientOperations, GenerationT, build_tree
from .settings import Settings
from .suggestions import suggest
from .tasks import Context, execute_blocking, task_tools_for
from .tasks.arguments import validate_arguments

if TYPE_CHECKING:  # only the stubs have the types of events
    from . import operations, operations2

__all__ = ["Answer", "OpenCode"]

CLIENT_NAME = "a Python program"
"""The name of a program in lists of assistants."""


class OpenCode(ClientOperations[GenerationT]):
    """An OpenCode server. An async context manager; safe for concurrent use within its block.

    With `url` it is a client of that server. Without, OpenCode is started in `directory` at the first call, and stopped
    at the end of the block; with `share` it is the one that this user's assistants share, which keeps running for them.
    `generation` is the major version of OpenCode, whose operations these are: 1 unless it is given. In an annotation,
    `OpenCode` is that of OpenCode 1, and `OpenCode[Literal[2]]` that of OpenCode 2.
    `directory` is the default project of every operation that takes one. Missing values come from the environment
    variables of the MCP server; `environ` replaces the whole environment, including that of a started OpenCode.

    Raises:
        SettingsError: a value is not valid.
    """

    @overload
    def __init__(
        self: OpenCode[Literal[1]],
        *,
        url: str | None = None,
        username: str | None = None,
        password: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        command: str | None = None,
        share: bool = False,
        generation: Literal[1] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: OpenCode[Literal[2]],
        *,
        url: str | None = None,
        username: str | None = None,
        password: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        command: str | None = None,
        share: bool = False,
        generation: Literal[2],
        environ: Mapping[str, str] | None = None,
    ) -> None: ...

    def __init__(
        self,
        *,
        url: str | None = None,
        username: str | None = None,
        password: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        command: str | None = None,
        share: bool = False,
        generation: Literal[1, 2] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        options = {"url": url, "username": username, "password": password, "command": command}
        options["generation"] = None if generation is None else str(generation)
        options |= {"directory": None if directory is None else os.fspath(directory), "no_share": str(not share)}
        settings = Settings.load(options, environ)
        number = settings.fixed_generation or DEFAULT_GENERATION
        self._settings = replace(settings, generation=str(number))
        self._catalog = Catalog.from_snapshot(number).for_servers(tuple(self._settings.urls))
        self._task_tools = task_tools_for(self._catalog.servers, generation=number)
        self._stack: AsyncExitStack | None = None
        self._servers: ServerPool | None = None
        super().__init__(self.call, self.pages, build_tree(self._catalog))

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise RuntimeError("this OpenCode is already open")
        async with AsyncExitStack() as stack:
            self._servers = await stack.enter_async_context(connect(self._settings, self._catalog))
            default = self._servers.default
            default.server.publish(client=CLIENT_NAME, directory=default.directory or "")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        stack, self._stack, self._servers = self._stack, None, None
        assert stack is not None
        return await stack.__aexit__(kind, error, trace)

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Call an operation or a task tool such as `run_task` by its tool name; return the result.

        A prompt lasts until the model is done, and cancelling it aborts the session's work. Event streams and terminals
        return what they received within `timeout_seconds`.

        Raises:
            InvalidArguments, ServerStartError, TransportError, APIError, UnexpectedResponse
            WorkflowError: a task cannot continue, or a prompt waits for an answer.
        """
        if name in self._task_tools:
            tool = self._task_tools[name]
            report = await tool.execute(self._context(), validate_arguments(name, tool.arguments, arguments))
            return report.model_dump(mode="json")
        return (await self.answer(name, **arguments)).value

    async def answer(self, name: str, /, **arguments: Any) -> Answer:
        """Call an operation; return its value and metadata, such as `fields["next_cursor"]`.

        Raises:
            What `call` raises.
        """
        operation, context = self._operation(name), self._context()
        call = context.servers.default.prepare(operation, arguments)
        blocking = partial(execute_blocking, context)
        return await execute_operation(context.servers, call, context.report_progress, blocking)

    def pages(self, name: str, /, **arguments: Any) -> AsyncGenerator[Any]:
        """Call an operation that returns a page of a list, and go on to the last one; yield what each call returns.

        Raises:
            InvalidArguments: the operation does not exist. While iterating: it has no pages, or what `answer` raises.
            UnexpectedResponse: the list would have no end.
        """
        return iterate_pages(self._operation(name), arguments, partial(self.answer, name))

    @overload
    def events(
        self: OpenCode[Literal[1]],
    ) -> AbstractAsyncContextManager[AsyncIterator[operations.Event | operations.StreamEvent]]: ...

    @overload
    def events(
        self: OpenCode[Literal[2]],
    ) -> AbstractAsyncContextManager[AsyncIterator[operations2.Event | operations.StreamEvent]]: ...

    @asynccontextmanager
    async def events(self) -> AsyncGenerator[AsyncIterator[Any]]:
        """Provide the events of all projects from now on, for `async for`, without end.

        A lost connection is made again: `{"type": "stream.lost"}`, then `{"type": "stream.connected"}` say that events
        may have been missed, as OpenCode replays none.

        Raises:
            ServerStartError, TransportError, APIError, UnexpectedResponse: OpenCode cannot be reached.
        """
        client = self._context().opencode
        await self.call(client.catalog.generation.health)  # the feed itself retries without limit
        send, receive = anyio.create_memory_object_stream[Any](float("inf"))
        async with background_task_group() as tasks, send, receive:
            reader = NATIVE_READERS[client.catalog.generation.number]
            with EventFeed(client.event_stream, tasks, reader).subscribe(send.send_nowait):
                while (await receive.receive())["type"] != "server.connected":
                    pass
                await anyio.sleep(SUBSCRIBE_LAG_SECONDS)
                yield receive

    def _operation(self, name: str) -> Operation:
        if name not in self._catalog:
            near = suggest(name, [*self._catalog, *self._task_tools]) or "none"
            raise InvalidArguments(name, [f"no such operation; nearest: {near}"])
        return self._catalog[name]

    def _context(self) -> Context:
        if self._servers is None:
            raise RuntimeError("use OpenCode inside `async with OpenCode(…) as opencode:`")
        return Context(self._servers, ignore_progress, depth=self._settings.depth)
