"""Task groups: tasks that run while a block lasts, and concurrent calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

T = TypeVar("T")


@asynccontextmanager
async def background_task_group() -> AsyncGenerator[TaskGroup]:
    """Provide a task group for the block, cancelled at its end.

    An error of the block is raised unchanged; a plain task group would wrap it in an exception group.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def background_task(task: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> AsyncGenerator[None]:
    """Run a task while the block lasts, then cancel it."""
    async with background_task_group() as tasks:
        tasks.start_soon(task, *arguments)
        yield


async def first_completed(*calls: Callable[[], Awaitable[T]]) -> T:
    """Make several calls at once; return what the first to end gives, and cancel the others.

    Raises:
        Exception: that of the first to end, unless another call had its result before it could be cancelled.
    """
    results: list[T] = []
    failures: list[Exception] = []

    async def run(call: Callable[[], Awaitable[T]]) -> None:
        try:
            results.append(await call())
        except Exception as error:
            failures.append(error)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(run, call)
    if results:
        return results[0]
    raise failures[0]


async def gather(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run calls concurrently and return their results in order; the first error cancels the others."""
    results: list[Any] = [None] * len(calls)

    async def run_call(index: int, call: Callable[[], Awaitable[Any]]) -> None:
        results[index] = await call()

    try:
        async with anyio.create_task_group() as tasks:
            for index, call in enumerate(calls):
                tasks.start_soon(run_call, index, call)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return results
