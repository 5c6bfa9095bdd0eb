"""What comes from OpenCode is text: whatever a repository, a model or a command puts into it does nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, expect

from .apps_host import AppsHost
from .board_page import BoardPage, Layout, TaskCard, show_board
from .conftest import OpenBoard, in_browser, in_client
from .stage import Stage, ask, bash, new_name

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

MARKUP = """<img src="x" onerror="alert(1)"></script><script>alert(2)</script><b onclick='alert(3)'>&lt;"""
REVERSED = "\u202egnp.exe\u2066"
HIDDEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
ANSI = "\x1b[31mred\x1b[2K"
LONG = "w" * 5_000


async def expect_only_text(card: TaskCard) -> None:
    """See that nothing in a card is markup, and no character is hidden or changes the direction."""
    assert await card.article.locator("img, script, b[onclick], a[href^='javascript']").count() == 0
    shown = await card.article.inner_text()
    assert HIDDEN.findall(shown) == []


@in_client
async def test_a_title_is_text(open_board: OpenBoard, stage: Stage) -> None:
    """In the card, in its name, and in the regions that are named by it."""
    title = f"{MARKUP} {REVERSED} {new_name('title')}"
    session_id = (await stage.run("script:text done", title))["session_id"]
    card = (await open_board()).card(session_id)

    await card.expect_text("""<img src="x" onerror="alert(1)"></script>""")
    await card.press("Transcript")
    await expect(card.transcript).to_be_visible()
    await expect_only_text(card)
    assert HIDDEN.findall(await card.article.get_attribute("aria-label") or "") == []


@in_browser
async def test_a_command_is_shown_whole_before_it_is_approved(open_board: OpenBoard, stage: Stage) -> None:
    """With its lines, what it hides, and its end, which lies in sight or can be scrolled to."""
    end = new_name("end")
    command = f": {MARKUP.replace(chr(39), '')!r} {REVERSED} {ANSI} {LONG}\n: second {end}"
    session_id = await stage.start(bash(command))
    card = (await open_board(viewport={"width": 380, "height": 800})).card(session_id)

    await card.expect_state("waiting_permission")
    await card.expect_text(end)
    await card.expect_text(LONG)
    await card.expect_text(re.compile(r"202[eE]"))
    await expect_only_text(card)
    tail = card.article.get_by_text(end).last
    await tail.scroll_into_view_if_needed()
    await expect(tail).to_be_in_viewport()
    assert await card.board.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the window"


@in_browser
async def test_a_question_is_text(open_board: OpenBoard, stage: Stage) -> None:
    """And its options, by which it is answered."""
    option = f"{MARKUP} {new_name('option')}"
    session_id = await stage.start(ask(f"{MARKUP} {REVERSED}?", option, LONG))
    card = (await open_board()).card(session_id)

    await card.expect_state("waiting_question")
    await card.expect_text("</script><script>alert(2)")
    await expect_only_text(card)
    await card.article.get_by_role("radio", name=option).check()
    await card.press("Answer")

    await card.expect_state("completed")


@in_browser
async def test_a_diff_is_text(open_board: OpenBoard, stage: Stage) -> None:
    """Its paths and its lines, both ways."""
    name = f"<b onclick='alert(3)'> ü\t{new_name('file')}"
    report = await stage.run_in_worktree({name: f"{MARKUP}\n{REVERSED}\n{ANSI}\n{LONG}\n@@ -1 +1 @@\n--- a\n+++ b\n"})
    card = (await open_board()).card(report["session_id"])

    await card.open_changes()
    layouts: tuple[Layout, ...] = ("Unified", "Side by side")
    for layout in layouts:
        await card.choose_layout(layout)
        await expect(card.changes).to_contain_text(MARKUP)
        await expect(card.changes).to_contain_text(LONG)
        await expect(card.changes).to_contain_text("+++ b")
        await expect_only_text(card)
    await expect(card.changes.locator("details")).to_have_count(1)
    await expect(card.changes.locator("summary")).to_contain_text("+7")


async def test_no_line_of_a_cut_diff_is_hidden(chromium: Browser, apps_host: AppsHost, stage: Stage) -> None:
    """A file may have lines that look like the note about a cut, and like the header of another file."""
    name = new_name("file")
    stage.commit({name: "…[5 characters omitted]…\n-- a/other\n"})
    report = await stage.run_in_worktree({name: "hidden\n" + "filler\n" * 6_000})

    async with show_board(chromium, apps_host.address(), True) as board:
        card = board.card(report["session_id"])
        await card.open_changes()
        await expect(card.changes).to_contain_text("The server's limit of a result cut this")
        await expect(card.changes.locator("details")).to_have_count(1)
        await card.changes.get_by_role("button", name="Unfold all").click()
        await expect(card.line(name, "hidden")).to_be_visible()


async def send_result(board: BoardPage, content: Mapping[str, Any]) -> None:
    """Send the result of a tool to the board, as its host does."""
    message = {
        "jsonrpc": "2.0",
        "method": "ui/notifications/tool-result",
        "params": {"structuredContent": content},
    }
    await board.page.evaluate("message => frames[0].postMessage(message, '*')", message)


async def test_a_pattern_that_covers_everything_is_named_so(
    chromium: Browser, apps_host: AppsHost, stage: Stage
) -> None:
    """A star alone says little about what Always allows."""
    session_id = (await stage.run("script:text done"))["session_id"]
    request = {"id": "per_1", "kind": "permission", "wants": "edit: a.txt"}
    tasks = [
        {"session_id": f"ses_{number}", "state": "waiting_permission", "pending": [{**request, "always": [pattern]}]}
        for number, pattern in enumerate(["*", "a.*"])
    ]

    async with show_board(chromium, apps_host.address(), True) as board:
        await board.card(session_id).expect_state("completed")
        await send_result(board, {"tasks": tasks})
        await board.card("ses_0").expect_text("Always allows *, which is all of this kind, in every session")
        await board.card("ses_1").expect_text("Always allows a.* in every session")


async def test_a_task_that_cannot_be_drawn_hides_no_other(chromium: Browser, apps_host: AppsHost, stage: Stage) -> None:
    """The page says that there is one."""
    tasks = [{"session_id": "ses_1", "cost": "much"}, {"session_id": "ses_2", "state": 5}, {"session_id": "ses_3"}]
    session_id = (await stage.run("script:text done"))["session_id"]
    address = apps_host.address("report_task", {"session_id": session_id}, server_tools=False)

    async with show_board(chromium, address, True) as board:
        await board.card(session_id).expect_state("completed")
        await send_result(board, {"tasks": [*tasks, {"session_id": "ses_4", "state": "running"}]})
        await board.card("ses_4").expect_state("running")
        await expect(board.root.get_by_text("A task cannot be shown")).to_be_visible()
        await expect(board.card("ses_1").article).to_have_count(0)


async def test_a_control_that_slides_under_a_resting_pointer_is_not_pressed(
    open_board: OpenBoard, stage: Stage
) -> None:
    """A click was meant for what was there before. After a move it is meant."""
    session_id = (await stage.run("script:text done"))["session_id"]
    board = await open_board()
    card, mouse = board.card(session_id), board.page.mouse
    await card.expect_state("completed")
    await expect(board.connection).to_have_text("Connected")
    await board.page.clock.install()
    await board.page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))  # 400 ms are short for a busy machine
    await card.button("Changes").scroll_into_view_if_needed()
    box = await card.button("Changes").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    await mouse.move(x, y - 40)
    await board.page.clock.fast_forward(100)
    await card.article.evaluate("article => { article.style.marginTop = '-40px' }")
    await mouse.down()
    await mouse.up()
    await expect(card.changes).to_have_count(0)
    await mouse.move(x + 1, y - 40)
    await mouse.down()
    await mouse.up()

    await expect(card.changes).to_be_visible()


@in_client
async def test_an_answer_is_text(open_board: OpenBoard, stage: Stage) -> None:
    """In the report, and in the transcript."""
    answer = f"{MARKUP} {REVERSED} {ANSI}"
    session_id = (await stage.run(f"script:say {quote(answer)}"))["session_id"]
    card = (await open_board()).card(session_id)

    for name, panel in (("Report", card.report), ("Transcript", card.transcript)):
        await card.press(name)
        await expect(panel).to_contain_text("</script><script>alert(2)")
        await expect_only_text(card)
