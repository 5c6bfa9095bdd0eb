"""Queued prompts: when one is due, which bridge sends it, and what becomes of one that cannot be sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import pytest

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode import ServerPool
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.models import Message
from opencode_mcp.opencode.prompt_policy import PromptPolicy
from opencode_mcp.tasks.abort import stop_session
from opencode_mcp.tasks.context import Context
from opencode_mcp.tasks.follow_up import send_follow_up
from opencode_mcp.tasks.idempotency import request_suffix
from opencode_mcp.tasks.metadata import Limits, QueuedPrompt, Rules, TaskMetadata, with_task_metadata
from opencode_mcp.tasks.options import StartTask
from opencode_mcp.tasks.queued_prompts import MAX_QUEUED, MAX_QUEUED_CHARS, drop_queued, queue_prompt, send_queued
from opencode_mcp.tasks.queued_turns import apply_queue, describe_queue, find_ended, select_turn
from opencode_mcp.tasks.session_state import SessionSnapshot, TaskStatus, read_snapshot
from opencode_mcp.tasks.turn_outcome import outcome_of_turn

from .test_race_conditions import DONE, FakeOpenCode

pytestmark = pytest.mark.anyio

BUSY = {"ses_1": {"type": "busy"}}


@dataclass
class QueueingOpenCode(FakeOpenCode):
    """A fake OpenCode that keeps what is written: the session's metadata, the queue below it, and its messages."""

    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    holders: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    texts: list[str] = field(default_factory=list[str])

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        model = {"providerID": "scripted", "id": "scripted"}
        session = {"id": "ses_1", "directory": "/project", "time": {"created": 1}, "model": model}
        match name:
            case "session_children" if arguments["sessionID"] == "ses_1":
                return list(self.holders.values())
            case "session_create" if "parentID" in arguments:
                created = {"id": f"ses_q{len(self.holders)}", "metadata": arguments["metadata"]}
                self.holders[created["id"]] = {**session, **created}
                return self.holders[created["id"]]
            case "session_messages":
                return self.messages[-arguments.get("limit", 100) :]
            case "session_delete":
                if self.holders.pop(arguments["sessionID"], None) is None:
                    raise APIError(name, 404, "NotFoundError", "Session not found")
            case "session_update":
                self.metadata = arguments["metadata"]
                return {**session, "metadata": self.metadata}
            case "session_get":
                return {**session, "metadata": self.metadata}
            case "session_abort":
                self.status = {}
            case "session_prompt_async":
                text, message_id = arguments["parts"][0], arguments["messageID"]
                info = {"id": message_id, "role": "user", "time": {"created": 1}}
                self.messages = [*self.messages, {"info": info, "parts": [{**text, "messageID": message_id}]}]
                self.texts.append(text["text"])
            case _:
                pass
        return await super().call(name, **arguments)


def queued_id(index: int) -> str:
    """Return the id of a queued prompt; the id that its message gets has the same end."""
    return f"msg_{index:012}{request_suffix(f'request {index}')}"


def queue_of(*tasks: dict[str, Any], **options: Any) -> QueueingOpenCode:
    """Return an OpenCode with an idle session, which has these queued prompts."""
    opencode = QueueingOpenCode(messages=[DONE], **options)
    for index, task in enumerate(tasks):
        request_id = f"request {index}"
        queued = QueuedPrompt(prompt_id=queued_id(index), task={"request_id": request_id, "prompt": "more", **task})
        opencode.holders[f"ses_q{index}"] = {
            "id": f"ses_q{index}",
            "directory": "/project",
            "time": {"created": index},
            "metadata": with_task_metadata({}, TaskMetadata(queued=queued)),
        }
    return opencode


def make_context(opencode: FakeOpenCode) -> Context:
    """Return the context of a tool."""
    return Context(ServerPool(cast("Any", {"": opencode})), ignore_progress)


@pytest.fixture
async def snapshot() -> AsyncGenerator[SessionSnapshot]:
    """An idle session with a queued prompt."""
    yield await read_snapshot(cast("Any", queue_of({})), "ses_1")


@pytest.mark.parametrize(
    ("turn", "session"),
    [
        (TaskStatus("completed"), TaskStatus("running", due="queued")),
        (TaskStatus("failed", error="400"), TaskStatus("running", due="queued")),
        (TaskStatus("running", due="check"), TaskStatus("running", due="check")),
        (TaskStatus("waiting_permission"), TaskStatus("waiting_permission")),
        (TaskStatus("running", stalled_reason="lost"), TaskStatus("running")),
        (TaskStatus("running", note="elsewhere"), TaskStatus("running", note="elsewhere")),
    ],
    ids=str,
)
async def test_a_queued_prompt_is_due_when_the_turn_has_ended(
    turn: TaskStatus, session: TaskStatus, snapshot: SessionSnapshot
) -> None:
    """Not while its check is due, while it waits, or while another process may run it."""
    assert apply_queue(snapshot, turn) == session


