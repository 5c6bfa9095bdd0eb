"""What the board shows while a call is on its way and something else happens. Its tools are answered by the tests."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from playwright.async_api import Browser, Page, Route, expect

from opencode_mcp.tasks import TASK_TOOLS

from .board_page import BoardPage, show_board
from .board_process import BoardProcess

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

Arguments = dict[str, Any]
Content = Mapping[str, Any] | str | None
"""What a tool returns: the content of its result, or the text of an error. None: it does not answer."""

Answer = Callable[[Arguments], Awaitable[Content]]
PERMISSION: Mapping[str, Any] = {
    "id": "per_1",
    "kind": "permission",
    "wants": "bash: make install",
    "answer_with": {"arguments": {}},
}


async def answer_tools(page: Page, **answers: Answer) -> None:
    """Answer calls of tools in the place of the server."""

    async def answer(route: Route) -> None:
        message = json.loads(route.request.post_data or "{}")
        params = message.get("params", {})
        if params.get("name") not in answers:
            await route.continue_()
            return
        content = await answers[params["name"]](params["arguments"])
        if content is None:
            return
        result: Any = {"resultType": "complete", "content": []}
        if isinstance(content, str):
            result |= {"isError": True, "content": [{"type": "text", "text": content}]}
        else:
            result |= {"structuredContent": content}
        await route.fulfill(json={"jsonrpc": "2.0", "id": message["id"], "result": result})

    await page.route("**/mcp", answer)


def row(number: int = 0, state: str = "idle", **facts: Any) -> dict[str, Any]:
    """Return a row of `list_tasks`."""
    return {"session_id": f"ses_{number}", "title": f"task {number}", "state": state, "updated": number + 1, **facts}


def task_list(rows: Sequence[Any], arguments: Arguments, **facts: Any) -> dict[str, Any]:
    """Return the result of `list_tasks`: all rows as changed, or a page of 20."""
    offset = arguments.get("offset", 0)
    shown = rows if "since" in arguments else rows[offset : offset + 20]
    return {"tasks": [*shown], "total": len(rows), "project": "/project", "tools": [*TASK_TOOLS], **facts}


async def refresh(board: BoardPage) -> None:
    """Let the page read the list again, as when its tab is shown."""
    await board.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


OpenWith = Callable[..., AbstractAsyncContextManager[BoardPage]]


@pytest.fixture
def open_with(chromium: Browser, board_process: BoardProcess) -> OpenWith:
    """Open the board; keyword arguments answer the tools of these names."""

    @asynccontextmanager
    async def open_board(**answers: Answer) -> AsyncGenerator[BoardPage]:
        async with show_board(chromium, "about:blank", False) as board:
            await board.page.clock.install()
            await answer_tools(board.page, **answers)
            await board.page.goto(await board_process.next_address())
            yield board

    return open_board


async def test_a_list_that_is_not_complete_says_so(open_with: OpenWith) -> None:
    """While its second page is loaded, and where that is not answered."""
    rows = [row(number) for number in range(22)]
    is_frozen = True

    async def list_tasks(arguments: Arguments) -> Content:
        return None if is_frozen and arguments.get("offset") else task_list(rows, arguments)

    async with open_with(list_tasks=list_tasks) as board:
        await expect(board.card("ses_0").article).to_be_visible()
        await expect(board.connection).to_have_text("Loading…")
        await board.page.clock.fast_forward(20_000)
        await expect(board.connection).to_have_text(
            "Not refreshed: the server does not answer. Some tasks are missing."
        )
        is_frozen = False
        await board.page.clock.fast_forward(30_000)
        await expect(board.connection).to_have_text("Connected")
        await expect(board.cards()).to_have_count(22)


async def test_a_task_that_is_deleted_between_two_pages_hides_no_other(open_with: OpenWith) -> None:
    """The pages behind it move up by one, so the list is loaded again."""
    rows = [row(number) for number in range(22)]
    asked = list[int]()

    async def list_tasks(arguments: Arguments) -> Content:
        asked.append(arguments.get("offset", 0))
        left = rows[1:] if asked[1:] else rows
        return task_list(left, arguments) | ({"tasks": []} if "since" in arguments else {})

    async with open_with(list_tasks=list_tasks) as board:
        await expect(board.card("ses_20").article).to_be_visible()
        await expect(board.card("ses_0").article).to_have_count(0)
    assert asked[:2] == [0, 20]


async def test_a_server_that_does_not_answer_takes_no_task_away(open_with: OpenWith) -> None:
    """One of several, or for one task: what was typed into its card stays, and is there when it answers again."""
    waiting = row(1, "waiting_permission", pending=[PERMISSION])
    rows, facts = [row(0), waiting], dict[str, Any]()

    async def list_tasks(arguments: Arguments) -> Content:
        return task_list(rows, arguments, **facts)

    async with open_with(list_tasks=list_tasks) as board:
        reason = board.card("ses_1").textbox("Message with a rejection")
        await reason.fill("not now")
        for rows, facts in (
            ([row(0)], {"problems": ["server two: not reachable"]}),
            ([row(0), row(1, "unknown", pending=[], error="OpenCode answered 500")], {}),
            ([row(0), waiting], {}),
        ):
            problem = (facts.get("problems") or [rows[-1].get("error", "Permission")])[0]
            await refresh(board)
            await expect(board.page.get_by_text(problem)).to_be_visible()
            await expect(reason).to_have_value("not now")
        rows = [row(0)]
        await refresh(board)
        await expect(board.card("ses_1").article).to_have_count(0)


async def test_a_command_that_is_cut_is_not_called_whole(open_with: OpenWith) -> None:
    """Where it is cut by the limit of a command, or that of the result."""
    cut = {**PERMISSION, "wants": f"bash: {'word ' * 800} … (9 more characters)"}
    shortened = {"parts": [{"pointer": "/tasks", "kept": 9, "of": 99, "unit": "characters"}]}
    facts = dict[str, Any]()

    async def list_tasks(arguments: Arguments) -> Content:
        return task_list([row(0, "waiting_permission", pending=[cut])], arguments, **facts)

    async with open_with(list_tasks=list_tasks) as board:
        await board.card("ses_0").expect_text("This is not the whole command.")
    cut, facts = PERMISSION, {"_omitted": shortened}
    async with open_with(list_tasks=list_tasks) as board:
        await board.card("ses_0").expect_text("This is not the whole command.")
    facts = {}
    async with open_with(list_tasks=list_tasks) as board:
        await board.card("ses_0").expect_text("make install")
        await expect(board.card("ses_0").article).not_to_contain_text("This is not the whole command.")


async def test_a_prompt_that_is_sent_is_not_called_an_error_when_its_field_was_closed(open_with: OpenWith) -> None:
    """A person would send it again. What they type meanwhile stays."""
    answered = anyio.Event()

    async def list_tasks(arguments: Arguments) -> Content:
        return task_list([row()], arguments)

    async def start_task(_: Arguments) -> Content:
        await answered.wait()
        return row()

    async with open_with(list_tasks=list_tasks, start_task=start_task) as board:
        card, prompt = board.card("ses_0"), board.card("ses_0").textbox("Follow-up prompt")
        await card.press("Follow up")
        await prompt.fill("first")
        await card.press("Send")
        await expect(prompt).not_to_be_editable()
        await card.press("Follow up")
        await card.press("Follow up")
        await expect(prompt).to_have_value("")
        await prompt.fill("second")
        answered.set()
        await expect(card.status).to_have_text("Sent.")
        await expect(card.alert).to_have_count(0)
        await expect(prompt).to_have_value("second")


async def test_a_prompt_is_kept_until_it_is_sent(open_with: OpenWith) -> None:
    """When its field is closed, and when sending it has failed."""

    async def list_tasks(arguments: Arguments) -> Content:
        return task_list([row()], arguments)

    async def start_task(_: Arguments) -> Content:
        return "OpenCode does not answer"

    async with open_with(list_tasks=list_tasks, start_task=start_task) as board:
        card, prompt = board.card("ses_0"), board.card("ses_0").textbox("Follow-up prompt")
        await card.press("Follow up")
        await prompt.fill("a long prompt")
        await board.page.keyboard.press("Escape")
        await expect(prompt).to_be_hidden()
        await card.press("Follow up")
        await expect(prompt).to_have_value("a long prompt")
        await card.press("Send")
        await expect(card.alert).to_have_text("OpenCode does not answer")
        await expect(prompt).to_be_editable()
        await card.press("Follow up")
        await card.press("Follow up")
        await expect(prompt).to_have_value("a long prompt")


async def test_changes_that_were_read_before_the_task_changed_are_called_old(open_with: OpenWith) -> None:
    """Also where they come after the news."""
    answered, updated = anyio.Event(), 1

    async def list_tasks(arguments: Arguments) -> Content:
        return task_list([row(updated=updated)], arguments)

    async def collect_changes(_: Arguments) -> Content:
        await answered.wait()
        return {"files": [], "patch": "", "additions": 0, "deletions": 0}

    async with open_with(list_tasks=list_tasks, collect_changes=collect_changes) as board:
        card = board.card("ses_0")
        await card.press("Changes")
        await expect(card.changes).to_contain_text("Loading…")
        updated = 2
        await refresh(board)
        old = card.button("Reload: the task has changed")
        await expect(old).to_be_visible()
        answered.set()
        await expect(card.changes).to_contain_text("No changes.")
        await expect(old).to_be_visible()
        await old.click()
        await expect(card.button("Reload")).to_be_visible()


async def test_what_has_happened_is_said_and_not_what_was_pressed(open_with: OpenWith) -> None:
    """A task that had ended before it was stopped, and a request that another client had answered."""
    rows = [row(0, "running"), row(1, "waiting_permission", pending=[PERMISSION])]
    note = "Another client had answered per_1 before."

    async def list_tasks(arguments: Arguments) -> Content:
        return task_list(rows, arguments)

    async def stop_task(_: Arguments) -> Content:
        return row(0, "completed")

    async def answer_permission(_: Arguments) -> Content:
        return row(1, "running", note=note)

    async with open_with(list_tasks=list_tasks, stop_task=stop_task, answer_permission=answer_permission) as board:
        await board.card("ses_0").press("Stop")
        await expect(board.card("ses_0").status).to_have_text("Completed.")
        await board.card("ses_1").press("Reject")
        await expect(board.card("ses_1").status).to_have_text(note)
