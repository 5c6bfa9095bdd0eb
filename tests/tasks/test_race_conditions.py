"""Moments that a real OpenCode passes too quickly to test, with a fake one that stays in them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeVar, cast

import anyio
import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import NotUndone, TransportError, UnexpectedResponse, WorkflowError
from opencode_mcp.opencode import AttachedServer, Endpoint, ServerPool
from opencode_mcp.opencode.allowlist import DirectoryAllowlist
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.events import Event
from opencode_mcp.opencode.models import PermissionRequest, parse_model
from opencode_mcp.opencode.prompt_policy import PromptPolicy
from opencode_mcp.opencode.shared_reads import SharedReads
from opencode_mcp.tasks import replies as answering
from opencode_mcp.tasks import wait as waiting
from opencode_mcp.tasks.blocking import resume_blocking
from opencode_mcp.tasks.changes import CollectChanges, collect_changes
from opencode_mcp.tasks.context import Context
from opencode_mcp.tasks.pending_starts import PendingStart
from opencode_mcp.tasks.prompt import SentPrompt
from opencode_mcp.tasks.task_tools import RunTask, run_task
from opencode_mcp.tasks.wait import ERROR_STALLED_SECONDS, wait_until_settled
from opencode_mcp.tasks.wait_and_report import wait_and_report
from tests.eventually import eventually
from tests.fake_event_stream import FakeEventStream

pytestmark = pytest.mark.anyio

T = TypeVar("T")

REPLY = {"id": "msg_2", "role": "assistant", "parentID": "msg_1", "finish": "stop"}
DONE: dict[str, Any] = {"info": {**REPLY, "time": {"created": 1, "completed": 2}}, "parts": []}


class UnknownServer(AttachedServer):
    """The server of an OpenCode that does not exist."""

    def current_endpoint(self) -> Any:
        """Return no address."""


@dataclass
class FakeOpenCode:
    """An OpenCode whose sessions are in one state and have the same messages, which are the test's.

    `answers` are those to operations that do not answer as OpenCode's do; one that is an error is raised.
    """

    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    status: dict[str, Any] = field(default_factory=dict[str, Any])
    messages: list[Any] = field(default_factory=list[Any])
    calls: list[str] = field(default_factory=list[str])
    events: FakeEventStream = field(default_factory=FakeEventStream)
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    server: Any = field(default_factory=lambda: UnknownServer(Endpoint(httpx2.URL("http://still.test"))))
    catalog: Catalog = field(default_factory=Catalog.from_snapshot)
    directory: str | None = None
    allowlist: DirectoryAllowlist = field(default_factory=DirectoryAllowlist)
    environ: dict[str, str] = field(default_factory=dict[str, str])
    prompt_policy: PromptPolicy = field(default_factory=PromptPolicy)
    sent: anyio.Event = field(default_factory=anyio.Event)
    shared_reads: SharedReads = field(default_factory=SharedReads)

    def with_options(self, **options: Any) -> Any:
        """This one, which has no options."""
        return self

    def session_lock(self, session_id: str) -> anyio.Lock:
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
                facts = {"directory": "/project", "time": {"created": 1}, "metadata": arguments.get("metadata", {})}
                return {"id": arguments.get("sessionID", "ses_1"), **facts}
            case "v2_session_active" | "v2_session_messages":
                return {"data": {}}
            case "session_status":
                return dict(self.status)
            case "session_messages":
                return list(self.messages)
            case "app_agents":
                return [{"name": "build", "mode": "primary"}]
            case "session_message":
                return self.messages[-1]
            case "path_get" | "worktree_create":
                return {"directory": "/project", "worktree": "/project"}
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
        return parse_model(name, kind, await self.call(name, **arguments))


def make_context(opencode: FakeOpenCode) -> Context:
    """Return the context of a task tool."""
    return Context(ServerPool(cast("Any", {"": opencode})), ignore_progress)


def error(name: str, **about: str) -> Event:
    """Return a session.error event."""
    return {"type": "session.error", "properties": {**about, "error": {"name": name, "data": {"message": name}}}}


@pytest.mark.parametrize("event", [error("CannotReadFile", sessionID="ses_1"), error("BadSkillOfSomebody")])
async def test_an_error_that_does_not_end_the_turn_is_not_a_failure(event: Event) -> None:
    """OpenCode starts on the prompt a moment later."""
    opencode = FakeOpenCode()

    async def go_on() -> None:
        await anyio.sleep(0.05)
        opencode.events.dispatch(event)
        await anyio.sleep(ERROR_STALLED_SECONDS / 4)
        opencode.messages, opencode.status = [DONE], {}
        opencode.events.dispatch({"type": "session.idle", "properties": {"sessionID": "ses_1"}})

    async with background_task_group() as tasks:
        tasks.start_soon(go_on)
        outcome = await wait_until_settled(make_context(opencode), "ses_1", None, anyio.current_time() + 30)

    assert outcome.status.state == "completed"


@pytest.mark.parametrize(("before", "after"), [([], None), ([DONE], "msg_1")])
async def test_an_error_without_a_reply_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, before: list[Any], after: str | None
) -> None:
    """The prompt gets no reply: OpenCode's own error says why."""
    monkeypatch.setattr(waiting, "STALLED_SECONDS", 1000.0)
    opencode = FakeOpenCode(messages=before)

    async def fail() -> None:
        await anyio.sleep(0.05)
        opencode.events.dispatch(error("NoSuchAgent", sessionID="ses_1"))

    async with background_task_group() as tasks:
        tasks.start_soon(fail)
        with anyio.fail_after(60):
            outcome = await wait_until_settled(make_context(opencode), "ses_1", after, anyio.current_time() + 30)

    assert (outcome.status.state, outcome.status.error) == ("failed", "NoSuchAgent: NoSuchAgent")


