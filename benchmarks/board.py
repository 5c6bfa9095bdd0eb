"""`python -m benchmarks.board`: what the board costs with 200 tasks, in Chromium and at `opencode-mcp board`.

It prints the table of docs/board.md. Seconds of CPU are the kernel's, of the page's process and of the bridge; the heap
is that of the page's scripts. It needs Linux, and chromium of the distribution.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcp import Client
from playwright.async_api import Browser, Page, expect

from opencode_mcp.board import read_page
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.browser.board_page import BoardPage, show_board
from tests.browser.board_process import BoardProcess, run_board
from tests.browser.chromium import run_chromium
from tests.browser.stage import Stage
from tests.facts import facts

from .processes import cpu_seconds, resident_bytes
from .setup import BenchmarkSetup, open_setup

TASKS = 200
OPENINGS = 5
QUIET_SECONDS = 30.0
RUNNING = 10
WORK = "script:slow 240 0.5"
"""A text in two pieces a second, for longer than is measured."""
LINES = 5_000
MEGABYTE = 1_000_000

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
DRAWN = "performance.now()"
UNFOLD = """(details, last) => new Promise(resolve => {
  const began = performance.now()
  const isDrawn = () => details.textContent.includes(last)
  const check = () => isDrawn() ? resolve(performance.now() - began) : requestAnimationFrame(check)
  details.open = true
  check()
})"""


async def make_tasks(stage: Stage) -> None:
    """Create the sessions of all tasks but one, without a prompt."""

    async def create(number: int) -> None:
        await stage.call("session_create", title=f"Task number {number:03}")

    await create(1)
    await gather(*(lambda n=number: create(n) for number in range(2, TASKS)))


async def open_board(browser: Browser, process: BoardProcess) -> tuple[float, float]:
    """Open the board; return the milliseconds to the first paint, and until every task is there."""
    async with show_board(browser, await process.next_address(), False) as board:
        await expect(board.tasks.locator("article")).to_have_count(TASKS)
        drawn, paint = await board.evaluate(DRAWN), await board.evaluate(PAINT)
    return paint, drawn


async def read_heap(page: Page) -> float:
    """Return the bytes of the heap of a page's scripts, after a garbage collection."""
    session: Any = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    await session.send("Performance.enable")
    metrics = {item["name"]: item["value"] for item in (await session.send("Performance.getMetrics"))["metrics"]}
    return metrics["JSHeapUsedSize"]


async def find_page_process(browser: Browser) -> int:
    """Return the process id of the only page: the largest, as Chromium keeps an empty one at hand."""
    session: Any = await browser.new_browser_cdp_session()
    processes = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
    return max((process["id"] for process in processes if process["type"] == "renderer"), key=resident_bytes)


async def measure_cpu(pids: list[int], work: Callable[[], Awaitable[object]]) -> list[float]:
    """Return the CPU of processes for some work, in percent of a core."""
    began, before = time.perf_counter(), [cpu_seconds(pid) for pid in pids]
    await work()
    seconds = time.perf_counter() - began
    return [100 * (cpu_seconds(pid) - early) / seconds for pid, early in zip(pids, before, strict=True)]


async def measure_open_page(browser: Browser, stage: Stage, process: BoardProcess, board: BoardPage) -> None:
    """Print what an open page costs: idle, and while tasks run."""
    await expect(board.tasks.locator("article")).to_have_count(TASKS)
    bridge = process.terminal.process.pid
    page = await find_page_process(browser)
    print_row("memory of the page's process", f"{resident_bytes(page) / MEGABYTE:.0f} MB")
    print_row("of it the heap of its scripts", f"{await read_heap(board.page) / MEGABYTE:.1f} MB")
    print_row("memory of the command", f"{resident_bytes(bridge) / MEGABYTE:.0f} MB")
    idle = await measure_cpu([page, bridge], lambda: asyncio.sleep(QUIET_SECONDS))
    print_row("CPU while nothing happens: page, command", ", ".join(f"{share:.1f} %" for share in idle))
    sessions = [await stage.start(WORK) for _ in range(RUNNING)]
    await board.card(sessions[-1]).expect_state("running")
    busy = await measure_cpu([page, bridge], lambda: asyncio.sleep(QUIET_SECONDS))
    print_row(f"CPU while {RUNNING} tasks run: page, command", ", ".join(f"{share:.1f} %" for share in busy))
    for session_id in sessions:
        await stage.call("stop_task", session_id=session_id)


async def measure_diff(board: BoardPage, session_id: str) -> None:
    """Print how long a long diff takes."""
    card = board.card(session_id)
    began = time.perf_counter()
    await card.open_changes()
    await expect(card.file("long.txt")).to_be_visible()
    print_row(f"a diff of {LINES:,} lines is there", f"{time.perf_counter() - began:.2f} s after the click")
    milliseconds = await card.file("long.txt").evaluate(UNFOLD, f"line {LINES - 1}")
    print_row("its lines are drawn", f"{milliseconds / 1_000:.2f} s after they are unfolded")


def print_row(name: str, value: str) -> None:
    """Print a row of the table."""
    print(f"| {name} | {value} |", flush=True)


async def measure(setup: BenchmarkSetup, browser: Browser) -> None:
    """Measure everything."""
    settings = replace(
        Settings(),
        url=str(setup.endpoint.url),
        password=setup.endpoint.password,
        directory=str(setup.project),
    )
    async with Client(create_server(settings, Catalog.from_snapshot())) as client:
        stage = Stage(setup.project, settings, setup.environ, client)
        report = facts(await client.call_tool("run_task", {"prompt": "script:text done", "worktree": True}))
        text = "".join(f"line {number}\n" for number in range(LINES))
        (Path(report["directory"]) / "long.txt").write_text(text)
        await make_tasks(stage)
        print_row("size of the page", f"{len(read_page().encode()):,} bytes")
        with run_board(setup.environ, settings) as process:
            opened = [await open_board(browser, process) for _ in range(OPENINGS)]
            paint, drawn = (statistics.median(values) for values in zip(*opened, strict=True))
            print_row("first paint", f"{paint:.0f} ms")
            print_row(f"all {TASKS} tasks are there", f"{drawn:.0f} ms")
            address = await process.next_address()
            async with show_board(browser, address, False, reduced_motion="no-preference") as board:
                await measure_open_page(browser, stage, process, board)
                await measure_diff(board, report["session_id"])


async def main() -> None:
    """Print the table."""
    print_row("what", "measured")
    print_row("---", "---")
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as name:
        async with open_setup(Path(name)) as setup, run_chromium() as browser:
            await measure(setup, browser)


if __name__ == "__main__":
    asyncio.run(main())