@pytest.mark.parametrize(
    ("policy", "task", "sent"),
    [
        (PromptPolicy(), {}, ["more"]),
        (PromptPolicy(), {"models": ["scripted/*"]}, ["more"]),
        (PromptPolicy(("scripted/*",)), {"models": ["scripted/*"]}, ["more"]),
        (PromptPolicy(("scripted/*",)), {}, []),
        (PromptPolicy(("other/*",)), {"models": ["scripted/*"]}, []),
        (PromptPolicy(max_cost=1), {"limits": {"cost": 1}}, ["more"]),
        (PromptPolicy(max_cost=1), {"limits": {"cost": 2}}, []),
    ],
    ids=str,
)
async def test_a_bridge_sends_a_queued_prompt_within_its_bounds(
    policy: PromptPolicy, task: dict[str, Any], sent: list[str]
) -> None:
    """Once, however often it is due; one beyond them stays queued for another bridge."""
    opencode = queue_of(task, prompt_policy=policy)

    for _ in range(2):
        await send_queued(make_context(opencode), "ses_1")

    assert opencode.texts == sent
    assert bool(opencode.holders) == (not sent)
    rules = TaskMetadata.model_validate(opencode.metadata.get("opencode_mcp", {})).rules
    assert (rules is not None and list(rules.models)) == (bool(sent and task) and task.get("models", []))


async def test_a_queued_prompt_that_cannot_be_sent_has_failed() -> None:
    """It is not tried again; its call and the reports of the session say why."""
    opencode = queue_of({"model": "scripted/gone"})

    await send_queued(make_context(opencode), "ses_1")

    after = await read_snapshot(cast("Any", opencode), "ses_1")
    outcome = await select_turn(cast("Any", opencode), after, TaskStatus("completed"), queued_id(0))
    assert (opencode.texts, opencode.holders) == ([], {})
    assert outcome.status.state == "failed"
    assert "the queued prompt was not sent: unknown model 'scripted/gone'" in str(outcome.status.error)
    assert "A queued prompt was not sent" in str(describe_queue(after))


async def test_a_queued_prompt_of_another_version_stays_queued() -> None:
    """This one cannot apply an argument that it does not know."""
    opencode = queue_of({"option_of_a_later_version": True})

    await send_queued(make_context(opencode), "ses_1")

    assert (opencode.texts, len(opencode.holders)) == ([], 1)


async def test_only_the_named_prompt_is_dropped() -> None:
    """The one of a call that was cancelled; the others stay in their order."""
    opencode = queue_of({"prompt": "one"}, {"prompt": "two"}, {"prompt": "three"})

    dropped = await drop_queued(cast("Any", opencode), "ses_1", queued_id(1))

    assert [queued.task["prompt"] for queued in dropped] == ["two"]
    assert [*opencode.holders] == ["ses_q0", "ses_q2"]


@pytest.mark.parametrize(
    ("queued", "prompt", "problem"),
    [(MAX_QUEUED, "more", "10 queued prompts"), (0, "x" * MAX_QUEUED_CHARS, "a queued prompt has 200000 at most")],
)
async def test_a_queue_has_a_bound(queued: int, prompt: str, problem: str) -> None:
    """A prompt that it cannot take is refused."""
    opencode = queue_of(*[dict[str, Any]()] * queued, status=BUSY)

    task = StartTask.model_validate({"prompt": prompt, "when_busy": "queue"})

    with pytest.raises(WorkflowError, match=problem):
        await queue_prompt(make_context(opencode), task, "ses_1")

    assert len(opencode.holders) == queued


async def test_a_repeated_request_is_queued_once() -> None:
    """With the same prompt; another one is refused."""
    opencode = queue_of(status=BUSY)
    task = StartTask.model_validate({"prompt": "more", "when_busy": "queue", "request_id": "mine"})

    first = await queue_prompt(make_context(opencode), task, "ses_1")
    second = await queue_prompt(make_context(opencode), task, "ses_1")

    assert second.queued_id == first.queued_id
    assert len(opencode.holders) == 1
    with pytest.raises(WorkflowError, match="with another prompt"):
        await queue_prompt(make_context(opencode), task.model_copy(update={"prompt": "other"}), "ses_1")


