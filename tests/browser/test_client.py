"""The board in a client with MCP Apps: what the client decides."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from tests.eventually import eventually

from .apps_host import AppsHost, run_apps_host
from .board_page import expect_no_actions, show_board
from .stage import Stage, bash, new_name, open_stage

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


@pytest.mark.parametrize("tool", ["report_task", "wait_for_tasks"])
async def test_a_client_that_calls_no_tools_for_apps_shows_the_report(
    chromium: Browser, apps_host: AppsHost, stage: Stage, tool: str
) -> None:
    """The task of the result, without anything to press."""
    session_id = await stage.start(bash(f"true {new_name('static')}"))
    report = await stage.wait(session_id)
    arguments = (
        {"session_id": session_id} if tool == "report_task" else {"session_ids": [session_id], "timeout_seconds": 0}
    )

    async with show_board(chromium, apps_host.address(tool, arguments, server_tools=False), True) as board:
        card = board.card(session_id)
        await card.expect_state("waiting_permission")
        await card.expect_text(report["pending"][0]["wants"].removeprefix("bash: "))
        await expect_no_actions(board)

    assert [call for call in apps_host.calls if session_id in str(call)] == []


async def test_the_result_of_the_call_is_drawn_at_once_and_then_the_project(
    chromium: Browser, apps_host: AppsHost, stage: Stage
) -> None:
    """Also the tasks that the result does not name."""
    first, second = [(await stage.run("script:text done"))["session_id"] for _ in range(2)]

    async with show_board(chromium, apps_host.address("report_task", {"session_id": first}), True) as board:
        await board.card(first).expect_state("completed")
        await board.card(second).expect_state("completed")


async def test_the_theme_follows_the_client(chromium: Browser, apps_host: AppsHost, stage: Stage) -> None:
    """Also when it changes; colours of the client come before those of the page."""
    await stage.run("script:text done")
    colour = "getComputedStyle(document.body).backgroundColor"
    address = apps_host.address(variables={"--color-background-primary": "light-dark(rgb(1, 2, 3), rgb(4, 5, 6))"})

    async with show_board(chromium, address, True) as board:
        await expect(board.cards().first).to_be_visible()
        assert await board.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
        assert await board.evaluate(colour) == "rgb(1, 2, 3)"
        await board.page.evaluate("setTheme('dark')")
        await expect(board.root.locator("html")).to_have_css("color-scheme", "dark")
        assert await board.evaluate(colour) == "rgb(4, 5, 6)"


async def test_the_page_ends_when_the_client_asks(chromium: Browser, apps_host: AppsHost, stage: Stage) -> None:
    """It answers, so that the client need not wait."""
    await stage.run("script:text done")

    async with show_board(chromium, apps_host.address(), True) as board:
        await expect(board.cards().first).to_be_visible()
        assert await board.page.evaluate("tearDown()")


async def test_the_tool_of_the_board_is_for_apps_only(apps_host: AppsHost) -> None:
    """A client keeps it from the model; those that the page calls are for both."""
    assert (await apps_host.find_tool_settings("list_tasks"))["visibility"] == ["app"]
    for tool in ("report_task", "collect_changes", "answer_permission", "stop_task"):
        assert "app" in (await apps_host.find_tool_settings(tool)).get("visibility", ["model", "app"])


async def test_nothing_can_be_changed_when_the_server_only_reads(
    chromium: Browser, stage: Stage, session_endpoint: Endpoint, catalog: Catalog, tmp_path: Path
) -> None:
    """What waits, the transcript and the changes are shown all the same."""
    name = new_name("made")
    async with (
        open_stage(tmp_path / "project", stage.environ, session_endpoint, catalog) as writer,
        open_stage(tmp_path / "project", stage.environ, session_endpoint, catalog, read_only=True) as reader,
        run_apps_host(reader.client) as host,
        show_board(chromium, host.address(), True) as board,
    ):
        waiting = await writer.start(bash("make install"))
        finished = await writer.run_in_worktree({name: "text\n"})
        card = board.card(finished["session_id"])
        await board.card(waiting).expect_state("waiting_permission")
        await board.card(waiting).expect_text("make install")
        await card.expect_state("completed")
        await expect_no_actions(board)
        await card.open_changes()
        await expect(card.changes).to_contain_text(name)
        await card.press("Transcript")
        await expect(card.transcript).to_contain_text("script:text done")


async def test_the_page_says_when_the_client_does_not_answer(
    chromium: Browser, apps_host: AppsHost, stage: Stage
) -> None:
    """It goes on trying."""
    session_id = (await stage.run("script:text done"))["session_id"]

    async with show_board(chromium, "about:blank", True) as board:
        await board.page.clock.install()
        await board.page.goto(apps_host.address())
        await expect(board.card(session_id).article).to_be_visible()
        await expect(board.connection).to_have_text("Connected")
        await board.page.route("**/call", lambda route: None)

        async def says_so() -> bool:
            await board.page.clock.fast_forward(60_000)
            return "Not refreshed: the client does not answer." in await board.connection.inner_text()

        await eventually(says_so)
        await board.page.unroute_all()
        await board.page.clock.fast_forward(60_000)  # ends the call that was not answered
        await board.page.clock.fast_forward(30_000)  # sends the next
        await expect(board.connection).to_have_text("Connected")


async def test_a_client_that_only_shows_a_failed_call_says_that_there_is_nothing(
    chromium: Browser, apps_host: AppsHost
) -> None:
    """It loads nothing."""
    address = apps_host.address("report_task", {"session_id": "ses_none"}, server_tools=False)

    async with show_board(chromium, address, True) as board:
        await expect(board.root.get_by_text("Nothing is reported yet.")).to_be_visible()
