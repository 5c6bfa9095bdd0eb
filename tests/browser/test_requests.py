"""What waits for a person is answered on the board, in a client and in the browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from examples.scripted_model import ScriptedModel
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from tests.conftest import Config

from .board_page import show_board
from .conftest import OpenBoard, in_browser, in_client, open_place
from .stage import CONFIG, Stage, ask, bash, bash_chain, call_tool, new_name, open_stage

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

COMMANDS = {"client": "dirname", "browser": "basename"}
"""One that no other test runs, as "Always" holds for all sessions of the project."""


async def test_a_command_runs_once_it_is_approved(open_board: OpenBoard, stage: Stage) -> None:
    """Not before, and the card shows all that follows."""
    made = stage.project / new_name("made")
    session_id = await stage.start(bash(f"touch {made.name}"))
    card = (await open_board()).card(session_id)

    await card.expect_state("waiting_permission")
    await card.expect_text(f"touch {made.name}")
    assert not made.exists()
    await card.press("Approve once")

    await card.expect_state("completed")
    await expect(card.status).to_contain_text("Approved once.")
    assert made.exists()
    await expect(card.button("Approve once")).to_have_count(0)


async def test_always_says_what_it_covers_and_covers_it(open_board: OpenBoard, stage: Stage, place: str) -> None:
    """The task's second command is not asked for, nor that of another task."""
    command = COMMANDS[place]
    session_id = await stage.start(bash_chain(f"{command} first", f"{command} second"))
    card = (await open_board()).card(session_id)

    await card.expect_state("waiting_permission")
    await card.expect_text(f"{command} *")
    await card.expect_text("every session of this project until OpenCode exits")
    await card.press("Always")

    await card.expect_state("completed")
    await expect(card.status).to_contain_text("Approved always.")
    assert (await stage.run(bash(f"{command} third")))["state"] == "completed"


async def test_an_edit_shows_its_diff_before_it_is_approved(
    chromium: Browser, stage: Stage, session_endpoint: Endpoint, catalog: Catalog, tmp_path: Path
) -> None:
    """Line by line, as text."""
    config: Config = {**CONFIG, "permission": {"edit": "ask"}}
    async with (
        open_stage(tmp_path / "project", stage.environ, session_endpoint, catalog, config) as own,
        open_place("browser", own) as address,
        show_board(chromium, address, False) as board,
    ):
        readme = own.project / "README.md"
        before = readme.read_text()
        session_id = await own.start(call_tool("edit", filePath=str(readme), oldString=before, newString="<b>new"))
        card = board.card(session_id)

        await card.expect_state("waiting_permission")
        request = card.article.get_by_role("group", name="Permission")
        await expect(request.locator("details.file .plus")).to_have_text("+<b>new")
        await expect(request.locator("details.file .minus").first).to_have_text(f"-{before.splitlines()[0]}")
        assert readme.read_text() == before
        await card.press("Approve once")

        await card.expect_state("completed")
        assert readme.read_text() == "<b>new"


@in_browser
async def test_the_model_reads_why_a_command_was_rejected(
    open_board: OpenBoard, stage: Stage, model: ScriptedModel
) -> None:
    """It goes on without it."""
    made, reason = stage.project / new_name("made"), f"not {new_name('now')}"
    session_id = await stage.start(bash(f"touch {made.name}"))
    card = (await open_board()).card(session_id)

    await card.textbox("Message with a rejection").fill(reason)
    await card.press("Reject")

    await card.expect_state("completed")
    await expect(card.status).to_contain_text("Rejected.")
    assert not made.exists()
    assert [request for request in model.requests if reason in str(request.messages)] != []


@in_browser
async def test_a_subagents_request_is_on_the_card_of_its_task(open_board: OpenBoard, stage: Stage) -> None:
    """The card names the subagent."""
    made = stage.project / new_name("made")
    session_id = await stage.start(f"script:task {bash(f'touch {made.name}')}")
    card = (await open_board()).card(session_id)

    await card.expect_state("waiting_permission")
    await card.expect_text(re.compile("child"))
    await card.press("Approve once")

    await card.expect_state("completed")
    assert made.exists()


@pytest.mark.parametrize("own", [False, True], ids=["option", "own answer"])
async def test_a_question_is_answered(open_board: OpenBoard, stage: Stage, model: ScriptedModel, own: bool) -> None:
    """The model gets the option, or what the person has written."""
    question, answer = f"Which one for {new_name('question')}?", new_name("Red")
    session_id = await stage.start(ask(question, answer, "Blue"))
    card = (await open_board()).card(session_id)

    await card.expect_state("waiting_question")
    await card.expect_text(question)
    if own:
        answer = new_name("Green")
        await card.textbox("Own answer").fill(answer)
    else:
        await card.article.get_by_role("radio", name=answer).check()
    await card.press("Answer")

    await card.expect_state("completed")
    await expect(card.status).to_contain_text("Answered.")
    results = [message for request in model.requests for message in request.messages if message["role"] == "tool"]
    assert [result for result in results if f'"{answer}"' in str(result) or f"={answer}" in str(result)] != [], results


@in_browser
async def test_a_question_takes_several_answers(open_board: OpenBoard, stage: Stage, model: ScriptedModel) -> None:
    """Those that are ticked."""
    first, second, third = (new_name("Colour") for _ in range(3))
    session_id = await stage.start(ask("Which ones?", first, second, third, multiple=True))
    card = (await open_board()).card(session_id)

    await card.article.get_by_role("checkbox", name=first).check()
    await card.article.get_by_role("checkbox", name=third).check()
    await card.press("Answer")

    await card.expect_state("completed")
    results = [str(message) for request in model.requests for message in request.messages if message["role"] == "tool"]
    assert [result for result in results if f"{first}, {third}" in result] != [], results


@in_client
async def test_a_dismissed_question_ends_the_turn(open_board: OpenBoard, stage: Stage) -> None:
    """OpenCode asks the model for nothing more."""
    session_id = await stage.start(ask("Which one?", "Red", "Blue"))
    card = (await open_board()).card(session_id)

    await card.press("Dismiss")

    await card.expect_state("stopped")
    await expect(card.status).to_contain_text("Dismissed.")
    await expect(card.button("Answer")).to_have_count(0)


@in_browser
async def test_a_request_that_is_answered_elsewhere_leaves_the_board(open_board: OpenBoard, stage: Stage) -> None:
    """Without a reload."""
    session_id = await stage.start(bash("true elsewhere"))
    card = (await open_board()).card(session_id)
    await expect(card.button("Approve once")).to_be_visible()

    request = (await stage.wait(session_id))["pending"][0]
    await stage.call("answer_permission", request_id=request["id"], session_id=session_id, reply="once")

    await card.expect_state("completed")
    await expect(card.button("Approve once")).to_have_count(0)
