"""Events about tasks: what they hold of a task, in which texts come from a model."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient, ServerPool
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.models import Message, PermissionRequest, Session, parse_model
from opencode_mcp.redaction import Redactor
from opencode_mcp.tasks import Context
from opencode_mcp.tasks.notify import LINE_CHARS, TEXT_CHARS, read_event
from opencode_mcp.tasks.session_state import SessionSnapshot, TaskStatus
from opencode_mcp.tasks.task_event import TaskEvent
from opencode_mcp.tasks.wait import Outcome

pytestmark = pytest.mark.anyio

SECRET = "sk-Zx81hQ-two words-Kp03vT"
SESSION = {
    "id": "ses_1",
    "directory": f"/{SECRET}",
    "title": f"Say {SECRET}\n\u202eagain",
    "cost": 0.25,
    "time": {"created": 1000},
}


def make_reply(text: str) -> Message:
    """Return a model's reply."""
    info = {"id": "msg_2", "parentID": "msg_1", "role": "assistant", "time": {"created": 1000, "completed": 3500}}
    return parse_model("a reply", Message, {"info": info, "parts": [{"id": "prt_1", "type": "text", "text": text}]})


async def read_event_of(catalog: Catalog, status: TaskStatus, text: str, *requests: PermissionRequest) -> TaskEvent:
    """Return the event of a session with this status, whose newest reply is a text."""
    session = parse_model("a session", Session, SESSION)
    snapshot = SessionSnapshot(session, (session.id,), {}, requests, make_reply(text))
    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test")))

    def answer(request: httpx2.Request) -> httpx2.Response:
        content: Any = [] if request.url.path.endswith("/message") else SESSION
        return httpx2.Response(200, json=content)

    async with OpenCodeClient(server, catalog, transport=httpx2.MockTransport(answer)) as opencode:
        context = Context(ServerPool({"": opencode}), ignore_progress, redactor=Redactor([SECRET]))
        return await read_event(context, Outcome(snapshot, status))


@pytest.mark.parametrize("offset", range(0, len(SECRET) + 2, 3))
async def test_an_event_has_the_end_of_a_long_answer_without_secrets(catalog: Catalog, offset: int) -> None:
    """Also where the answer is cut within a secret."""
    answer = f"begin {SECRET}{'.' * (TEXT_CHARS - offset)} end"
    event = await read_event_of(catalog, TaskStatus("completed"), answer)

    assert event.answer is not None
    assert event.answer.endswith(". end")
    assert len(event.answer) <= TEXT_CHARS + 1
    for part in (SECRET, "Zx81hQ", "Kp03vT"):
        assert part not in event.answer + event.title + event.message
    assert event.title == "Say [redacted:opencode-mcp] <U+202E>again"
    assert (event.directory, event.cost, event.elapsed_seconds) == (f"/{SECRET}", 0.25, 2.5)


async def test_an_event_says_in_one_line_what_matters(catalog: Catalog) -> None:
    """The error before the answer."""
    words = "a line\nand more " * 100
    failed = await read_event_of(catalog, TaskStatus("failed", error=f"It failed:\n{SECRET}"), words)
    completed = await read_event_of(catalog, TaskStatus("completed"), words)

    assert failed.message == "It failed: [redacted:opencode-mcp]"
    assert completed.message.endswith("a line and more")
    assert len(completed.message) <= LINE_CHARS + 2


async def test_a_text_without_spaces_is_cut_as_well(catalog: Catalog) -> None:
    """As in languages that have none."""
    event = await read_event_of(catalog, TaskStatus("completed"), "\u5b8c" * 5000)

    assert event.answer == "…" + "\u5b8c" * TEXT_CHARS
    assert event.message.count("\u5b8c") == LINE_CHARS - 1


async def test_an_event_of_a_task_that_waits_has_what_it_waits_for(catalog: Catalog) -> None:
    """It has no answer yet: the newest text is not its end."""
    fields = {"id": "per_1", "sessionID": "ses_1", "permission": "bash", "patterns": [f"echo {SECRET}"], "always": []}
    request = parse_model("a request", PermissionRequest, {**fields, "metadata": {}})
    event = await read_event_of(catalog, TaskStatus("waiting_permission"), "so far", request)

    wants = "bash: echo [redacted:opencode-mcp]"
    assert [(waiting.kind, waiting.wants) for waiting in event.pending] == [("permission", wants)]
    assert (event.message, event.answer, event.error) == (wants, None, None)