async def test_an_abort_event_before_the_aborted_reply_is_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCode is idle before it has stored its files and completed the message (1.18.33)."""
    monkeypatch.setattr(waiting, "ERROR_STALLED_SECONDS", 0.1)
    half = {**DONE, "info": {**REPLY, "finish": None, "time": {"created": 1}}}
    aborted = {"name": "MessageAbortedError", "data": {"message": "aborted"}}
    opencode = FakeOpenCode(messages=[half])

    async def abort() -> None:
        await anyio.sleep(0.05)
        opencode.events.dispatch(error("MessageAbortedError", sessionID="ses_1"))
        await anyio.sleep(0.5)
        opencode.messages = [{**DONE, "info": {**REPLY, "time": {"created": 1, "completed": 2}, "error": aborted}}]
        opencode.events.dispatch({"type": "session.idle", "properties": {"sessionID": "ses_1"}})

    async with background_task_group() as tasks:
        tasks.start_soon(abort)
        outcome = await wait_until_settled(make_context(opencode), "ses_1", None, anyio.current_time() + 30)

    assert outcome.status.state == "stopped"


async def test_a_slow_read_does_not_make_a_task_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow read shows the state at its start, and the turn has started meanwhile."""
    monkeypatch.setattr(waiting, "STALLED_SECONDS", 2.5)
    prompt = {"info": {"id": "msg_1", "role": "user", "time": {"created": 1}}}
    looks = 0

    class Slow(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            nonlocal looks
            looks += name == "session_status"
            if name == "session_messages" and looks == 2:
                await anyio.sleep(3)
                self.messages = [DONE]
                return [prompt]
            return await super().call(name, **arguments)

    opencode = Slow(messages=[prompt])

    async def look_again() -> None:
        await anyio.sleep(0.1)
        opencode.events.dispatch({"type": "stream.ready", "properties": {}})

    async with background_task_group() as tasks:
        tasks.start_soon(look_again)
        outcome = await wait_until_settled(make_context(opencode), "ses_1", None, anyio.current_time() + 30)

    assert (looks, outcome.status.state) == (3, "completed")


async def test_a_cancelled_caller_leaves_no_task_between_prompt_and_start() -> None:
    """The prompt was sent and is not visible yet: it is stopped like a running one."""
    opencode = FakeOpenCode(messages=[DONE])
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_task(make_context(opencode), RunTask.model_validate({"prompt": "go on", "session_id": "ses_1"}))

        tasks.start_soon(run)
        await opencode.sent.wait()
        opencode.status = {"ses_1": {"type": "busy"}}
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await eventually(lambda: "session_abort" in opencode.calls)
            opencode.status = {}
    assert opencode.calls.count("session_prompt_async") == 1


@pytest.mark.parametrize("seconds", [0.0, 30.0])
async def test_no_stalled_task_of_several_is_reported_as_running(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """One ends at once; the other's prompt is not processed, and the call waits until that is certain."""
    monkeypatch.setattr(waiting, "STALLED_SECONDS", 0.2)
    prompts = {"ses_1": DONE, "ses_2": {"info": {"id": "msg_1", "role": "user", "time": {"created": 1}}}}

    class Two(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_messages":
                return [prompts[arguments["sessionID"]]]
            if name == "session_message":
                return prompts[arguments["sessionID"]]
            return await super().call(name, **arguments)

    starts = [PendingStart.from_prompt(SentPrompt(session_id=session_id)) for session_id in prompts]
    reports = await wait_and_report(make_context(Two()), starts, "any", seconds)

    assert {one.session_id: one.state for one in reports} == {"ses_1": "completed", "ses_2": "failed"}


@pytest.mark.parametrize("failed", [False, True])
async def test_a_resumed_turn_reports_whether_it_failed(catalog: Catalog, failed: bool) -> None:
    """The session's newest message is the response; a model error in it makes the call fail."""
    ended = {"error": {"name": "APIError", "data": {"message": "no"}}} if failed else {}
    opencode = FakeOpenCode(messages=[{**DONE, "info": {**DONE["info"], **ended}}])

    answer = await resume_blocking(make_context(opencode), catalog["session_prompt"], "ses_1")

    assert (answer.value, answer.failed) == (opencode.messages[0], failed)


@pytest.mark.parametrize("broken", ["session_create", "session_prompt_async"])
@pytest.mark.parametrize("clinging", [(), ("session_delete",), ("worktree_remove",)])
async def test_a_failed_start_removes_everything_it_created(broken: str, clinging: tuple[str, ...]) -> None:
    """The start's error names what remains; a session that remains may be running, and keeps its worktree."""
    opencode = FakeOpenCode()
    opencode.answers = {name: TransportError(name) for name in (broken, *clinging)}
    made = {"session_delete"} if broken == "session_prompt_async" else set[str]()
    tried = {*made, "worktree_remove"} - ({"worktree_remove"} if made & {*clinging} else set[str]())
    stays = tried & {*clinging}

    with pytest.raises(NotUndone if stays else TransportError, match=broken) as caught:
        await run_task(make_context(opencode), RunTask.model_validate({"prompt": "try", "worktree": True}))

    assert ("Cleaning up failed" in str(caught.value)) == bool(stays)
    assert {*opencode.calls} & {"session_delete", "worktree_remove"} == tried


READ_OPERATIONS = (
    "app_agents",
    "config_providers",
    "path_get",
    "permission_list",
    "question_list",
    "session_children",
    "session_create",
    "session_diff",
    "session_get",
    "session_messages",
    "session_status",
    "session_todo",
    "vcs_status",
    "worktree_create",
)
"""Responses that run_task reads."""

READ_WHILE_BUSY = frozenset({"permission_list", "question_list"})
"""Those that it reads only while a session works."""

RUN_TASK_ARGUMENTS = {"prompt": "try", "worktree": True, "agent": "build"}
UNEXPECTED_VALUES: tuple[Any, ...] = (None, "text", 7, [None], [{}], {"id": 1})
UNNAMED_CASE: tuple[str, Any] = ("session_diff", [{}])
"""The document allows for a change without a file's name."""


@pytest.mark.parametrize(
    ("name", "odd"), [one for one in product(READ_OPERATIONS, UNEXPECTED_VALUES) if one != UNNAMED_CASE], ids=repr
)
async def test_an_unexpected_answer_is_a_named_error(name: str, odd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not reported as a defect of this package, whichever response it is; and the worktree is removed."""
    monkeypatch.setattr(waiting, "FIRST_READ_SECONDS", 0.0)
    status = {"ses_1": {"type": "busy"}} if name in READ_WHILE_BUSY else dict[str, Any]()
    opencode = FakeOpenCode(answers={name: odd}, status=status, messages=[DONE])

    with pytest.raises(UnexpectedResponse, match=rf"{name} does not match OpenCode's document: .*got "):
        await run_task(make_context(opencode), RunTask.model_validate(RUN_TASK_ARGUMENTS))

    made = name != "worktree_create" and "worktree_create" in opencode.calls
    assert ("worktree_remove" in opencode.calls) is (made and "session_prompt_async" not in opencode.calls)


async def test_a_report_waits_for_the_changes_of_a_turn_that_just_ended() -> None:
    """Not only those of the newest: OpenCode may still sum up the turn before it."""
    now = time.time() * 1000
    turns = [
        {"info": {"id": f"msg_{n}", "role": role, "time": {"created": now, "completed": now}, **parent}, "parts": parts}
        for n, role, parent, parts in (
            ("1", "user", {}, []),
            ("2", "assistant", {"parentID": "msg_1"}, [{"type": "patch", "files": ["/project/a.txt"]}]),
            ("3", "user", {}, []),
            ("4", "assistant", {"parentID": "msg_3"}, []),
        )
    ]
    asked = list[str]()

    class Late(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_diff":
                asked.append(arguments["messageID"])
                return [{"file": "a.txt"}] if asked.count("msg_1") == 2 and asked[-1] == "msg_1" else []
            return await super().call(name, **arguments)

    changes = await collect_changes(
        make_context(Late(messages=turns)), CollectChanges.model_validate({"session_id": "ses_1"})
    )

    assert [one.path for one in changes.files] == ["a.txt"]


@pytest.mark.parametrize("slow", [False, True])
async def test_a_reply_is_confirmed_however_long_opencode_takes(monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    """A slow list of requests does not mean that the request still waits."""
    monkeypatch.setattr(answering, "REPLY_SECONDS", 0.1)
    request = PermissionRequest(id="per_1", session_id="ses_1", permission="bash")
    waits = {"id": "per_1", "sessionID": "ses_1", "permission": "bash"}

    class Silent(FakeOpenCode):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "permission_list":
                await anyio.sleep(0.3)
                return [] if slow else [waits]
            return await super().call(name, **arguments)

    verifying = answering.wait_until_gone(cast("Any", Silent()), "/project", request)
    if slow:
        await verifying
    else:
        with pytest.raises(WorkflowError, match="OpenCode still lists per_1 as pending after the reply"):
            await verifying
