"""The board in the browser: its token, its server, and the OpenCode behind it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from examples.scripted_model import ScriptedModel
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.managed import managed_server
from tests.bridge import kill_opencode
from tests.conftest import make_environ
from tests.eventually import eventually

from .board_page import expect_no_actions, show_board
from .board_process import BoardProcess, run_board
from .chromium import open_page
from .stage import Stage, bash, open_stage

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


async def test_a_reload_keeps_the_session(chromium: Browser, board_process: BoardProcess, stage: Stage) -> None:
    """The token is used up, and not in the address any more."""
    session_id = (await stage.run("script:text done"))["session_id"]
    address = await board_process.next_address()

    async with show_board(chromium, address, False) as board:
        await board.card(session_id).expect_state("completed")
        assert board.page.url == address.partition("#")[0]
        await board.page.reload()
        await board.card(session_id).expect_state("completed")


async def test_an_address_opens_the_board_once(chromium: Browser, board_process: BoardProcess, stage: Stage) -> None:
    """A second page says so, and has nothing of the project, until it gets an address of its own."""
    session_id = (await stage.run("script:text done"))["session_id"]
    address = await board_process.next_address()

    async with show_board(chromium, address, False) as board:
        await board.card(session_id).expect_state("completed")
        async with open_page(chromium) as (page, _):
            await page.goto(address)
            await expect(page.locator("body")).to_contain_text("This address was used already")
            await expect(page.locator("article")).to_have_count(0)
            await page.goto(await board_process.next_address())
            await expect(page.locator(f'article[data-session="{session_id}"]')).to_be_visible()


async def test_a_page_without_a_token_shows_nothing(
    chromium: Browser, board_process: BoardProcess, stage: Stage
) -> None:
    """As another person of the machine would open it."""
    await stage.run("script:text done")
    address = (await board_process.next_address()).partition("#")[0]

    async with open_page(chromium) as (page, _):
        await page.goto(address)
        await expect(page.locator("body")).to_contain_text("Press Enter")
        await expect(page.locator("article")).to_have_count(0)


@pytest.fixture
def own_process(stage: Stage) -> Generator[BoardProcess]:
    """A board that the test ends."""
    with run_board(stage.environ, stage.settings) as process:
        yield process


async def test_the_page_says_when_the_board_has_ended(
    chromium: Browser, own_process: BoardProcess, stage: Stage
) -> None:
    """It keeps what it has, and the command ends at once although a page listens to it."""
    session_id = (await stage.run("script:text done"))["session_id"]

    async with open_page(chromium) as (page, errors):
        await page.goto(await own_process.next_address())
        card = page.locator(f'article[data-session="{session_id}"]')
        await expect(card).to_be_visible()
        await expect(page.get_by_role("status").first).to_have_text("Connected")
        await own_process.terminal.interrupt()
        assert await own_process.terminal.wait() == 0
        await expect(page.get_by_role("status").first).to_contain_text(re.compile("disconnected|ended", re.IGNORECASE))
        await expect(card).to_be_visible()
        assert [line for line in errors.lines if "ERR_CONNECTION_REFUSED" not in line] == []


async def test_a_board_that_only_reads_shows_no_actions(chromium: Browser, stage: Stage) -> None:
    """What waits is shown all the same."""
    session_id = await stage.start(bash("make install"))

    with run_board(stage.environ, stage.settings, "--read-only") as process:
        async with show_board(chromium, await process.next_address(), False) as board:
            card = board.card(session_id)
            await card.expect_state("waiting_permission")
            await card.expect_text("make install")
            await expect_no_actions(board)


async def test_the_page_says_when_the_board_does_not_answer(
    chromium: Browser, board_process: BoardProcess, stage: Stage
) -> None:
    """Although its connection is open, and no task works. It goes on trying."""
    session_id = (await stage.run("script:text done"))["session_id"]

    async with open_page(chromium) as (page, _):
        await page.clock.install()
        await page.goto(await board_process.next_address())
        await expect(page.locator(f'article[data-session="{session_id}"]')).to_be_visible()
        status = page.get_by_role("status").first
        await expect(status).to_have_text("Connected")
        await page.route("**/mcp", lambda route: None)

        async def says_so() -> bool:
            await page.clock.fast_forward(30_000)
            return "Not refreshed: the server does not answer. Shown as of" in await status.inner_text()

        await eventually(says_so)
        await page.unroute_all()
        await page.clock.fast_forward(30_000)  # ends the request that was not answered, and sends the next
        await expect(status).to_have_text("Connected")


@pytest.fixture
async def mortal_stage(
    program: Program, model: ScriptedModel, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Stage]:
    """A project on an OpenCode that the test may kill."""
    folder: Path = tmp_path_factory.mktemp("mortal")
    environ = make_environ(program, model, folder)
    async with (
        managed_server(program.command, str(folder), environ) as server,
        open_stage(folder / "project", environ, await server.endpoint(), catalog) as stage,
    ):
        yield stage


async def test_the_page_says_when_opencode_is_gone(chromium: Browser, mortal_stage: Stage) -> None:
    """It keeps what it has, and marks it as old."""
    session_id = await mortal_stage.start(bash("make install"))

    with run_board(mortal_stage.environ, mortal_stage.settings) as process:
        async with open_page(chromium) as (page, _):
            await page.goto(await process.next_address())
            card = page.locator(f'article[data-session="{session_id}"]')
            await expect(card).to_have_attribute("data-state", "waiting_permission")
            kill_opencode(f"HOME={mortal_stage.environ['HOME']}")
            await expect(page.get_by_text(re.compile("OpenCode at .* is not reachable")).first).to_be_visible()
            await expect(card).to_be_visible()
