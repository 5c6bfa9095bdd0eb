"""Scenarios of ask_timeout_minutes: a request without an answer is rejected, and the task goes on."""

from __future__ import annotations

import anyio
import mcp_types as types
from mcp.client import ClientRequestContext

from opencode_mcp.tasks.ask_timeout import NO_ANSWER
from tests.eventually import eventually

from .observed import ObservedResult
from .permissions import accept_form, question_prompt, touch_prompt, touched_file
from .scenario import Action, Scenario
from .scenario_context import CLIENT_MODES, ScenarioContext

MINUTES = 0.05


def check_rejected(ctx: ScenarioContext, report: ObservedResult) -> ObservedResult:
    """Check that the report says what was rejected, and that the model has received the words."""
    assert "Rejected after ask_timeout_minutes without an answer: " in report["note"], report.text
    assert any(NO_ANSWER in str(request.messages) for request in ctx.model_requests())
    assert not touched_file(ctx).exists()
    return report


async def eventually_completed(ctx: ScenarioContext, session_id: str) -> ObservedResult:
    """Report a task that goes on without a call that waits for it, once it has completed."""
    return await eventually(lambda: ctx.report_task(session_id), lambda report: report.state == "completed")


async def leave_subagent_waiting(ctx: ScenarioContext) -> ObservedResult:
    """A subagent's request gets no answer: the bridge that started the task rejects it, while no call waits."""
    asked = await ctx.run_task(f"script:task {touch_prompt(ctx)}", ask_timeout_minutes=MINUTES)
    return check_rejected(ctx, await eventually_completed(ctx, asked.session_id))


async def leave_question_to_another_bridge(ctx: ScenarioContext) -> ObservedResult:
    """The bridge that started the task has ended: one that has waited for it since rejects the question."""
    async with ctx.open_bridge() as starter:
        task = await ctx.call_tool("start_task", starter, prompt=question_prompt(ctx), ask_timeout_minutes=MINUTES)
    await ctx.wait_for_task(task.session_id)
    return check_rejected(ctx, await eventually_completed(ctx, task.session_id))


def answer_form_too_late(mode: str) -> Action:
    """The user is being asked when the request is rejected: the form is withdrawn, or its answer has no effect."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            if mode == "legacy":  # elicitation of the newer protocol cannot be withdrawn
                await anyio.sleep_forever()
            await eventually(lambda: any(NO_ANSWER in str(request.messages) for request in ctx.model_requests()))
            return accept_form(reply="once")

        async with ctx.open_bridge(mode=mode, elicitation_callback=ask) as client:
            observed = await ctx.run_task(touch_prompt(ctx), client, ask_timeout_minutes=MINUTES)
        return check_rejected(ctx, observed)

    return action


SCENARIOS = (
    Scenario("ask timeout, in a subagent", leave_subagent_waiting, "completed"),
    Scenario("ask timeout, another bridge", leave_question_to_another_bridge, "completed"),
    *(
        Scenario(f"ask timeout while a form is open, {version}", answer_form_too_late(mode), "completed")
        for version, mode in CLIENT_MODES.items()
    ),
)
