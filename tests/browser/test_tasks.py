"""Tasks on the board: they come by themselves, are stopped and continued, and show what they do and said."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from .apps_host import AppsHost
from .board_page import show_board
from .conftest import OpenBoard, in_browser, in_client
from .stage import Stage, call_tool, new_name

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

MESSAGES = 40
"""More than a page of a transcript has, less than two."""


async def test_a_task_that_is_started_elsewhere_appears(open_board: OpenBoard, stage: Stage) -> None:
    """And its states follow each other without a reload."""
    board = await open_board()
    await expect(board.connection).to_have_text("Connected")
    file = stage.project / new_name("go")

    session_id = await stage.start(f"script:hold {file}", title := new_name("A held task"))
    card = board.card(session_id)
    await card.expect_state("running")
    await expect(card.article).to_have_attribute("aria-label", title)
    await card.expect_text("scripted/scripted")
    file.touch()

    await card.expect_state("completed")


async def test_a_running_task_is_stopped(open_board: OpenBoard, stage: Stage) -> None:
    """At once."""
    session_id = await stage.start("script:hang")
    card = (await open_board()).card(session_id)

    await card.expect_state("running")
    await card.press("Stop")

    await card.expect_state("stopped")
    await expect(card.button("Stop")).to_have_count(0)
    assert (await stage.call("report_task", session_id=session_id))["state"] == "stopped"


async def test_a_task_goes_on_with_another_prompt(open_board: OpenBoard, stage: Stage) -> None:
    """In the same session."""
    session_id = (await stage.run("script:text first"))["session_id"]
    card = (await open_board()).card(session_id)
    answer = new_name("second")

    await card.press("Follow up")
    await card.textbox("Follow-up prompt").fill(f"script:say {answer}")
    await card.press("Send")

    await expect(card.textbox("Follow-up prompt")).to_be_hidden()
    assert (await stage.wait(session_id))["answer"] == answer
    await card.press("Report")
    await card.expect_text(answer)


@in_browser
async def test_a_prompt_to_a_task_that_works_waits_for_its_turn(open_board: OpenBoard, stage: Stage) -> None:
    """A person needs not wait for the turn, nor stop it."""
    session_id = await stage.start("script:hang")
    card = (await open_board()).card(session_id)

    await card.press("Follow up")
    await card.textbox("Follow-up prompt").fill("script:text second")
    await expect(card.article).to_contain_text("when the turn has ended")
    await card.press("Send")

    await expect(card.status).to_contain_text("queued")
    await card.expect_text("1 prompt queued")
    await card.press("Stop")
    await card.expect_state("stopped", "completed")


@in_client
async def test_the_transcript_has_what_was_said_and_done(open_board: OpenBoard, stage: Stage) -> None:
    """The prompt, the call of a tool and the answer."""
    word = new_name("word")
    session_id = (await stage.run(call_tool("read", filePath="README.md", note=word)))["session_id"]
    card = (await open_board()).card(session_id)

    await card.press("Transcript")

    await expect(card.transcript).to_contain_text(word)
    await expect(card.transcript).to_contain_text(re.compile("read.*README.md", re.DOTALL))
    await expect(card.transcript).to_contain_text("done: tool")


@in_client
async def test_a_failed_task_says_why(open_board: OpenBoard, stage: Stage) -> None:
    """In the card, without another step."""
    session_id = (await stage.run("script:error 400"))["session_id"]
    card = (await open_board()).card(session_id)

    await card.expect_state("failed")
    await card.expect_text("the error that the prompt asked for")


@in_browser
async def test_a_report_has_the_whole_answer(open_board: OpenBoard, stage: Stage) -> None:
    """Which may be long."""
    answer = new_name("answer") + "%20end" * 300
    session_id = (await stage.run(f"script:say {answer}"))["session_id"]
    card = (await open_board()).card(session_id)

    await card.press("Report")

    await card.expect_text(answer.replace("%20", " "))


async def test_earlier_messages_of_a_transcript_are_loaded(
    chromium: Browser, apps_host: AppsHost, stage: Stage
) -> None:
    """Page by page, until the first."""
    session_id = (await stage.call("session_create", title=new_name("Long")))["id"]
    for number in range(MESSAGES):
        parts = [{"type": "text", "text": f"prompt number {number:02}."}]
        await stage.call("session_prompt", sessionID=session_id, parts=parts, noReply=True)

    async with show_board(chromium, apps_host.address(), True) as board:
        card = board.card(session_id)
        await card.press("Transcript")
        await expect(card.transcript).to_contain_text(f"prompt number {MESSAGES - 1:02}.")
        await expect(card.transcript).not_to_contain_text("prompt number 00.")
        await card.transcript.get_by_role("button", name="Earlier").click()
        await expect(card.transcript).to_contain_text("prompt number 00.")
        await expect(card.transcript.get_by_role("button", name="Earlier")).to_be_hidden()
        await expect(card.transcript).to_contain_text(f"prompt number {MESSAGES - 1:02}.")
