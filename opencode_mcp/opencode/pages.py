"""The pages of a list, one request after the other; `catalog/amendments.py` says which operations have some."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.amendment import CursorSource
from opencode_mcp.exceptions import InvalidArguments, UnexpectedResponse

from .responses import Answer

Cursor = str | int | float


def header_cursor(answer: Answer) -> Cursor | None:
    """Return the cursor of a list that is the whole body."""
    return answer.fields.get("next_cursor")


def time_cursor(answer: Answer) -> Cursor | None:
    """Return the cursor that is a time in milliseconds, of the last entry."""
    return json.loads(answer.fields.get("next_cursor", "null"))


def body_cursor(answer: Answer) -> Cursor | None:
    """Return the cursor that stands beside the list."""
    return answer.value["cursor"].get("next")


def last_sequence(answer: Answer) -> Cursor | None:
    """Return the number of the last event, None where no more follow."""
    return answer.value["data"][-1]["durable"]["seq"] if answer.value["hasMore"] else None


CURSORS: dict[CursorSource, Callable[[Answer], Cursor | None]] = {
    "next_cursor": header_cursor,
    "next_cursor, a time": time_cursor,
    "cursor.next": body_cursor,
    "sequence": last_sequence,
}


async def iterate_pages(
    operation: Operation, arguments: Mapping[str, Any], request: Callable[..., Awaitable[Answer]]
) -> AsyncGenerator[Any]:
    """Yield the value of each page, as the operation returns it. `request` takes the arguments of a call.

    The first page may be empty. A later one that is empty ends the list: some have a cursor on the last page too.

    Raises:
        What `request` raises.
        InvalidArguments: the operation has no pages; what it returns may be all that there is, or not.
        UnexpectedResponse: a page has no cursor where it must, or one that an earlier page had, and would have no end.
    """
    paging, seen = operation.paging, set[Cursor]()
    if paging is None:
        raise InvalidArguments(operation.name, ["it has no pages: call it once"])
    while True:
        answer = await request(**arguments)
        if seen and is_empty(answer.value):
            return
        yield answer.value
        try:
            cursor = CURSORS[paging.source](answer)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise UnexpectedResponse(f"{operation.name}: a page has no cursor: {error!r}") from error
        if cursor is None:
            return
        if cursor in seen:
            raise UnexpectedResponse(f"{operation.name}: the cursor {cursor!r} came twice")
        seen.add(cursor)
        first = {name: value for name, value in arguments.items() if name not in paging.only_first}
        arguments = {**first, paging.argument: cursor}


def is_empty(page: Any) -> bool:
    """Whether a page, a list or an object with a list as `data`, has no entries."""
    return not (page.get("data") if isinstance(page, dict) else page)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
