"""The events of OpenCode 2 as tasks and subscriptions hear of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.catalog import Catalog
from opencode_mcp.connect import connect
from opencode_mcp.library import OpenCode
from opencode_mcp.openapi.example import make_example
from opencode_mcp.opencode import client as client_module
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.event_readers import READERS
from opencode_mcp.opencode.events import Event, event_session_id
from opencode_mcp.opencode.opencode2_events import TRANSLATIONS, Opencode2Events
from opencode_mcp.server.subscriptions.watcher import WatcherIndex
from opencode_mcp.settings import Settings
from opencode_mcp.tasks.session_watch import BUSY_EVENTS, WAKEUP_EVENTS, SessionWatch, event_parent_id
from tests.contract_server import load_contract
from tests.eventually import eventually
from tests.fake_event_stream import FakeEventStream

from . import fake as fake_module
from .client import FakeClient, open_client
from .fake import PASSWORD
from .store import Json

pytestmark = pytest.mark.anyio

SESSION = "ses_0123456789abcdef"
ERROR: Json = {"type": "provider.internal", "message": "It broke.", "status": 500}
STEP: Json = {"sessionID": SESSION, "assistantMessageID": "msg_2"}


def event_schemas() -> dict[str, Json]:
    """Return the schema of each event of the stream, by its type."""
    definitions = load_contract(2).definitions
    schemas = [definitions[reference["$ref"].rpartition("/")[2]] for reference in definitions["Event"]["anyOf"]]
    return {
        kind: {**schema, "$defs": definitions}
        for schema in schemas
        for kind in schema["properties"]["type"].get("enum", [])
    }


EVENTS = event_schemas()


def read(*frames: Json) -> list[Event]:
    """Return what is read from the frames of one connection."""
    reader = READERS[2]()
    return [event for frame in frames for event in reader(frame)]


def frame(kind: str, **data: Any) -> Json:
    """Return an event of OpenCode 2."""
    return {"id": "evt_1", "created": 1, "type": kind, "data": data}


def test_only_events_of_the_document_are_translated() -> None:
    """A type that is mistyped would never be seen."""
    assert TRANSLATIONS.keys() - EVENTS.keys() == set()


@pytest.mark.parametrize("kind", EVENTS)
async def test_every_event_of_the_document_can_be_heard(kind: str) -> None:
    """As the document describes it, with its required fields only; listeners find the session that it is about."""
    example: Json = make_example(EVENTS[kind], ("data",))
    heard = read({**example, "type": kind})
    assert heard
    watch = SessionWatch({SESSION})
    index = WatcherIndex(FakeEventStream().subscribe)
    about = example.get("data", {}).get("sessionID") or example.get("data", {}).get("form", {}).get("sessionID")
    for event in heard:
        watch.on_event(event)
        index.dispatch(event)
        assert event_session_id(event) == about


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("session.execution.started", {}, ["session.status"]),
        ("session.execution.succeeded", {}, ["session.status", "session.idle"]),
        ("session.execution.failed", {"error": ERROR}, ["session.error", "session.status", "session.idle"]),
        ("session.execution.interrupted", {"reason": "user"}, ["session.error", "session.status", "session.idle"]),
        ("session.inbox.enqueued", {"inboxID": "msg_1"}, ["message.updated"]),
        ("session.inbox.cancelled", {"inboxID": "msg_1"}, ["message.removed"]),
        ("session.shell.ended", {}, ["message.updated", "session.idle"]),
        ("session.retry.scheduled", {"attempt": 1, "at": 2, "error": ERROR}, ["session.status"]),
        ("permission.asked", {"id": "per_1"}, ["permission.asked"]),
        ("permission.replied", {"requestID": "per_1"}, ["permission.replied"]),
        ("form.replied", {"id": "frm_1"}, ["question.replied"]),
        ("form.cancelled", {"id": "frm_1"}, ["question.rejected"]),
        ("session.deleted", {}, ["session.deleted"]),
    ],
)
def test_what_changes_a_turn_is_a_reason_to_read_it(kind: str, data: Json, expected: list[str]) -> None:
    """Of the session that it is about."""
    heard = read(frame(kind, sessionID=SESSION, **data))
    assert [event["type"] for event in heard] == expected
    assert {*expected} & (WAKEUP_EVENTS | BUSY_EVENTS)
    assert {event_session_id(event) for event in heard} == {SESSION}


def test_a_form_and_a_location_that_ends_are_reasons_to_read() -> None:
    """Neither has the session where other events have it."""
    [asked] = read(frame("form.created", form={"id": "frm_1", "sessionID": SESSION, "title": "", "fields": []}))
    [disposed] = read(frame("location.shutdown"))
    assert (asked["type"], event_session_id(asked)) == ("question.asked", SESSION)
    assert (disposed["type"], event_session_id(disposed)) == ("server.instance.disposed", None)


def test_a_subagent_belongs_to_its_parent_and_a_fork_does_not() -> None:
    """Both events have a `parentID`."""
    [child] = read(frame("session.created", sessionID="ses_child", parentID=SESSION))
    [fork] = read(frame("session.forked", sessionID="ses_fork", parentID=SESSION))
    assert [(event_session_id(event), event_parent_id(event)) for event in (child, fork)] == [
        ("ses_child", SESSION),
        ("ses_fork", None),
    ]


async def test_a_failed_turn_has_the_words_of_its_error() -> None:
    """With the status of the provider's response; an interrupt is an abort."""
    watch = SessionWatch({SESSION})
    for failed, words in (
        (frame("session.execution.failed", sessionID=SESSION, error=ERROR), "provider.internal: It broke."),
        (
            frame("session.execution.interrupted", sessionID=SESSION, reason="shutdown"),
            "MessageAbortedError: interrupted (shutdown)",
        ),
    ):
        for event in read(failed):
            watch.on_event(event)
        assert watch.error is not None and watch.error.text == words


