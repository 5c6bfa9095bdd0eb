"""Moments that a real OpenCode passes too quickly to be caught in them, with one that stands still there."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import anyio
import pytest

from opencode_mcp.exceptions import TransportError, UnexpectedResponse
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import Servers
from opencode_mcp.opencode.background import background
from opencode_mcp.opencode.events import Event
from opencode_mcp.opencode.models import as_model
from opencode_mcp.opencode.server import silent
from opencode_mcp.workflows import wait as waiting
from opencode_mcp.workflows.context import Context
from opencode_mcp.workflows.run import RunTask, run_task
from opencode_mcp.workflows.turns import resumed
from opencode_mcp.workflows.wait import ERROR_SECONDS, settle
from tests.eventually import eventually
from tests.feed import Feed

pytestmark = pytest.mark.anyio

T = TypeVar("T")

REPLY = {"id": "msg_2", "role": "assistant", "parentID": "msg_1", "finish": "stop"}
DONE: dict[str, Any] = {"info": {**REPLY, "time": {"created": 1, "completed": 2}}, "parts": []}


@dataclass
class Still:
    """An OpenCode whose sessions are in one state and have the same messages, which are the test's.

    `answers` are those to operations that do not answer as OpenCode's do; one that is an error is raised.
    """

    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    status: dict[str, Any] = field(default_factory=dict[str, Any])
    messages: list[Any] = field(default_factory=list[Any])
    calls: list[str] = field(default_factory=list[str])
    events: Feed = field(default_factory=Feed)
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    server: Any = field(default_factory=lambda: SimpleNamespace(name=""))
    directory: str | None = None
    sent: anyio.Event = field(default_factory=anyio.Event)

    def alone(self, session_id: str) -> anyio.Lock:
        """The session's lock."""
        return self.lock

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        await anyio.sleep(0.001)
        self.calls.append(name)
        if name in self.answers:
            if isinstance(self.answers[name], Exception):
                raise self.answers[name]
            return self.answers[name]
        match name:
            case "session_get" | "session_create":
                return {"id": arguments.get("sessionID", "ses_1"), "directory": "/project", "time": {"created": 1}}
            case "session_status":
                return dict(self.status)
            case "session_messages":
                return list(self.messages)
            case "app_agents":
                return [{"name": "build", "mode": "primary"}]
            case "session_message":
                return self.messages[-1]
            case "path_get" | "worktree_create":
                return {"directory": "/project"}
            case "config_providers":
                models = {"scripted": dict[str, Any]()}
                return {"providers": [{"id": "scripted", "models": models}], "default": dict[str, str]()}
            case "session_prompt_async":
                self.sent.set()
                return None
            case _:
                return []

    async def call_as(self, kind: type[T], name: str, /, **arguments: Any) -> T:
        """Answer as a model."""
        return as_model(name, kind, await self.call(name, **arguments))


def context_of(opencode: Still) -> Context:
    """What a workflow is given."""
    return Context(Servers(cast("Any", {"": opencode})), silent)


def error(name: str, **about: str) -> Event:
    """Return an event that tells of an error."""
    return {"type": "session.error", "properties": {**about, "error": {"name": name, "data": {"message": name}}}}


@pytest.mark.parametrize("event", [error("CannotReadFile", sessionID="ses_1"), error("BadSkillOfSomebody")])
async def test_an_error_that_ends_nothing_is_no_verdict(event: Event) -> None:
    """The prompt is worked on a moment later."""
    opencode = Still()

    async def go_on() -> None:
        await anyio.sleep(0.05)
        opencode.events.tell(event)
        await anyio.sleep(ERROR_SECONDS / 4)
        opencode.messages, opencode.status = [DONE], {}
        opencode.events.tell({"type": "session.idle", "properties": {"sessionID": "ses_1"}})

    async with background() as tasks:
        tasks.start_soon(go_on)
        outcome = await settle(context_of(opencode), "ses_1", None, anyio.current_time() + 30)

    assert outcome.verdict.state == "completed"


async def test_an_error_that_stays_alone_is_the_verdict() -> None:
    """Nothing comes of the prompt: OpenCode's own words say why."""
    opencode = Still()

    async def fail() -> None:
        await anyio.sleep(0.05)
        opencode.events.tell(error("NoSuchAgent", sessionID="ses_1"))

    async with background() as tasks:
        tasks.start_soon(fail)
        with anyio.fail_after(3 * ERROR_SECONDS):
            outcome = await settle(context_of(opencode), "ses_1", None, anyio.current_time() + 30)

    assert (outcome.verdict.state, outcome.verdict.error) == ("failed", "NoSuchAgent: NoSuchAgent")


