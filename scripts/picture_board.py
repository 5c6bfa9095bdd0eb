# pyright: basic, reportMissingTypeStubs=false, reportMissingImports=false
"""Take docs/board-light.png, board-dark.png and board-narrow.png: the board of a real OpenCode with a scripted model.

It needs chromium of the distribution.

python scripts/picture_board.py
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from playwright.async_api import Browser, ViewportSize, expect

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from examples import scripted_model  # noqa: E402 - the repository is not installed
from opencode_mcp.catalog import Catalog  # noqa: E402
from opencode_mcp.opencode.endpoint import ignore_progress  # noqa: E402
from opencode_mcp.opencode.process.install import cache_folder, find_program  # noqa: E402
from opencode_mcp.opencode.process.managed import managed_server  # noqa: E402
from scripts import shop_tasks as shop  # noqa: E402
from tests.browser.board_page import BoardPage, show_board  # noqa: E402
from tests.browser.board_process import BoardProcess, run_board  # noqa: E402
from tests.browser.chromium import run_chromium  # noqa: E402
from tests.browser.stage import Stage, open_stage  # noqa: E402
from tests.conftest import make_environ  # noqa: E402

DOCS = ROOT / "docs"
WIDE = ViewportSize(width=1180, height=1000)
NARROW = ViewportSize(width=390, height=780)
SCALE = {"light": 1.5, "dark": 1.5, "narrow": 2}


@asynccontextmanager
async def open_shop(folder: Path) -> AsyncGenerator[Stage]:
    """Start an OpenCode, and open a project with its first commits."""
    program = await find_program((), cache_folder(os.environ), os.environ, ignore_progress)
    async with scripted_model.scripted_model() as model:
        environ = make_environ(program, model, folder)
        environ = {**environ, "OPENCODE_CONFIG_CONTENT": json.dumps(shop.provider_config(model.url))}
        async with (
            managed_server(program.command, str(folder), environ) as server,
            open_stage(
                folder / "shop", environ, await server.endpoint(), Catalog.from_snapshot(), shop.CONFIG
            ) as stage,
        ):
            stage.commit(shop.FILES)
            yield stage


async def take(board: BoardPage, name: str) -> None:
    """Save what the window shows, without what moves."""
    await board.page.evaluate("document.fonts.ready")
    await board.page.mouse.move(0, 0)
    await board.page.screenshot(path=DOCS / f"board-{name}.png", animations="disabled", caret="hide")


async def take_light(browser: Browser, process: BoardProcess, tasks: shop.Tasks) -> None:
    """The list with what waits and what runs, and the changes of a task."""
    options = {"color_scheme": "light", "viewport": WIDE, "device_scale_factor": SCALE["light"]}
    async with show_board(browser, await process.next_address(), False, **options) as board:
        card = board.card(tasks.rounding)
        await card.expect_state("completed")
        await card.open_changes()
        await card.choose_layout("Side by side")
        await expect(card.line("shop/prices.py", "def round_price(amount: Decimal) -> Decimal:").first).to_be_visible()
        await board.evaluate("scrollTo(0, 0)")
        await take(board, "light")


async def take_dark(browser: Browser, process: BoardProcess, tasks: shop.Tasks) -> None:
    """The comparison of two answers."""
    options = {"color_scheme": "dark", "viewport": WIDE, "device_scale_factor": SCALE["dark"]}
    async with show_board(browser, await process.next_address(), False, **options) as board:
        card = board.card(tasks.answers[-1])
        await card.press("Compare answers")
        await expect(card.answers).to_contain_text(shop.MODELS[1])
        await board.evaluate("scrollTo(0, 0)")
        await take(board, "dark")


async def take_narrow(browser: Browser, process: BoardProcess, tasks: shop.Tasks) -> None:
    """What waits, beside another window."""
    options = {"color_scheme": "light", "viewport": NARROW, "device_scale_factor": SCALE["narrow"]}
    async with show_board(browser, await process.next_address(), False, **options) as board:
        await board.card(tasks.release).expect_state("waiting_permission")
        await board.card(tasks.settings).expect_state("waiting_question")
        await take(board, "narrow")


async def main() -> None:
    """Take all pictures."""
    with TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as name:
        async with open_shop(Path(name)) as stage, run_chromium() as browser:
            tasks = await shop.start_tasks(stage)
            with run_board(stage.environ, stage.settings) as process:
                await take_light(browser, process, tasks)
                await take_dark(browser, process, tasks)
                await take_narrow(browser, process, tasks)


if __name__ == "__main__":
    anyio.run(main)