def test_the_steps_of_a_reply_are_reported_once_each() -> None:
    """Only the first event of a call has its tool, only the second its arguments."""
    watch = SessionWatch({SESSION})
    call = {**STEP, "id": "call_1"}
    for event in read(
        frame("session.reasoning.started", **STEP, ordinal=0),
        frame("session.reasoning.ended", **STEP, ordinal=0, text="It is a script."),
        frame("session.tool.input.started", **call, name="shell"),
        frame("session.tool.called", **call, input={"command": "ls"}, executed=False),
        frame("session.tool.progress", **call, metadata={"output": "a"}),
        frame("session.tool.success", **call, content=[], executed=False),
        frame("session.tool.progress", **{**call, "id": "call_of_before"}, metadata={}),
        frame("session.text.started", **STEP, ordinal=0),
        frame("session.text.delta", **STEP, ordinal=0, delta="Do"),
        frame("session.text.ended", **STEP, ordinal=0, text="Done."),
    ):
        watch.on_event(event)
    assert watch.steps == [
        "thinking",
        "shell: pending",
        "shell ls: running",
        "shell ls: completed",
        "writing",
        "writing: Done.",
    ]


def test_calls_that_never_end_are_forgotten_with_their_turn() -> None:
    """A process may live for months."""
    events = Opencode2Events()
    frames: Iterator[Json] = iter(
        [
            frame("session.tool.input.started", **STEP, id="call_1", name="shell"),
            frame("session.tool.input.started", **{**STEP, "sessionID": "ses_other"}, id="call_1", name="read"),
            frame("session.execution.interrupted", sessionID=SESSION, reason="user"),
        ]
    )
    for item in frames:
        assert [*events.read(item)]
    assert [*events.calls] == [("ses_other", "call_1")]


def client_settings(client: FakeClient) -> Settings:
    """Return the settings of a bridge that uses a fake."""
    return Settings(url=client.fake.url, password=PASSWORD, directory=str(client.directory), generation="2")


@asynccontextmanager
async def open_feed(client: FakeClient) -> AsyncGenerator[list[Event]]:
    """Listen to a fake's events, from when the stream is open on."""
    heard: list[Event] = []
    async with connect(client_settings(client), Catalog.from_snapshot(2)) as servers:
        with servers.default.events.subscribe(heard.append):
            await eventually(lambda: heard, lambda found: any(event["type"] == "stream.ready" for event in found))
            yield heard


async def test_a_turn_is_heard(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """From its prompt to its end, with its steps."""
    async with open_client(model, tmp_path) as client, open_feed(client) as heard:
        session_id = await client.run("script:bash")
        await eventually(lambda: heard, lambda found: any(event["type"] == "session.idle" for event in found))
        async with connect(client_settings(client), Catalog.from_snapshot(2)) as servers:
            messages = await engine_of(servers.default).list_messages(session_id)
    spoken = {part.id for message in messages for part in message.parts if part.type in ("text", "tool")}
    updated = [event["properties"]["part"] for event in heard if event["type"] == "message.part.updated"]
    assert {part["id"] for part in updated} == spoken - {f"{messages[0].info.id}.0"}
    watch = SessionWatch({session_id})
    for event in heard:
        watch.on_event(event)
    assert watch.needs_read and watch.error is None
    assert any(step.startswith("shell ") and step.endswith(": completed") for step in watch.steps)
    assert watch.steps[-1].startswith("writing: ")


async def test_a_comment_keeps_a_quiet_stream(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCode 2 sends no event as a heartbeat; without comments the stream is opened again."""
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 3)
    monkeypatch.setattr(fake_module, "HEARTBEAT_SECONDS", 0.05)
    async with open_client(model, tmp_path) as client, open_feed(client) as heard:
        await anyio.sleep(4)
        assert "stream.lost" not in {event["type"] for event in heard}
        monkeypatch.setattr(fake_module, "HEARTBEAT_SECONDS", 60)
        kinds = await eventually(
            lambda: [event["type"] for event in heard], lambda found: found.count("stream.connected") >= 2
        )
    assert "stream.lost" in kinds


async def test_the_library_has_the_events_in_the_words_of_opencode_2(model: ScriptedModel, tmp_path: Path) -> None:
    """As the document describes them."""
    async with open_client(model, tmp_path) as client:
        opened = OpenCode(url=client.fake.url, password=PASSWORD, directory=client.directory, generation=2)
        async with opened as opencode, opencode.events() as events:
            session_id = await client.create()
            with anyio.fail_after(60):
                own = [event async for event in first(events, "session.created")]
    assert own[-1]["data"]["sessionID"] == session_id


async def first(events: AsyncIterator[Event], kind: str) -> AsyncIterator[Event]:
    """Yield events until one of a type."""
    async for event in events:
        yield event
        if event["type"] == kind:
            return
