"""The changes of a task on the board: read as a diff, brought over, discarded, and compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from .board_page import Layout
from .conftest import OpenBoard, in_browser, in_client
from .stage import MODELS, Stage, call_tool, exists, new_name

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


NOTE_BUSY = """dialog => new MutationObserver(() => {
    if (dialog.querySelector("[role=alert]")) dialog.dataset.busy ??= dialog.querySelector(".primary").ariaDisabled
}).observe(dialog, {childList: true, subtree: true})"""
"""Notes whether the button is off when the dialog says something: a held key could press it at once."""


async def test_changes_are_brought_over(open_board: OpenBoard, stage: Stage) -> None:
    """Into the project's own files; the card says so."""
    name = new_name("made")
    report = await stage.run_in_worktree({name: "by the task\n"})
    card = (await open_board()).card(report["session_id"])

    await card.press("Bring over")

    await expect(card.status).to_contain_text(re.compile(r"\S"))
    assert (stage.project / name).read_text() == "by the task\n"
    await expect(card.alert).to_have_count(0)


@in_browser
async def test_the_changes_say_what_the_project_still_lacks(open_board: OpenBoard, stage: Stage) -> None:
    """Also those that were open while they were brought over."""
    report = await stage.run_in_worktree({new_name("made"): "by the task\n"})
    card = (await open_board()).card(report["session_id"])
    await card.open_changes()
    await expect(card.changes).to_contain_text("The project lacks 1 change")

    await card.press("Bring over")

    await expect(card.status).to_contain_text("Brought over")
    await expect(card.changes).not_to_contain_text("The project lacks")
    await expect(card.changes).to_contain_text("by the task")


async def test_a_conflict_is_shown_and_changes_nothing(open_board: OpenBoard, stage: Stage) -> None:
    """The card says which file, and the button works again."""
    name, other = new_name("same"), new_name("other")
    report = await stage.run_in_worktree({name: "by the task\n", other: "by the task\n"})
    (stage.project / name).write_text("by a person\n")
    card = (await open_board()).card(report["session_id"])

    await card.press("Bring over")

    await expect(card.alert).to_contain_text("nothing was applied")
    await expect(card.alert).to_contain_text(name)
    assert (stage.project / name).read_text() == "by a person\n"
    assert not (stage.project / other).exists()
    await expect(card.button("Bring over")).to_be_enabled()


async def test_what_would_be_lost_is_shown_before_a_worktree_is_discarded(open_board: OpenBoard, stage: Stage) -> None:
    """Cancel keeps it, and then it is gone."""
    name = new_name("made")
    report = await stage.run_in_worktree({name: "by the task\n"})
    worktree = Path(report["directory"])
    board = await open_board()
    card = board.card(report["session_id"])

    await card.press("Discard")
    await expect(board.dialog).to_contain_text("Discard changes?")
    await expect(board.dialog).to_contain_text(name)
    await board.dialog.get_by_role("button", name="Cancel", exact=True).click()
    await expect(board.dialog).to_be_hidden()
    assert (worktree / name).exists()

    await card.press("Discard")
    await expect(board.dialog).to_contain_text(name)
    await board.dialog.get_by_role("button", name="Discard", exact=True).click()
    await expect(card.status).to_contain_text("Discarded")
    await expect(card.button("Discard")).to_have_count(0)

    assert not exists(worktree)
    assert not (stage.project / name).exists()


@in_browser
async def test_only_what_was_shown_is_discarded(open_board: OpenBoard, stage: Stage) -> None:
    """A file that changes while the dialog is open is shown first, even if its numbers stay the same."""
    name, ignored = new_name("made"), f"{new_name('ignored')}.log"
    report = await stage.run_in_worktree({name: "first\n", ".gitignore": "*.log\n", ignored: "kept nowhere else\n"})
    worktree = Path(report["directory"])
    board = await open_board()
    discard = board.dialog.get_by_role("button", name="Discard", exact=True)
    card = board.card(report["session_id"])

    await card.press("Discard")
    await expect(board.dialog).to_contain_text(name)
    await expect(board.dialog).to_contain_text(ignored)
    (worktree / name).write_text("other\n")
    await board.dialog.evaluate(NOTE_BUSY)
    await discard.click()
    await expect(board.dialog.get_by_role("alert")).to_contain_text("Nothing was discarded")
    assert (worktree / name).read_text() == "other\n"
    await expect(board.dialog).to_have_attribute("data-busy", "true")
    await discard.click()

    await expect(card.status).to_contain_text("Discarded")
    assert not exists(worktree)


