"""Scenarios of a task's output_schema: `completed` only with an answer that fits it, which the report has as JSON."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.conftest import SNAPSHOTS

from .observed import ObservedResult
from .scenario import Action, Scenario
from .scenario_context import ScenarioContext

COUNT: dict[str, Any] = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
"""The schema of most scenarios. The scripted model answers in words to a prompt that names no script."""


def say(text: str) -> str:
    """Return what has the model answer exactly this."""
    return f"script:say {quote(text, safe='')}"


def scripted_schema(corrected: str) -> dict[str, Any]:
    """Return COUNT with words that have the model say a text, where a prompt shows the schema and names no script."""
    return {**COUNT, "description": say(corrected)}


def run_structured(text: str, expected: Any, schema: dict[str, Any] = COUNT, **arguments: Any) -> Action:
    """Run a task that answers this, and compare what the report has as JSON."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        observed = await ctx.run_task(f"{say(text)} {ctx.key}", output_schema=schema, **arguments)
        assert observed["structured"] == expected
        assert (await ctx.report_task(observed.session_id))["structured"] == expected
        return observed

    return action


async def answer_in_code_block(ctx: ScenarioContext) -> ObservedResult:
    """With words around it; the follow-up demands no form, so its answer has none."""
    text = 'Here it is:\n\n```json\n{"count": 1, "unit": null}\n```\n\nDone.'
    observed = await run_structured(text, {"count": 1, "unit": None})(ctx)
    assert observed["answer"] is None
    follow_up = await ctx.run_task("script:say 2", session_id=observed.session_id)
    assert (follow_up["answer"], follow_up["structured"]) == ("2", None)
    return observed


async def correct_answer(ctx: ScenarioContext) -> ObservedResult:
    """A task that writes a file answers in words, and then as it should: its changes and calls are all reported."""
    write = f"script:tool write {json.dumps({'filePath': ctx.file('made').name, 'content': 'x'})} {ctx.key}"
    observed = await ctx.run_task(write, output_schema=scripted_schema('{"count": 3}'), check=["echo checked"])
    assert observed["structured"] == {"count": 3}
    assert observed["tool_calls"] == {"write": 1}
    assert observed["changes"]["paths"] == [ctx.file("made").name]
    assert (observed["check"]["passed"], observed["check"]["attempt"]) == (True, 1)
    transcript = await ctx.call_tool("read_transcript", session_id=observed.session_id)
    assert "the answer does not fit output_schema: the answer has no JSON" in transcript.text
    return observed


async def never_fit(ctx: ScenarioContext) -> ObservedResult:
    """It is corrected once; the error says what is wrong, and any bridge says the same. The check is not run."""
    observed = await ctx.run_task(
        f"{say('none')} {ctx.key}",
        output_schema=scripted_schema('{"count": "many"}'),
        check=[f"touch {ctx.file('made')}"],
    )
    assert not ctx.file("made").exists()
    assert observed["structured"] is None
    async with ctx.open_bridge() as second:
        again = await ctx.call_tool("report_task", second, session_id=observed.session_id)
    assert (again.state, again["error"]) == ("failed", observed["error"])
    return observed


async def ignore_answer_of_subagent(ctx: ScenarioContext) -> ObservedResult:
    """What a subagent answers, or a tool returns, is not the task's answer."""
    child = {"description": "child", "prompt": say('{"count": 1}'), "subagent_type": "general"}
    return await ctx.run_task(f"script:tool task {json.dumps(child)}", output_schema=COUNT)


async def exceed_result(ctx: ScenarioContext) -> ObservedResult:
    """A value that is too long for a report is in its answer, page by page, as text that is whole."""
    text = json.dumps({"count": 1, "more": ["x" * 90] * 300})
    observed = await ctx.run_task(say(text), output_schema=COUNT)
    assert observed["structured"] is None
    assert "too long for `structured`" in observed["note"]
    pages = [observed]
    while pages[-1]["next"] is not None:
        pages.append(await ctx.call_tool(pages[-1]["next"]["tool"], **pages[-1]["next"]["arguments"]))
    assert "".join(page["answer"] for page in pages) == text
    return observed


async def refuse_schema(ctx: ScenarioContext) -> ObservedResult:
    """Nothing is sent to the model."""
    observed = await ctx.run_task(f"script:text {ctx.key}", output_schema={"properties": {"a": {"required": "b"}}})
    assert ctx.model_requests() == []
    return observed


SCENARIOS = (
    Scenario("answer fits its schema", run_structured('{"count": 1}', {"count": 1}), "completed"),
    Scenario(
        "answer as a list fits its schema", run_structured('["a", null]', ["a", None], {"type": "array"}), "completed"
    ),
    Scenario("answer in a code block fits its schema", answer_in_code_block, "completed"),
    Scenario("answer fits its schema once corrected", correct_answer, "completed", config=SNAPSHOTS),
    Scenario("answer never fits its schema", never_fit, "failed", "count: the value is not of type"),
    Scenario("answer of a subagent fits the schema", ignore_answer_of_subagent, "failed", "no JSON object or list"),
    Scenario("answer too long for structured", exceed_result, "completed"),
    Scenario("schema that is not valid", refuse_schema, "error", "properties.a.required: the value is not of type"),
)
