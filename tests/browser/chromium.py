"""Chromium of the distribution, without a window."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, ViewportSize, async_playwright, expect

PATIENCE_MS = 60_000
"""How long a page may take for what it is to show: after an error it tries again within 30 s."""


class MissingChromium(Exception):
    """Chromium is not installed."""


@asynccontextmanager
async def run_chromium() -> AsyncGenerator[Browser]:
    """Run Chromium while the block lasts.

    Raises:
        MissingChromium: the distribution's package is not installed.
    """
    executable = shutil.which("chromium")
    if executable is None:
        raise MissingChromium("no chromium on PATH: install the distribution's package (apt-get install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class PageErrors:
    """What went wrong in a page: exceptions, what its policy blocked, dialogs of scripts, requests to other hosts."""

    lines: list[str] = field(default_factory=list[str])

    def on_error(self, error: Any) -> None:
        """Note an exception that a script has not caught."""
        self.lines.append(f"exception: {error}")

    def on_message(self, message: ConsoleMessage) -> None:
        """Note an error that the browser has reported, such as a violation of the policy."""
        if message.type == "error":
            self.lines.append(f"console: {message.text}")


@asynccontextmanager
async def open_page(browser: Browser, **options: Any) -> AsyncGenerator[tuple[Page, PageErrors]]:
    """Open a page with storage of its own; `options` are those of `Browser.new_context`."""
    options.setdefault("viewport", ViewportSize(width=1200, height=900))
    options.setdefault("reduced_motion", "reduce")  # an animation costs a core without a graphics card
    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    errors = PageErrors()
    context.on("weberror", lambda error: errors.on_error(error.error))
    context.on("console", errors.on_message)
    context.on("dialog", lambda dialog: errors.on_error(f"a script opened a dialog: {dialog.message}"))
    try:
        yield await context.new_page(), errors
    finally:
        await context.close()
