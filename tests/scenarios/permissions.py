"""Scenarios of requests: what is asked, which client answers, and how. Nothing is done without an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.client import ClientRequestContext

from opencode_mcp.server import elicitation
from opencode_mcp.tasks.session_state import REJECTED
from tests.conftest import Config

from .observed import ObservedResult
from .scenario import Action, Scenario
from .scenario_context import CLIENT_MODES, TASK_LIMIT_SECONDS, ScenarioContext


@dataclass(frozen=True)
class RequestCase:
    """A request of OpenCode, the prompt that leads to it, and the file that exists once it was allowed."""

    name: str
    kind: str
    pattern: str
    prompt: Callable[[ScenarioContext], str]
    file: Callable[[ScenarioContext], Path] | None = None

    def state_after(self, reply: ReplyCase) -> str:
        """Return the task's state; a stopped subagent does not stop the task."""
        return (
            "completed"
            if reply.expected_state == "stopped" and self.name.startswith("subagent")
            else reply.expected_state
        )


def touch_prompt(ctx: ScenarioContext) -> str:
    """A command that leaves a file behind."""
    return (
        f"script:tool bash {json.dumps({'command': f'touch {touched_file(ctx).name}', 'description': 'Make a file'})}"
    )


def write_outside_prompt(ctx: ScenarioContext) -> str:
    """A file that is not in the project."""
    return f"script:tool write {json.dumps({'filePath': str(outside_file(ctx)), 'content': 'written'})}"


def question_prompt(ctx: ScenarioContext) -> str:
    """A question with two options."""
    options = [{"label": name, "description": f"Paint it {name}"} for name in ("Red", "Blue")]
    question = {"header": "Colour", "question": f"Which one is best for {ctx.key}?", "options": options}
    return f"script:tool question {json.dumps({'questions': [question]})}"


def touched_file(ctx: ScenarioContext) -> Path:
    """The file that the command leaves behind."""
    return ctx.project / f"made-{ctx.key}"


def outside_file(ctx: ScenarioContext) -> Path:
    """The file that is not in the project."""
    return ctx.project.parent / f"outside-{ctx.key}" / "file"


REQUEST_CASES = (
    RequestCase("permission", "permission", "^bash: touch made-row", touch_prompt, touched_file),
    RequestCase(
        "subagent's permission",
        "permission",
        "^bash: touch made-row",
        lambda it: f"script:task {touch_prompt(it)}",
        touched_file,
    ),
    RequestCase(
        "access outside the directory",
        "permission",
        "^external_directory: .*/outside-row",
        write_outside_prompt,
        outside_file,
    ),
    RequestCase("question", "question", r"^Which one is best for row\d+x\?$", question_prompt),
)


@dataclass(frozen=True)
class ReplyCase:
    """An answer, as arguments of the tool and as the result of a form, and the state that it leads to.

    `text_for_model` is the part of it that the model receives; `reading_seconds` is how long the user takes to give it.
    """

    name: str
    arguments: Mapping[str, Any] | None
    form_result: types.ElicitResult
    expected_state: str
    allowed: bool = False
    text_for_model: str = ""
    reading_seconds: float = 0


def accept_form(**content: str) -> types.ElicitResult:
    """A form that was filled in."""
    return types.ElicitResult(action="accept", content={**content})


DECLINED, CANCELLED = types.ElicitResult(action="decline"), types.ElicitResult(action="cancel")
DECLINED_AT_ONCE = "form declined at once"
ONE_REPLY_ANSWERER = "by another client, 2026-07-28"
READ_SECONDS = elicitation.MIN_READING_SECONDS + 0.5
REJECT_MESSAGE = "make it elsewhere"
REPLY_CASES: Mapping[str, tuple[ReplyCase, ...]] = {
    "permission": (
        ReplyCase("once", {"reply": "once"}, accept_form(reply="once"), "completed", allowed=True),
        ReplyCase("always", {"reply": "always"}, accept_form(reply="always"), "completed", allowed=True),
        ReplyCase("reject", {"reply": "reject"}, accept_form(reply="reject"), "stopped"),
        ReplyCase(
            "reject with a message",
            {"reply": "reject", "message": REJECT_MESSAGE},
            accept_form(reply="reject", message=REJECT_MESSAGE),
            "completed",
            text_for_model=REJECT_MESSAGE,
        ),
        ReplyCase("form declined", None, DECLINED, "stopped", reading_seconds=READ_SECONDS),
        ReplyCase(DECLINED_AT_ONCE, None, DECLINED, "waiting_permission"),
        ReplyCase("form dismissed", None, CANCELLED, "waiting_permission"),
    ),
    "question": (
        ReplyCase(
            "a choice", {"answers": [["Blue"]]}, accept_form(answer_1="Blue"), "completed", text_for_model="Blue"
        ),
        ReplyCase(
            "own words",
            {"answers": [["Neither"]]},
            accept_form(answer_1_other="Neither"),
            "completed",
            text_for_model="Neither",
        ),
        ReplyCase("reject", {"reject": True}, DECLINED, "stopped", reading_seconds=READ_SECONDS),
        ReplyCase(DECLINED_AT_ONCE, None, DECLINED, "waiting_question"),
        ReplyCase("form dismissed", None, CANCELLED, "waiting_question"),
    ),
}


