"""Scenarios of operations that block until the model is done: they never hang either."""

from __future__ import annotations

import re
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.client import ClientRequestContext

from .observed import ObservedResult
from .permissions import touch_prompt, touched_file
from .scenario import Action, Scenario
from .scenario_context import CLIENT_MODES, ScenarioContext


async def prompt_session(
    ctx: ScenarioContext, text: str, client: Client | None = None, session_id: str | None = None
) -> ObservedResult:
    """Prompt a session with OpenCode's own operation."""
    parts = [{"type": "text", "text": text}]
    return await ctx.call_tool(
        "session_prompt", client, sessionID=session_id or await ctx.create_session(), parts=parts
    )


async def prompt_without_elicitation(ctx: ScenarioContext) -> ObservedResult:
    """The client cannot ask its user: the error names the pending request."""
    observed = await prompt_session(ctx, touch_prompt(ctx))
    assert not touched_file(ctx).exists()
    return observed


async def answer_afterwards(ctx: ScenarioContext) -> ObservedResult:
    """The turn goes on: the call that the error names answers the request and waits for the result."""
    observed = await prompt_session(ctx, touch_prompt(ctx))
    match = re.search(r"answer_permission \(request_id (\S+), session_id (\S+)\), which waits", observed.text)
    assert match, observed.text
    return await ctx.call_tool("answer_permission", request_id=match[1], session_id=match[2], reply="once")


def prompt_with_form(mode: str, text: str = "{touch}", **content: str) -> Action:
    """The user is asked; then the call returns the operation's own response, the last message."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            return types.ElicitResult(action="accept", content={**content})

        async with ctx.open_bridge(mode=mode, elicitation_callback=ask) as client:
            observed = await prompt_session(ctx, text.replace("{touch}", touch_prompt(ctx)), client)
        messages: list[dict[str, Any]] = (
            await ctx.call_tool("session_messages", sessionID=observed["info"]["sessionID"])
        )["result"]
        assert observed["info"] == messages[-1]["info"]
        return observed

    return action


def prompt_with_dismissed_form(mode: str) -> Action:
    """The user does not decide: nothing is done, and the error names the pending request."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            return types.ElicitResult(action="cancel")

        async with ctx.open_bridge(mode=mode, elicitation_callback=ask) as client:
            observed = await prompt_session(ctx, touch_prompt(ctx), client)
        assert not touched_file(ctx).exists()
        return observed

    return action


async def prompt_twice(ctx: ScenarioContext) -> ObservedResult:
    """A session that has had a prompt before: its old answer is not the new one's."""
    session_id = await ctx.create_session()
    await prompt_session(ctx, "script:text first", session_id=session_id)
    return await prompt_session(ctx, "script:text second", session_id=session_id)


WAITING_PATTERN = r"is waiting for a permission \(bash: touch made-row\d+x\), request per_\w+\. The turn continues"

SCENARIOS = (
    Scenario("session_prompt", prompt_twice, "answer", "the scripted model. second|second"),
    Scenario("session_prompt, permission, no elicitation", prompt_without_elicitation, "error", WAITING_PATTERN),
    Scenario("session_prompt, permission, answered afterwards", answer_afterwards, "completed", "^done: tool$"),
    *(
        scenario
        for protocol_version, mode in CLIENT_MODES.items()
        for scenario in (
            Scenario(
                f"session_prompt, permission by form, {protocol_version}",
                prompt_with_form(mode, reply="once"),
                "answer",
                "done: tool",
            ),
            Scenario(
                f"session_prompt, rejected by form, {protocol_version}",
                prompt_with_form(mode, reply="reject"),
                "answer",
                "tool-calls",
            ),
            Scenario(
                f"session_prompt, question by form, {protocol_version}",
                prompt_with_form(mode, "script:question", answer_1="Red"),
                "answer",
                "done: question",
            ),
            Scenario(
                f"session_prompt, form dismissed, {protocol_version}",
                prompt_with_dismissed_form(mode),
                "error",
                WAITING_PATTERN,
            ),
        )
    ),
)
