"""axe-core finds nothing that is serious or critical, in either theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from playwright.async_api import Browser, ViewportSize, expect

from .apps_host import AppsHost
from .board_page import BoardPage, show_board
from .board_process import BoardProcess
from .stage import Stage, ask, bash, new_name

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


NARROW = ViewportSize(width=380, height=800)


@pytest.fixture(scope="module")
async def worktree_task(stage: Stage) -> dict[str, Any]:
    """A task with changes."""
    return await stage.run_in_worktree({new_name("made"): "by the task\n", new_name("more"): "and more\n"})


@pytest.fixture
async def waiting_tasks(stage: Stage) -> Sequence[str]:
    """A task that waits for a permission, and one that waits for an answer; one has failed, and one runs."""
    waiting = [await stage.start(bash("make install")), await stage.start(ask("Which one?", "Red", "Blue"))]
    for session_id in waiting:
        await stage.wait(session_id)
    await stage.run("script:error 400")
    await stage.start("script:hang")
    return waiting


async def expect_no_violations(board: BoardPage, axe: str, task: dict[str, Any], waiting: Sequence[str]) -> None:
    """Try the list, then with each panel open, then the dialogs."""
    card = board.card(task["session_id"])
    await expect(card.article).to_be_visible()
    for session_id, name in zip(waiting, ("Approve once", "Answer"), strict=True):
        await expect(board.card(session_id).button(name)).to_be_enabled()
    assert await board.find_violations(axe) == []

    for name in ("Changes", "Transcript", "Report", "Follow up"):
        await card.press(name)
    await expect(card.changes.locator("details").first).to_be_visible()
    await expect(card.transcript).to_contain_text("script:text done")
    await expect(card.report).to_contain_text("done")
    assert await board.find_violations(axe) == []

    await card.choose_layout("Side by side")
    await card.press("Discard")
    await expect(board.dialog.get_by_role("button", name="Discard", exact=True)).to_be_enabled()
    assert await board.find_violations(axe) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_board_in_a_client_is_accessible(
    chromium: Browser,
    apps_host: AppsHost,
    axe: str,
    worktree_task: dict[str, Any],
    waiting_tasks: Sequence[str],
    theme: str,
) -> None:
    """With the client's theme, which is not that of the system."""
    system = {"light": "dark", "dark": "light"}[theme]
    async with show_board(chromium, apps_host.address(theme=theme), True, color_scheme=system) as board:
        await expect_no_violations(board, axe, worktree_task, waiting_tasks)


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_board_in_the_browser_is_accessible(
    chromium: Browser,
    board_process: BoardProcess,
    axe: str,
    worktree_task: dict[str, Any],
    waiting_tasks: Sequence[str],
    theme: str,
) -> None:
    """With the theme of the system, in a narrow window."""
    address = await board_process.next_address()
    async with show_board(chromium, address, False, color_scheme=theme, viewport=NARROW) as board:
        await expect_no_violations(board, axe, worktree_task, waiting_tasks)
