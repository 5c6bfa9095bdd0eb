"""The board without a mouse."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from .board_page import BoardPage, TaskCard
from .conftest import OpenBoard, in_browser, in_client
from .stage import Stage, bash, exists, new_name

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


async def find_by_keys(board: BoardPage, session_id: str, title: str) -> TaskCard:
    """Go to a task by its title; only keys are pressed, once the board has the focus."""
    card = board.card(session_id)
    await expect(card.article).to_be_visible()
    await board.heading.click()
    await board.page.keyboard.press("/")
    await expect(board.search).to_be_focused()
    await board.page.keyboard.type(title)
    await expect(board.cards()).to_have_count(1)
    await board.page.keyboard.press("Tab")
    await board.page.keyboard.press("j")
    await expect(card.article).to_be_focused()
    return card


@in_browser
async def test_a_command_is_approved_by_keys(open_board: OpenBoard, stage: Stage) -> None:
    """A key finds the button, and Enter presses it."""
    made = stage.project / new_name("made")
    session_id = await stage.start(bash(f"touch {made.name}"), title := new_name("Keys"))
    board = await open_board()
    card = await find_by_keys(board, session_id, title)
    await expect(card.button("Approve once")).to_be_enabled()

    await board.page.keyboard.press("a")
    await expect(card.button("Approve once")).to_be_focused()
    assert not made.exists()
    await board.page.keyboard.press("Enter")

    await card.expect_state("completed")
    assert made.exists()


@in_browser
async def test_a_stray_key_decides_nothing(open_board: OpenBoard, stage: Stage) -> None:
    """Whatever single keys are pressed, the task waits on."""
    session_id = await stage.start(bash("true"), title := new_name("Stray"))
    board = await open_board()
    card = await find_by_keys(board, session_id, title)
    await expect(card.button("Approve once")).to_be_enabled()

    for key in "abcdfprstx?":
        await board.page.keyboard.press(key)
    await board.page.keyboard.press("Escape")

    await expect(card.button("Approve once")).to_be_enabled()
    await expect(card.status).to_have_count(0)
    report = await stage.call("report_task", session_id=session_id)
    assert report["state"] == "waiting_permission"


@in_browser
async def test_a_diff_is_opened_and_closed_by_keys(open_board: OpenBoard, stage: Stage) -> None:
    """And the focus is where it was before."""
    name = new_name("made")
    report = await stage.run_in_worktree({name: "text\n"}, title := new_name("Keys"))
    board = await open_board()
    card = await find_by_keys(board, report["session_id"], title)

    await board.page.keyboard.press("d")
    await board.page.keyboard.press("Enter")
    await expect(card.file(name)).to_be_visible()
    await board.page.keyboard.press("Escape")

    await expect(card.changes).to_be_hidden()
    assert await board.evaluate(f"document.activeElement.closest('article').dataset.session == '{card.session_id}'")


@in_client
async def test_the_dialog_keeps_the_focus_and_gives_it_back(open_board: OpenBoard, stage: Stage) -> None:
    """Escape cancels."""
    report = await stage.run_in_worktree({new_name("made"): "text\n"}, title := new_name("Keys"))
    board = await open_board()
    card = await find_by_keys(board, report["session_id"], title)

    await board.page.keyboard.press("x")
    await expect(card.button("Discard")).to_be_focused()
    await board.page.keyboard.press("Enter")
    await expect(board.dialog).to_be_visible()
    assert await board.evaluate("document.activeElement.closest('dialog') != null")
    await board.page.keyboard.press("Escape")

    await expect(board.dialog).to_be_hidden()
    await expect(card.button("Discard")).to_be_focused()
    assert exists(report["directory"])
