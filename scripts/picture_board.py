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
from typing import Any

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
from tests.browser.board_process import run_board  # noqa: E402
from tests.browser.chromium import run_chromium  # noqa: E402
from tests.browser.stage import Stage, open_stage  # noqa: E402
from tests.conftest import make_environ  # noqa: E402

DOCS = ROOT / "docs"
LIGHT = ViewportSize(width=1100, height=880)
DARK = ViewportSize(width=1100, height=720)
NARROW = ViewportSize(width=390, height=780)


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


async def take_light(browser: Browser, address: str, release: str, rounding: str) -> None:
    """A permission that waits, a task that runs, and the changes of one that has ended."""
    async with show_board(browser, address, False, **options("light", LIGHT)) as board:
        await board.card(release).expect_state("waiting_permission")
        card = board.card(rounding)
        await card.open_changes()
        await card.choose_layout("Side by side")
        await expect(card.line("shop/prices.py", "def round_price(amount: Decimal) -> Decimal:").first).to_be_visible()
        await take(board, "light")


async def take_dark(browser: Browser, address: str, answer: str) -> None:
    """The comparison of two answers."""
    async with show_board(browser, address, False, **options("dark", DARK)) as board:
        await board.choose("Done")
        card = board.card(answer)
        await card.press("Compare answers")
        for model in shop.MODELS:
            await expect(card.answers).to_contain_text(model)
        await take(board, "dark")


async def take_narrow(browser: Browser, address: str, release: str, settings: str) -> None:
    """What waits, beside another window."""
    async with show_board(browser, address, False, **options("light", NARROW, scale=2)) as board:
        await board.card(release).expect_state("waiting_permission")
        await board.card(settings).expect_state("waiting_question")
        await take(board, "narrow")


def options(theme: str, viewport: ViewportSize, scale: float = 1.4) -> dict[str, Any]:
    """Return the options of a window; `scale` is the number of pixels of the picture for each of the page."""
    return {"color_scheme": theme, "viewport": viewport, "device_scale_factor": scale}


async def main() -> None:
    """Take all pictures."""
    with TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as name:
        async with open_shop(Path(name)) as stage, run_chromium() as browser:
            answer, rounding = await shop.run_finished_tasks(stage)
            release = await shop.ask_to_release(stage)
            with run_board(stage.environ, stage.settings) as process:
                await take_light(browser, await process.next_address(), release, rounding)
                await take_dark(browser, await process.next_address(), answer)
                settings = await shop.ask_for_prefix(stage)
                await take_narrow(browser, await process.next_address(), release, settings)


if __name__ == "__main__":
    anyio.run(main)