@in_browser
async def test_files_that_git_ignores_are_named_before_they_are_discarded(open_board: OpenBoard, stage: Stage) -> None:
    """All that the task has made is ignored, so the project has all changes but not these files."""
    with (stage.project / ".git" / "info" / "exclude").open("a") as exclude:
        exclude.write("*.ignored\n")
    names = sorted(f"{new_name('made')}.ignored" for _ in range(8))
    report = await stage.run_in_worktree(dict.fromkeys(names, "kept nowhere else\n"))
    board = await open_board()

    await board.card(report["session_id"]).press("Discard")

    await expect(board.dialog).to_contain_text("The project has all changes of this worktree. Note:")
    await expect(board.dialog).to_contain_text(", ".join(names))


@in_client
async def test_nothing_is_lost_with_a_worktree_that_was_brought_over(open_board: OpenBoard, stage: Stage) -> None:
    """The dialog names no file."""
    name = new_name("made")
    report = await stage.run_in_worktree({name: "by the task\n"})
    await stage.call("collect_changes", session_id=report["session_id"], apply=True)
    board = await open_board()
    card = board.card(report["session_id"])

    await card.press("Discard")
    discard = board.dialog.get_by_role("button", name="Discard", exact=True)
    await expect(discard).to_be_enabled()
    await expect(board.dialog).not_to_contain_text(name)
    await discard.click()

    await expect(card.status).to_contain_text("Discarded")
    await expect(card.button("Discard")).to_have_count(0)
    assert not exists(report["directory"])
    assert (stage.project / name).exists()


@in_browser
async def test_a_diff_is_read_unified_and_side_by_side(open_board: OpenBoard, stage: Stage) -> None:
    """Each file has its numbers; both ways show the lines with their sides."""
    name, old = new_name("text"), new_name("old")
    stage.commit({name: "".join(f"line {number}\n" for number in range(20)), old: "gone\n"})
    report = await stage.run("script:text done", worktree=True)
    worktree = Path(report["directory"])
    (worktree / name).write_text((worktree / name).read_text().replace("line 10\n", "line ten\nand more\n"))
    (worktree / old).unlink()
    card = (await open_board()).card(report["session_id"])

    await card.open_changes()
    await card.expect_counts(name, 2, 1)
    await card.expect_counts(old, 0, 1)
    layouts: dict[Layout, int] = {"Unified": 1, "Side by side": 2}
    for layout, sides in layouts.items():
        await card.choose_layout(layout)
        for line in ("line ten", "and more", "line 10"):
            await expect(card.line(name, line)).to_be_visible()
        await expect(card.line(name, "line 9")).to_have_count(sides)
    await card.changes.get_by_role("button", name="Fold all").click()
    await expect(card.line(name, "line ten")).to_be_hidden()
    await card.changes.get_by_role("button", name="Unfold all").click()
    await expect(card.line(name, "line ten")).to_be_visible()


@in_client
async def test_the_answers_of_two_models_are_compared(open_board: OpenBoard, stage: Stage) -> None:
    """Each has its state, its numbers and its changes; one is brought over."""
    name = new_name("answer")
    task = {"prompt": call_tool("write", filePath=name, content="by {model}\n"), "check": [f"grep other {name}"]}
    started = await stage.call("run_tasks", tasks=[task], models=MODELS, timeout_seconds=120)
    first, second = (report["session_id"] for report in started["tasks"])
    card = (await open_board()).card(first)

    await card.press("Compare answers")

    await expect(card.answers).to_be_visible()
    for text in (*MODELS, name):
        await expect(card.answers).to_contain_text(text)
    row = card.answers.get_by_role("row").filter(has_text=MODELS[1])
    await row.get_by_role("button", name="Bring over").click()
    await expect(card.answers.get_by_role("status").or_(card.status).first).to_contain_text(re.compile(r"\S"))
    assert (stage.project / name).read_text() == "by other\n"
    assert second != first