def leave_unanswered(case: RequestCase) -> Action:
    """No client answers."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        observed = await ctx.run_task(case.prompt(ctx))
        check_effects(ctx, case, None)
        return observed

    return action


def answer_by_tool(case: RequestCase, reply: ReplyCase) -> Action:
    """The client calls answer_permission or answer_question."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        assert reply.arguments is not None
        pending = await ctx.run_task(case.prompt(ctx))
        check_effects(ctx, case, None)
        request: dict[str, Any] = {
            "request_id": pending.request_id,
            "timeout_seconds": TASK_LIMIT_SECONDS,
            **reply.arguments,
        }
        observed = await ctx.call_tool(f"answer_{case.kind}", **request)
        assert observed.session_id == pending.session_id, "a subagent's request is reported with its task"
        check_effects(ctx, case, reply)
        check_rejection_is_reported(reply, observed)
        repeated = await ctx.call_tool(f"answer_{case.kind}", **request)
        assert repeated.state == "error", "an answer was taken twice"
        return observed if reply.name != "always" else await ctx.run_task(case.prompt(ctx))

    return action


def answer_by_form(case: RequestCase, reply: ReplyCase, mode: str) -> Action:
    """The client's user is asked, and answers."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            check_effects(ctx, case, None)
            await anyio.sleep(reply.reading_seconds)
            return reply.form_result

        with pytest.MonkeyPatch.context() as patch:
            if reply.name == DECLINED_AT_ONCE:  # however slow the machine is
                patch.setattr(elicitation, "MIN_READING_SECONDS", 60.0)
            async with ctx.open_bridge(mode=mode, elicitation_callback=ask) as client:
                observed = await ctx.run_task(case.prompt(ctx), client)
        check_effects(ctx, case, reply)
        assert ("declined the form at once" in (observed["note"] or "")) == (reply.name == DECLINED_AT_ONCE), (
            observed.text
        )
        check_rejection_is_reported(reply, observed)
        return observed if reply.name != "always" else await ctx.run_task(case.prompt(ctx))

    return action


def answer_by_tool_then_form(mode: str) -> Action:
    """The user dismisses the form of the first request, and answers that of the next during answer_permission."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        forms = iter([CANCELLED, accept_form(reply="once")])

        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            return next(forms)

        commands = [f"touch {touched_file(ctx).name}", f"touch {touched_file(ctx).name}-next"]
        calls = [{"name": "bash", "args": {"command": command, "description": command}} for command in commands]
        async with ctx.open_bridge(mode=mode, elicitation_callback=ask) as client:
            pending = await ctx.run_task(f"script:chain {json.dumps(calls)}", client)
            request = {"request_id": pending.request_id, "reply": "once", "timeout_seconds": TASK_LIMIT_SECONDS}
            observed = await ctx.call_tool("answer_permission", client, **request)
        assert next(forms, None) is None, "the user was not asked about the second command"
        assert len([*ctx.project.glob(f"{touched_file(ctx).name}*")]) == 2
        return observed

    return action


