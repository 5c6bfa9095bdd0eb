"""`OpenCode(generation=2)` on the fake: its operations, the pages of its lists, and its events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal

import anyio
import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp import APIError, InvalidArguments, OpenCode

from .client import open_client
from .fake import PASSWORD

pytestmark = pytest.mark.anyio


@pytest.fixture
async def opencode(model: ScriptedModel, tmp_path: Path) -> AsyncGenerator[OpenCode[Literal[2]]]:
    """The library, attached to a fake."""
    async with (
        open_client(model, tmp_path) as client,
        OpenCode(
            url=client.fake.url, password=PASSWORD, directory=client.directory, generation=2, environ={}
        ) as opencode,
    ):
        yield opencode


async def test_a_list_is_iterated_page_by_page(opencode: OpenCode[Literal[2]]) -> None:
    """`order` is that of the first page, and not sent with a cursor; the empty page at the end is not returned."""
    created = [(await opencode.session.create())["data"]["id"] for _ in range(5)]

    pages = [page["data"] async for page in opencode.session.list.pages(limit=2, order="asc")]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [session["id"] for page in pages for session in page] == created


async def test_a_list_without_entries_has_one_page(opencode: OpenCode[Literal[2]]) -> None:
    """An empty one; what follows raises as the call itself does."""
    session = (await opencode.session.create())["data"]

    assert [page["data"] async for page in opencode.session.message.list.pages(sessionID=session["id"])] == [[]]
    with pytest.raises(APIError, match="404"):
        _ = [page async for page in opencode.session.message.list.pages(sessionID="ses_missing")]


async def test_an_operation_without_pages_is_an_error(opencode: OpenCode[Literal[2]]) -> None:
    """What it returns may be all, or not."""
    with pytest.raises(InvalidArguments, match="no pages"):
        _ = [page async for page in opencode.pages("agent_list")]
    with pytest.raises(InvalidArguments, match="nearest: session_list"):
        opencode.pages("session_lists")


async def test_events_arrive(opencode: OpenCode[Literal[2]]) -> None:
    """Those since the block began, each as the frame has it."""
    with anyio.fail_after(60):
        async with opencode.events() as events:
            created = (await opencode.session.create())["data"]
            async for event in events:
                if event["type"] == "session.created":
                    assert event["data"]["sessionID"] == created["id"]
                    break
