"""The board as a person uses it: by what it says, and by the names that a screen reader says."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

from playwright.async_api import Browser, Frame, FrameLocator, Locator, Page, expect

from .chromium import PageErrors, open_page

MINUS = "\N{MINUS SIGN}"
ACTIONS = ("Approve once", "Always", "Reject", "Stop", "Follow up", "Bring over", "Discard")
Layout = Literal["Unified", "Side by side"]
Filter = Literal["All", "Running", "Waiting", "Done"]


class BoardPage:
    """A page that shows the board: in a frame of a client, or by itself."""

    def __init__(self, page: Page, errors: PageErrors, is_framed: bool) -> None:
        self.page = page
        self.errors = errors
        self.is_framed = is_framed
        self.root: Page | FrameLocator = page.frame_locator("iframe") if is_framed else page
        self.heading = self.root.get_by_role("heading", name="OpenCode tasks")
        self.tasks = self.root.get_by_role("list", name="Tasks", exact=True)
        self.search = self.root.get_by_role("searchbox", name="Search tasks")
        self.connection = self.root.get_by_role("status").first
        self.dialog = self.root.get_by_role("dialog")

    def card(self, session_id: str) -> TaskCard:
        """Return the card of a task."""
        return TaskCard(self, session_id)

    def cards(self) -> Locator:
        """Return the cards that are shown."""
        return self.tasks.locator("article:visible")

    def filter(self, name: Filter) -> Locator:
        """Return the button of a filter, whose name shows how many tasks it has."""
        return self.root.get_by_role("group", name="Show").get_by_role("radio", name=re.compile(f"^{name}"))

    async def choose(self, name: Filter) -> None:
        """Choose a filter."""
        await self.filter(name).check()

    def frame(self) -> Frame:
        """Return the frame that the board is in."""
        frames = self.page.frames
        return frames[-1] if self.is_framed else frames[0]

    async def evaluate(self, script: str) -> Any:
        """Run a script in the board's frame, and return its result."""
        return await self.frame().evaluate(script)

    async def find_violations(self, axe: str) -> list[str]:
        """Return what axe-core calls serious or critical, with the elements."""
        frame = self.frame()
        await frame.evaluate(axe)
        found: Any = await frame.evaluate("axe.run(document, {resultTypes: ['violations'], iframes: false})")
        return [
            f"{violation['id']}: {node['html']}: {node['failureSummary']}"
            for violation in found["violations"]
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"]
        ]


class TaskCard:
    """A task on the board."""

    def __init__(self, board: BoardPage, session_id: str) -> None:
        self.board = board
        self.session_id = session_id
        self.article = board.root.locator(f'article[data-session="{session_id}"]')
        self.status = self.article.get_by_role("status")
        self.alert = self.article.get_by_role("alert")
        self.changes = self.article.get_by_role("region", name=re.compile("^Changes of "))
        self.report = self.article.get_by_role("region", name=re.compile("^Report of "))
        self.transcript = self.article.get_by_role("region", name=re.compile("^Transcript of "))
        self.answers = self.article.get_by_role("region", name=re.compile("^Answers to "))

    def button(self, name: str) -> Locator:
        """Return a button by its name."""
        return self.article.get_by_role("button", name=name, exact=True)

    def textbox(self, name: str) -> Locator:
        """Return a field by its label."""
        return self.article.get_by_role("textbox", name=name, exact=True)

    async def press(self, name: str) -> None:
        """Press a button by its name."""
        await self.button(name).click()

    async def expect_state(self, *states: str) -> None:
        """Wait until the task has one of the states."""
        await expect(self.article).to_have_attribute("data-state", re.compile(f"^({'|'.join(states)})$"))

    async def expect_text(self, text: str | re.Pattern[str]) -> None:
        """Wait until the card contains a text."""
        await expect(self.article).to_contain_text(text)

    def file(self, path: str) -> Locator:
        """Return a file of the changes."""
        return self.changes.locator(f'details[data-path="{path}"]')

    async def expect_counts(self, path: str, additions: int, deletions: int) -> None:
        """Wait until a file of the changes has these numbers of lines."""
        numbers = re.compile(rf"\+{additions:,}\s*{MINUS}{deletions:,}".replace(",", ",?"))
        await expect(self.file(path).locator("summary")).to_contain_text(numbers)

    def line(self, path: str, text: str) -> Locator:
        """Return a line of a file of the changes; side by side one without a change is there twice."""
        return self.file(path).get_by_text(re.compile(rf"^[-+ ]?{re.escape(text)}$"))

    async def choose_layout(self, name: Layout) -> None:
        """Choose how the changes are shown."""
        await self.changes.get_by_role("radio", name=name).check()

    async def open_changes(self) -> None:
        """Show the changes."""
        await self.press("Changes")
        await expect(self.changes).to_be_visible()


@asynccontextmanager
async def show_board(browser: Browser, address: str, is_framed: bool, **options: Any) -> AsyncGenerator[BoardPage]:
    """Open the board at an address; `options` are those of `Browser.new_context`.

    Raises:
        AssertionError: at the end, if a script of the page has failed or was blocked.
    """
    async with open_page(browser, **options) as (page, errors):
        await page.goto(address)
        yield BoardPage(page, errors, is_framed)
        assert not errors.lines, errors.lines


async def expect_no_actions(board: BoardPage) -> None:
    """See that nothing can be decided or changed."""
    for name in ACTIONS:
        await expect(board.root.get_by_role("button", name=name, exact=True)).to_have_count(0)