def answer_by_other_client(case: RequestCase, reply: ReplyCase, mode: str) -> Action:
    """Another client answers while the user is being asked; the user's answer comes too late."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            await answer_directly(ctx, case, reply)
            if mode == "legacy":  # elicitation of the newer protocol cannot be withdrawn
                await anyio.sleep_forever()
            return accept_form(reply="once", answer_1="Red")

        async with ctx.open_bridge(mode=mode, elicitation_callback=ask) as client:
            observed = await ctx.run_task(case.prompt(ctx), client)
        check_effects(ctx, case, reply)
        return observed

    return action


async def answer_directly(ctx: ScenarioContext, case: RequestCase, reply: ReplyCase) -> None:
    """Answer the scenario's request with OpenCode's own operations."""
    assert reply.arguments is not None
    directory = str(ctx.project)
    listed: list[dict[str, Any]] = (await ctx.call_tool(f"{case.kind}_list", directory=directory))["result"]
    [request] = [candidate for candidate in listed if ctx.key in json.dumps(candidate)]
    rejected = reply.arguments.get("reject") is True
    arguments: dict[str, Any] = {} if rejected else {**reply.arguments}
    operation = f"{case.kind}_{'reject' if rejected else 'reply'}"
    observed = await ctx.call_tool(operation, requestID=request["id"], directory=directory, **arguments)
    assert observed["result"] is True


def check_effects(ctx: ScenarioContext, case: RequestCase, reply: ReplyCase | None) -> None:
    """Check that only what was allowed was done, and that the model received the answer."""
    if case.file is not None:
        allowed = reply is not None and reply.allowed
        assert case.file(ctx).exists() == allowed, f"{case.file(ctx)} is there: {not allowed}"
    if reply is not None and reply.text_for_model:
        assert any(reply.text_for_model in str(request.messages) for request in ctx.model_requests()), (
            "the model did not receive the answer"
        )


def check_rejection_is_reported(reply: ReplyCase, observed: ObservedResult) -> None:
    """Check that a report shows a rejection, also of a turn that went on to its end, with the words of the user."""
    if reply.expected_state == "stopped" or reply.text_for_model == REJECT_MESSAGE:
        failed_calls = " ".join(observed["failed_calls"])
        assert any(words in failed_calls for words in REJECTED), observed.text
        assert REJECT_MESSAGE not in reply.text_for_model or REJECT_MESSAGE in failed_calls, observed.text


def iter_scenarios() -> Iterator[Scenario]:
    """Yield a scenario for each request, each answer to it, and each client that can give the answer."""
    for case in REQUEST_CASES:
        yield Scenario(f"{case.name} asked", leave_unanswered(case), f"waiting_{case.kind}", case.pattern)
        for reply in REPLY_CASES[case.kind]:
            for answerer, does in iter_answerers(case, reply):
                config: Config | None = {} if reply.name == "always" else None
                yield Scenario(answered_name(case, reply, answerer), does, case.state_after(reply), config=config)


def answered_name(case: RequestCase, reply: ReplyCase, answerer: str) -> str:
    """Return the name of the scenario of an answered request."""
    return f"{case.name} asked, {reply.name}: {answerer}"


def iter_spare_names() -> Iterator[str]:
    """Yield the names of every second permission: each two of request, answer and client are in another scenario."""
    for case_number, case in enumerate(case for case in REQUEST_CASES if case.kind == "permission"):
        for reply_number, reply in enumerate(REPLY_CASES[case.kind]):
            for number, (answerer, _) in enumerate(iter_answerers(case, reply)):
                if (case_number + reply_number + number) % 2 and answerer != ONE_REPLY_ANSWERER:
                    yield answered_name(case, reply, answerer)


def iter_answerers(case: RequestCase, reply: ReplyCase) -> Iterator[tuple[str, Action]]:
    """Yield the ways to give an answer, each with its action."""
    for protocol_version, mode in CLIENT_MODES.items():
        yield f"by form, {protocol_version}", answer_by_form(case, reply, mode)
    if reply.arguments is not None:
        yield "by tool", answer_by_tool(case, reply)
        yield "by another client", answer_by_other_client(case, reply, "legacy")
        if reply.name == "reject":
            yield ONE_REPLY_ANSWERER, answer_by_other_client(case, reply, "auto")


SCENARIOS = (
    *iter_scenarios(),
    *(
        Scenario(
            f"permission asked twice: by tool, then by form, {version}", answer_by_tool_then_form(mode), "completed"
        )
        for version, mode in CLIENT_MODES.items()
    ),
)

SPARE_SCENARIOS = frozenset(iter_spare_names())
"""The scenarios that are played only on demand."""
