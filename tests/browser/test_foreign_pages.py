"""A web page of another origin, which knows the port of the board, and even its tokens, reaches nothing."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import closing
from typing import Any

import httpx2
import pytest
from playwright.async_api import Browser, Page, expect
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from opencode_mcp.cli.browser import redirect_file

from .apps_host import serve
from .board_process import BoardProcess
from .chromium import open_page

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

ATTEMPTS = {
    "read the page": "fetch(board).then(answer => answer.text())",
    "open a session": "fetch(board + 'session', {method: 'POST', body: token}).then(answer => answer.text())",
    "open a session unseen": "fetch(board + 'session', {method: 'POST', body: token, mode: 'no-cors'})",
    "call a tool": """fetch(board + 'mcp', {
        method: 'POST', headers: {authorization: 'Bearer ' + bearer, 'content-type': 'application/json'}, body: '{}',
    })""",
    "load it as a script": """new Promise((load, fail) => document.body.append(Object.assign(
        document.createElement('script'), {src: board, onload: load, onerror: () => fail(new Error('blocked'))})))""",
}
"""What a page tries, each a promise."""


@pytest.fixture
async def foreign_page(chromium: Browser) -> AsyncGenerator[Page]:
    """A page of another port of this machine."""

    async def send_page(_: Request) -> HTMLResponse:
        return HTMLResponse("<!doctype html><title>foreign</title><body>")

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        async with serve([Route("/", send_page)], listener), open_page(chromium) as (page, _):
            await page.goto(f"http://localhost:{listener.getsockname()[1]}/")
            yield page


async def open_session(address: str) -> httpx2.Response:
    """Do what the board's page does with its address."""
    board, _, token = address.partition("#")
    async with httpx2.AsyncClient(timeout=60) as http:
        return await http.post(f"{board}session", content=token, headers={"origin": board.rstrip("/")})


async def attempt(page: Page, script: str, **values: str) -> Any:
    """Return what a script gets, or the name of its error."""
    names = ", ".join(values)
    return await page.evaluate(
        f"({{{names}}}) => ({script}).then(answer => answer?.type === 'opaque' ? 'unseen' : 'done', e => e.name)",
        values,
    )


async def test_a_foreign_page_reaches_nothing(foreign_page: Page, board_process: BoardProcess) -> None:
    """Not with the bearer token, and the one-time token that it knows is not used up."""
    bearer = (await open_session(await board_process.next_address())).text
    address = await board_process.next_address()
    board, _, token = address.partition("#")

    got = {
        name: await attempt(foreign_page, script, board=board, token=token, bearer=bearer)
        for name, script in ATTEMPTS.items()
    }

    assert got == {
        "read the page": "TypeError",
        "open a session": "TypeError",
        "open a session unseen": "TypeError",
        "call a tool": "TypeError",
        "load it as a script": "Error",
    }
    assert (await open_session(address)).status_code == 200


async def test_a_foreign_form_opens_no_session(foreign_page: Page, board_process: BoardProcess) -> None:
    """A form needs no permission to be sent, so its origin decides."""
    address = await board_process.next_address()
    board, _, token = address.partition("#")

    async with foreign_page.expect_navigation() as navigation:
        await foreign_page.evaluate(
            """([action, token]) => {
                const form = document.createElement('form')
                Object.assign(form, {action, method: 'POST', enctype: 'text/plain'})
                form.append(Object.assign(document.createElement('input'), {name: token}))
                document.body.append(form)
                form.submit()
            }""",
            [f"{board}session", token],
        )
    response = await navigation.value

    assert response is not None
    assert response.status == 403
    assert (await open_session(address)).status_code == 200


async def test_a_foreign_page_neither_frames_nor_holds_the_board(
    foreign_page: Page, board_process: BoardProcess
) -> None:
    """It could lead a click to a button that it hides."""
    board = (await board_process.next_address()).partition("#")[0]

    await foreign_page.evaluate(
        "url => document.body.append(Object.assign(document.createElement('iframe'), {src: url}))", board
    )
    frame = foreign_page.frame_locator("iframe")
    await expect(frame.locator("body")).to_contain_text("refused to connect")
    async with foreign_page.context.expect_page() as opened:
        await foreign_page.evaluate("url => { globalThis.other = open(url) }", board)
    await expect((await opened.value).locator("body")).to_contain_text("Press Enter in the terminal")

    await foreign_page.wait_for_function("other.closed")


async def test_the_file_for_the_browser_leads_to_the_board(chromium: Browser, board_process: BoardProcess) -> None:
    """And leaves no token in the address."""
    address = await board_process.next_address()

    with redirect_file(address) as path:
        async with open_page(chromium) as (page, errors):
            await page.goto(path.as_uri())
            await expect(page.get_by_role("status").first).to_contain_text("Connected")
            assert page.url == address.partition("#")[0]
            assert errors.lines == []
