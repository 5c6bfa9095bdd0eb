"""Reads that many callers share: which value or error each of them gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from math import inf
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest

from opencode_mcp.exceptions import TransportError
from opencode_mcp.opencode.concurrency import background_task_group, gather
from opencode_mcp.opencode.shared_reads import SharedReads
from tests.clock import Clock, set_clock

pytestmark = pytest.mark.anyio

T = TypeVar("T")

KEY = ("directory", "/project")


def returning(value: str, began: list[str]) -> Callable[[], Awaitable[str]]:
    """Return a read that takes a moment; its value is added to `began`."""

    async def read() -> str:
        began.append(value)
        await anyio.sleep(0.01)
        return value

    return read


def failing(words: str, began: list[str]) -> Callable[[], Awaitable[str]]:
    """Return a read that fails after a moment."""

    async def read() -> str:
        await returning(words, began)()
        raise TransportError(words)

    return read


async def read_and_catch(read: Callable[[], Awaitable[T]]) -> T | TransportError:
    """Return what a read returns, or its error."""
    try:
        return await read()
    except TransportError as error:
        return error


async def test_callers_share_a_read_that_began_late_enough() -> None:
    """Those who ask at the same time, and later ones that take a value of its age."""
    reads, began = SharedReads(), list[str]()
    share = partial(reads.read, KEY)
    assert await gather(*[partial(share, 0, returning("first", began))] * 5) == ["first"] * 5
    assert await share(10, returning("second", began)) == "first"
    assert await reads.read(("directory", "/other"), 10, returning("other", began)) == "other"
    assert await share(0, returning("third", began)) == "third"
    assert began == ["first", "other", "third"]


async def test_an_error_is_that_of_callers_who_waited_for_it() -> None:
    """A later one reads again, however old a value it takes."""
    reads, began = SharedReads(), list[str]()
    share = partial(reads.read, ("parent", "ses_1"), inf)
    first, second = await gather(*[partial(read_and_catch, partial(share, failing("lost", began)))] * 2)
    assert isinstance(first, TransportError)
    assert (first is second, began) == (True, ["lost"])
    assert [await share(returning("good", began)) for _ in range(2)] == ["good", "good"]
    assert began == ["lost", "good"]


def count_frames(error: str | TransportError) -> int:
    """Return how long an error's traceback is."""
    assert isinstance(error, TransportError)
    frames, trace = 0, error.__traceback__
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    return frames


async def test_the_traceback_of_a_shared_error_does_not_grow() -> None:
    """Each caller raises the same error."""
    reads, began = SharedReads(), list[str]()
    call = partial(read_and_catch, partial(reads.read, KEY, 0, failing("lost", began)))
    [alone] = await gather(call)
    [shared, *_] = await gather(*[call] * 5)
    assert (count_frames(shared), began) == (count_frames(alone), ["lost", "lost"])


@pytest.mark.parametrize("first", [failing, returning], ids=["failed", "old"])
async def test_a_cancelled_read_leaves_what_was_read_before(
    first: Callable[[str, list[str]], Callable[[], Awaitable[str]]],
) -> None:
    """Neither a value nor an error of the past is taken for its result."""
    reads, began = SharedReads(), list[str]()
    await read_and_catch(partial(reads.read, KEY, 0, first("first", began)))
    await anyio.sleep(0.02)
    async with background_task_group() as tasks:
        tasks.start_soon(reads.read, KEY, 0.01, returning("cancelled", began))
        while len(began) < 2:
            await anyio.lowlevel.checkpoint()
    last = await reads.read(KEY, 5, returning("good", began))
    assert (last, began[:2]) == ("good" if first is failing else "first", ["first", "cancelled"])


async def test_a_caller_reads_when_the_reader_it_waits_for_is_cancelled() -> None:
    """The cancelled call has told nothing."""
    reads, began = SharedReads(), list[str]()
    async with anyio.create_task_group() as tasks:
        async with background_task_group() as cancelled:
            cancelled.start_soon(reads.read, KEY, 0, returning("cancelled", began))
            while not began:
                await anyio.lowlevel.checkpoint()
            tasks.start_soon(reads.read, KEY, 0, returning("good", began))
            await anyio.lowlevel.checkpoint()
    assert began == ["cancelled", "good"]
    assert await reads.read(KEY, 5, returning("later", began)) == "good"


async def ask_each(
    reads: SharedReads, clock: Clock, names: Iterable[str], since: float, began: list[str]
) -> list[str | None]:
    """Ask at once for a value of each name, one second after the last time; one is read in five."""
    clock.now += 1
    ask = partial(reads.read_in_turn, since=since, pause=5)
    return await gather(*(partial(ask, ("directory", name), read=returning(name, began)) for name in names))


async def test_keys_are_read_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is left out, also where another asks first each time; those about something else have turns of their own."""
    reads, began, clock = SharedReads(), list[str](), set_clock(monkeypatch)
    since, names, answers = clock.now, ["a", "b", "c"], list[list[str | None]]()
    for _ in range(34):
        names = [*names[1:], names[0]]
        answers.append(await ask_each(reads, clock, names, since, began))
    assert (answers[:4], answers[-1]) == ([[None] * 3] * 4, names)
    assert (len(began), {*began}, began[:3]) == (6, {*names}, began[3:])
    await reads.read_in_turn(("parent", "ses_1"), since, 5, returning("parent", began))
    assert began[6:] == ["parent"]


async def test_a_key_that_is_seldom_asked_for_is_read_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have taken each turn before it."""
    reads, began, clock = SharedReads(), list[str](), set_clock(monkeypatch)
    since = clock.now
    for second in range(1, 23):
        await ask_each(reads, clock, ["a", "b"] if second in {7, 22} else ["a"], since, began)
    assert began == ["a", "a", "b"]


async def test_what_was_read_before_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is older than what it is compared with says nothing about that, nor does one of a failed read."""
    reads, began, clock = SharedReads(), list[str](), set_clock(monkeypatch)
    since = clock.now
    clock.now += 5
    ask = partial(reads.read_in_turn, KEY, pause=5)
    assert await ask(since=since, read=returning("first", began)) == "first"
    assert await ask(since=clock.now + 1, read=returning("other", began)) is None
    clock.now += 5
    waiting = partial(read_and_catch, partial(ask, since=since, read=failing("lost", began)))
    assert {*map(str, await gather(waiting, waiting))} == {"lost"}
    clock.now += 1
    assert await ask(since=since, read=returning("other", began)) is None
    clock.now += 5
    assert await ask(since=since, read=returning("last", began)) == "last"
    assert began == ["first", "lost", "last"]