async def test_a_caller_that_goes_between_the_prompt_and_its_beginning_leaves_no_task() -> None:
    """The prompt is sent and not yet seen: it is stopped like one that is at work."""
    opencode = Still(messages=[DONE])
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_task(context_of(opencode), RunTask.model_validate({"prompt": "go on", "session_id": "ses_1"}))

        tasks.start_soon(run)
        await opencode.sent.wait()
        opencode.status = {"ses_1": {"type": "busy"}}
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await eventually(lambda: "session_abort" in opencode.calls)
            opencode.status = {}
    assert opencode.calls.count("session_prompt_async") == 1


@pytest.mark.parametrize("seconds", [0.0, 30.0])
async def test_of_several_tasks_none_is_said_to_run_that_does_not(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """One is over at once; nothing works on the other's prompt, and that is found out before anything is said."""
    monkeypatch.setattr(waiting, "DOUBT_SECONDS", 0.2)
    prompts = {"ses_1": DONE, "ses_2": {"info": {"id": "msg_1", "role": "user", "time": {"created": 1}}}}

    class Two(Still):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_messages":
                return [prompts[arguments["sessionID"]]]
            return await super().call(name, **arguments)

    outcomes = await waiting.wait(
        context_of(Two()), dict.fromkeys(prompts), "any", deadline=anyio.current_time() + seconds
    )

    assert {id: outcome.verdict.state for id, outcome in outcomes.items()} == {"ses_1": "completed", "ses_2": "failed"}


@pytest.mark.parametrize("failed", [False, True])
async def test_a_turn_that_was_gone_on_with_tells_whether_it_failed(catalog: Catalog, failed: bool) -> None:
    """Its session's newest message is the answer; the model's error in it is the call's."""
    ended = {"error": {"name": "APIError", "data": {"message": "no"}}} if failed else {}
    opencode = Still(messages=[{**DONE, "info": {**DONE["info"], **ended}}])

    answer = await resumed(context_of(opencode), catalog["session_prompt"], "ses_1")

    assert (answer.value, answer.failed) == (opencode.messages[0], failed)


@pytest.mark.parametrize("broken", ["session_create", "session_prompt_async"])
@pytest.mark.parametrize("clinging", [(), ("session_delete",), ("worktree_remove",)])
async def test_a_task_that_cannot_be_started_leaves_nothing_that_can_be_removed(
    broken: str, clinging: tuple[str, ...]
) -> None:
    """Its session and its worktree are removed each for itself, and the error is that of the start."""
    opencode = Still()
    opencode.answers = {name: TransportError(name) for name in (broken, *clinging)}

    with pytest.raises(TransportError, match=broken):
        await run_task(context_of(opencode), RunTask.model_validate({"prompt": "try", "worktree": True}))

    made = {"session_delete"} if broken == "session_prompt_async" else set[str]()
    assert {*opencode.calls} & {"session_delete", "worktree_remove"} == {"worktree_remove", *made}


READ = (
    "app_agents",
    "config_providers",
    "path_get",
    "permission_list",
    "question_list",
    "session_children",
    "session_create",
    "session_diff",
    "session_get",
    "session_message",
    "session_messages",
    "session_status",
    "session_todo",
    "vcs_status",
    "worktree_create",
)
"""What run_task reads."""

WHOLE = {"prompt": "try", "worktree": True, "agent": "build"}
ODD: tuple[Any, ...] = (None, "text", 7, [None], [{}], {"id": 1})
UNNAMED: tuple[str, Any] = ("session_diff", [{}])
"""The document allows for a change without a file's name."""


@pytest.mark.parametrize(("name", "odd"), [one for one in product(READ, ODD) if one != UNNAMED], ids=repr)
async def test_an_answer_that_is_none_of_opencodes_is_an_error_that_says_so(name: str, odd: Any) -> None:
    """Not a defect of ours, whichever answer it is; and the worktree does not stay."""
    opencode = Still(answers={name: odd}, messages=[DONE])

    with pytest.raises(UnexpectedResponse, match=rf"{name} is not what OpenCode's document says: .*got "):
        await run_task(context_of(opencode), RunTask.model_validate(WHOLE))

    made = name != "worktree_create" and "worktree_create" in opencode.calls
    assert ("worktree_remove" in opencode.calls) is (made and "session_prompt_async" not in opencode.calls)
