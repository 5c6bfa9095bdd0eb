"""Read the responses of OpenCode 2: the value is in `data`, lists come in pages, newest first."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.engine.optional import optional
from opencode_mcp.opencode.models import Model, parse_model

T = TypeVar("T")

PAGE_SIZE = 200
"""The most that OpenCode returns at once."""


class Data(Model):
    """A response with its value."""

    data: Any = None


class Cursor(Model):
    """Where the next page begins."""

    next: str | None = None


class Page(Model):
    """A page of a list. 2.0.8 has a `next` on the last page too; the page after it is empty."""

    data: list[dict[str, Any]]
    cursor: Cursor = Cursor()


async def read_data(opencode: OpenCodeClient, kind: type[T], name: str, **arguments: Any) -> T:
    """Execute an operation, and parse the `data` of its response."""
    response = await opencode.call_as(Data, name, **arguments)
    return parse_model(f"the response of {name}", kind, response.data)


async def iter_pages(
    opencode: OpenCodeClient, name: str, size: int = PAGE_SIZE, **arguments: Any
) -> AsyncGenerator[list[dict[str, Any]]]:
    """Yield the pages of a list, newest first: the first one has `size` entries, the others as many as possible."""
    cursor: str | None = None
    while True:
        page = await opencode.call_as(Page, name, **arguments, limit=size, **optional(cursor=cursor))
        yield page.data
        cursor = page.cursor.next
        if len(page.data) < size or cursor is None:
            return
        size = PAGE_SIZE


async def read_pages(
    opencode: OpenCodeClient, name: str, limit: int | None = None, **arguments: Any
) -> list[dict[str, Any]]:
    """Return the newest entries of a list, or all of them, newest first."""
    entries: list[dict[str, Any]] = []
    async with aclosing(iter_pages(opencode, name, min(PAGE_SIZE, limit or PAGE_SIZE), **arguments)) as pages:
        async for page in pages:
            entries += page
            if limit is not None and len(entries) >= limit:
                break
    return entries[:limit]
