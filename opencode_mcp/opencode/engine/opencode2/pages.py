"""Read the responses of OpenCode 2: the value is in `data`, lists come in pages, newest first."""

from __future__ import annotations

from typing import Any, TypeVar

from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.engine.optional import optional
from opencode_mcp.opencode.models import Model, parse_model

T = TypeVar("T")

PAGE_SIZE = 200
"""The most that OpenCode returns at once."""


class Data(Model):
    """A response with its value."""

    data: Any


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


async def read_pages(
    opencode: OpenCodeClient, name: str, limit: int | None = None, **arguments: Any
) -> list[dict[str, Any]]:
    """Return the newest entries of a list, or all of them, newest first."""
    entries: list[dict[str, Any]] = []
    cursor: str | None = None
    while limit is None or len(entries) < limit:
        size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(entries))
        page = await opencode.call_as(Page, name, **arguments, limit=size, **optional(cursor=cursor))
        entries += page.data
        cursor = page.cursor.next
        if len(page.data) < size or cursor is None:
            break
    return entries
