"""200 tasks, and a diff of 5,000 lines, stay fluent."""

from __future__ import annotations

import re
import time

import pytest
from playwright.async_api import Browser, expect

from opencode_mcp.opencode.concurrency import gather
from tests.conftest import RecordFigure

from .apps_host import AppsHost
from .board_page import BoardPage, Filter, show_board
from .board_process import BoardProcess
from .conftest import PLACES, open_place
from .stage import Stage, bash

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

SESSIONS = 200
LINES = 5_000
OPEN_SECONDS = 180.0
DRAW_SECONDS = 60.0
"""Wide, as the machine may be busy; what is measured is printed at the end of the run."""


async def make_sessions(stage: Stage, count: int) -> list[str]:
    """Create sessions without a prompt, and return their ids."""

    async def create(number: int) -> str:
        return (await stage.call("session_create", title=f"Task number {number:03}"))["id"]

    first = await create(0)
    return [first, *await gather(*(lambda n=number: create(n) for number in range(1, count)))]


async def test_200_tasks_are_listed_found_and_filtered(
    chromium: Browser, own_stage: Stage, record_figure: RecordFigure
) -> None:
    """The one that waits comes first, whatever its age."""
    waiting = await own_stage.start(bash("make install"))
    await own_stage.wait(waiting)
    sessions = await make_sessions(own_stage, SESSIONS - 1)

    for place in PLACES:
        async with open_place(place, own_stage) as address:
            began = time.perf_counter()
            async with show_board(chromium, address, place == "client") as board:
                await expect(board.tasks.locator("article")).to_have_count(SESSIONS, timeout=OPEN_SECONDS * 1000)
                seconds = time.perf_counter() - began
                record_figure(f"board in the {place}: {SESSIONS} tasks listed {seconds:.1f} s after it was opened")
                assert seconds < OPEN_SECONDS
                await expect(board.tasks.locator("article").first).to_have_attribute("data-session", waiting)
                await filter_and_find(board, sessions[123], "number 123")


async def filter_and_find(board: BoardPage, session_id: str, words: str) -> None:
    """See how many tasks each filter has, and search for one."""
    counts: dict[Filter, int] = {"All": SESSIONS, "Waiting": 1, "Running": 0, "Done": SESSIONS - 1}
    for name, count in counts.items():
        await expect(board.filter(name)).to_have_accessible_name(re.compile(rf"\D{count}\D*$"))
        await board.choose(name)
        await expect(board.cards()).to_have_count(count)
    await board.choose("All")
    began = time.perf_counter()
    await board.search.fill(words)
    await expect(board.cards()).to_have_count(1)
    assert time.perf_counter() - began < DRAW_SECONDS
    await expect(board.card(session_id).article).to_be_visible()


async def test_the_title_of_the_page_says_how_many_tasks_wait(chromium: Browser, own_stage: Stage) -> None:
    """So that a tab in the background shows it."""
    session_id = await own_stage.start(bash("make install"))

    async with (
        open_place("browser", own_stage) as address,
        show_board(chromium, address, False) as board,
    ):
        await expect(board.page).to_have_title(re.compile(r"^\(1\)"))
        await board.card(session_id).press("Approve once")
        await expect(board.page).to_have_title(re.compile(r"^[^(]"))


async def test_a_diff_of_5000_lines_is_opened(
    chromium: Browser, board_process: BoardProcess, stage: Stage, record_figure: RecordFigure
) -> None:
    """The long file is folded, and its last line is there once it is unfolded."""
    report = await stage.run_in_worktree({"long.txt": make_lines(LINES), "short.txt": "a line\n"})

    async with show_board(chromium, await board_process.next_address(), False) as board:
        card = board.card(report["session_id"])
        began = time.perf_counter()
        await card.open_changes()
        await expect(card.line("short.txt", "a line")).to_be_visible()
        opened = time.perf_counter() - began
        await card.expect_counts("long.txt", LINES, 0)
        assert not await card.file("long.txt").evaluate("details => details.open")

        began = time.perf_counter()
        await card.file("long.txt").locator("summary").click()
        await expect(card.file("long.txt")).to_contain_text(f"line {LINES - 1} of many")
        drawn = time.perf_counter() - began

    record_figure(f"board: a diff of {LINES} lines opened in {opened:.1f} s, unfolded in {drawn:.1f} s")
    assert max(opened, drawn) < DRAW_SECONDS


async def test_a_diff_beyond_the_limit_of_results_says_what_is_missing(
    chromium: Browser, apps_host: AppsHost, stage: Stage
) -> None:
    """A client gets no more than a model does, unless its server allows it."""
    report = await stage.run_in_worktree({"first.txt": "a line\n", "long.txt": make_lines(LINES)})

    async with show_board(chromium, apps_host.address(), True) as board:
        card = board.card(report["session_id"])
        await card.open_changes()
        await expect(card.changes).to_contain_text("cut this")
        await expect(card.line("first.txt", "a line")).to_be_visible()
        await card.expect_counts("long.txt", LINES, 0)
        await card.file("long.txt").locator("summary").click()
        await expect(card.file("long.txt")).to_contain_text("line 0 of many")


def make_lines(count: int) -> str:
    """Return a text."""
    return "".join(f"line {number} of many\n" for number in range(count))