async def test_a_turn_before_a_queued_prompt_keeps_its_outcome(snapshot: SessionSnapshot) -> None:
    """The call that waits for it does not get the answer of the queued prompt."""
    opencode = queue_of({})
    await send_queued(make_context(opencode), "ses_1")
    after = await read_snapshot(cast("Any", opencode), "ses_1")
    opencode.answers["session_message"] = DONE

    prompt_id = Message.model_validate(DONE).user_message_id
    outcome = await select_turn(cast("Any", opencode), after, TaskStatus("running"), prompt_id)

    assert (outcome.status.state, outcome.is_own) == ("completed", True)
    assert outcome.snapshot.newest_message == snapshot.newest_message


@dataclass
class SharedOpenCode(QueueingOpenCode):
    """One with another bridge, which sends or drops the queued prompt once, after a call that this bridge has made."""

    call_before: str = ""
    drops: bool = False

    def session_lock(self, session_id: str) -> anyio.Lock:
        """The session's lock, which bridges do not share."""
        return anyio.Lock()

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        response = await super().call(name, **arguments)
        if name == self.call_before:
            self.call_before = ""
            if self.drops:
                await drop_queued(cast("Any", self), "ses_1")
            else:
                await send_queued(make_context(self), "ses_1")
            self.status = BUSY
        return response


def shared(call_before: str, **options: Any) -> SharedOpenCode:
    """Return an OpenCode with a session that has a queued prompt, and another bridge that acts after this call."""
    return SharedOpenCode(messages=[DONE], holders=queue_of({}).holders, call_before=call_before, **options)


async def test_a_stop_leaves_the_queued_prompt_that_is_sent_meanwhile() -> None:
    """Only the turn of the call that was cancelled, or that passed a limit, is aborted."""
    opencode = shared("session_abort", status=BUSY)

    was_busy, snapshot = await stop_session(make_context(opencode), "ses_1")

    assert (was_busy, opencode.texts, snapshot.busy) == (True, ["more"], True)
    assert opencode.calls.count("session_abort") == 1


async def test_a_prompt_that_is_dropped_while_it_is_sent_is_stopped() -> None:
    """The bridge that has dropped it said that it was not sent."""
    opencode = shared("session_prompt_async", drops=True)

    await send_queued(make_context(opencode), "ses_1")

    assert (opencode.texts, opencode.holders, opencode.status) == (["more"], {}, {})
    assert "session_abort" in opencode.calls


async def test_a_prompt_that_is_sent_while_it_is_dropped_was_not_dropped() -> None:
    """Its caller may stop it: nothing says that it was not sent."""
    opencode = shared("session_update")

    dropped = await drop_queued(cast("Any", opencode), "ses_1")

    after = await read_snapshot(cast("Any", opencode), "ses_1")
    assert (opencode.texts, dropped) == (["more"], [])
    assert find_ended(after, [queued_id(0)]) is None


@pytest.mark.parametrize(("ruled", "status"), [("msg_1", {}), ("msg_0", BUSY)])
async def test_an_interruption_changes_no_turn_that_has_ended(ruled: str, status: dict[str, Any]) -> None:
    """Neither the newest one, behind which another prompt waits, nor an earlier one with rules."""
    rules = Rules(prompt_id=ruled, limits=Limits(cost=1))
    opencode = queue_of({}, status=status, metadata=with_task_metadata({}, TaskMetadata(rules=rules)))
    task = StartTask.model_validate({"prompt": "now", "when_busy": "interrupt"})

    sent = await queue_prompt(make_context(opencode), task, "ses_1")

    stored = TaskMetadata.model_validate(opencode.metadata["opencode_mcp"])
    assert opencode.texts == ["now"]
    assert (stored.rules, (stored.ended or [])[0].state) == (rules, "completed")
    assert (sent.note is not None) == bool(status)


async def test_a_turn_keeps_its_outcome_when_a_prompt_replaces_its_rules() -> None:
    """A limit that it has passed, or a check that has failed, is not forgotten with the rules."""
    rules = Rules(prompt_id="msg_1", limits=Limits(cost=1), stopped="it passed its limit")
    opencode = queue_of(metadata=with_task_metadata({}, TaskMetadata(rules=rules)))
    prompt: dict[str, Any] = {"info": {"id": "msg_1", "role": "user", "time": {"created": 1}}, "parts": []}
    opencode.messages = [prompt, DONE]
    task = StartTask.model_validate({"prompt": "more", "limits": {"cost": 2}})

    await send_follow_up(make_context(opencode), task, "ses_1")

    after = await read_snapshot(cast("Any", opencode), "ses_1")
    opencode.answers["session_message"] = DONE
    outcome = await select_turn(cast("Any", opencode), after, TaskStatus("running"), "msg_1")
    outcome = await outcome_of_turn(cast("Any", opencode), outcome, "msg_1")
    assert (outcome.status.state, outcome.status.error) == ("stopped", "it passed its limit")
