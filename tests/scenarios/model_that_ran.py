"""Scenarios of the model, agent, variant and tools that a report names: those that ran, not those asked for."""

from __future__ import annotations

import json

from .observed import ObservedResult
from .refusals import VARIANT_CONFIG
from .scenario import Scenario
from .scenario_context import ScenarioContext

FALLBACK_PLUGIN = """
export const Fallback = async () => ({
  "chat.message": async (input, output) => {
    if (JSON.stringify(output.parts).includes("exhausted"))
      output.message.model = { providerID: "scripted", modelID: "other" }
  },
})
"""
"""A plugin that sends a prompt to another model than the one that it names, as those do that spread quotas."""


async def fall_back(ctx: ScenarioContext) -> ObservedResult:
    """A plugin replaces the model; the report names the one that answered, and the note the one that was asked for."""
    plugins = ctx.project / ".opencode" / "plugin"
    plugins.mkdir(parents=True)
    (plugins / "fallback.js").write_text(FALLBACK_PLUGIN)
    observed = await ctx.run_task("script:text exhausted", model="scripted/scripted")
    assert observed["model"] == "scripted/other"
    assert observed["note"] == "model scripted/other answered instead of scripted/scripted"
    kept = await ctx.run_task("script:text plenty", session_id=observed.session_id, model="scripted/scripted")
    assert kept["model"] == "scripted/scripted"
    assert kept["note"] is None
    return observed


async def name_variant_and_agent(ctx: ScenarioContext) -> ObservedResult:
    """An agent with a model of its own: no model was replaced, so the report has no note."""
    observed = await ctx.run_task("script:text hi", agent="thinker", variant="high")
    assert (observed["model"], observed["variant"], observed["agent"]) == ("scripted/other", "high", "thinker")
    assert observed["note"] is None
    return observed


async def count_tool_calls(ctx: ScenarioContext) -> ObservedResult:
    """How many calls of each tool the turn made; none shows as well."""
    reads = [{"name": "read", "args": {"filePath": name}} for name in ("README.md", "missing")]
    observed = await ctx.run_task(f"script:chain {json.dumps(reads)}")
    assert observed["tool_calls"] == {"read": 2}
    assert len(observed["failed_calls"]) == 1
    idle = await ctx.run_task("script:text no tool", session_id=observed.session_id)
    assert idle.content["tool_calls"] == {}
    return observed


SCENARIOS = (
    Scenario("model replaced by a plugin", fall_back, "completed", config=VARIANT_CONFIG),
    Scenario("model, variant and agent of the reply", name_variant_and_agent, "completed", config=VARIANT_CONFIG),
    Scenario("tool calls counted", count_tool_calls, "completed"),
)
