"""Scenarios of a task's access: what is not allowed is not there, whatever the model calls and the policy allows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .observed import ObservedResult
from .scenario import Action, Scenario
from .scenario_context import ScenarioContext

CHILD = {"description": "child", "prompt": "script:write", "subagent_type": "general"}


def call_prompt(*calls: tuple[str, Mapping[str, Any]]) -> str:
    """Return a prompt whose model makes these calls of tools, one after the other."""
    return f"script:chain {json.dumps([{'name': name, 'args': arguments} for name, arguments in calls])}"


def run_with_access(access: str, edits: bool = False, **arguments: Any) -> Action:
    """Run a task that tries every way to change something; all but those of `access` fail."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        made, outside = ctx.file("made"), ctx.project.parent / f"outside-{ctx.key}"
        prompt = call_prompt(
            ("read", {"filePath": "README.md"}),
            ("write", {"filePath": made.name, "content": "made"}),
            ("write", {"filePath": str(outside), "content": "made"}),
            ("bash", {"command": f"touch {outside}", "description": "Make it"}),
            ("task", CHILD),
        )
        observed = await ctx.run_task(prompt, access=access, permissions="allow", **arguments)
        assert made.exists() == edits
        assert not outside.exists()
        tools = ctx.model_requests(made.name)[-1].tools.keys()
        assert {"read", "grep"} <= tools
        assert not {ctx.traits.shell, ctx.traits.subagent} & tools
        return observed

    return action


async def edit_and_check(ctx: ScenarioContext) -> ObservedResult:
    """A task without a shell, whose work a check tests."""
    write = call_prompt(("write", {"filePath": ctx.file("made").name, "content": "made"}))
    return await ctx.run_task(write, access="edit", check=[f"grep made {ctx.file('made').name}"])


async def keep_access(ctx: ScenarioContext) -> ObservedResult:
    """A follow-up keeps the access, also with another policy or agent; it can be changed, but not to full."""
    made = ctx.file("made")
    write = call_prompt(("write", {"filePath": made.name, "content": "made"}))
    session_id = (await ctx.run_task("script:text first", access="read")).session_id
    changes: list[dict[str, Any]] = [{}, {"permissions": "allow"}, {"agent": "build"}]
    for change in changes:
        await ctx.run_task(write, session_id=session_id, **change)
        assert not made.exists(), change
    await ctx.run_task(write, session_id=session_id, access="edit", agent="plan")
    assert not made.exists()
    await ctx.run_task(write, session_id=session_id, agent="build")
    assert made.exists()
    return await ctx.run_task(write, session_id=session_id, access="full")


async def narrow_later(ctx: ScenarioContext) -> ObservedResult:
    """A session that was allowed everything can be narrowed by an access."""
    session_id = (await ctx.run_task("script:text first", permissions="allow")).session_id
    write = call_prompt(("write", {"filePath": ctx.file("made").name, "content": "made"}))
    observed = await ctx.run_task(write, session_id=session_id, access="read", permissions="report")
    assert not ctx.file("made").exists()
    return observed


async def ask_for_secrets(ctx: ScenarioContext) -> ObservedResult:
    """OpenCode asks before it reads .env files; an access does not change that."""
    (ctx.project / ".env").write_text("KEY=1")
    return await ctx.run_task(call_prompt(("read", {"filePath": ".env"})), access="read", permissions="report")


async def run_with_map(ctx: ScenarioContext) -> ObservedResult:
    """A map allows one command, asks for the others, and denies edits; no subagent could go round that."""
    made = ctx.file("made").name
    prompt = call_prompt(
        ("bash", {"command": f"touch {made}", "description": "Make it"}),
        ("write", {"filePath": f"{made}-2", "content": "made"}),
        ("task", CHILD),
        ("bash", {"command": f"touch other-{made}", "description": "Make another"}),
    )
    tools = {"bash": {f"touch {made}*": "allow", "*": "ask"}, "edit": "deny"}
    observed = await ctx.run_task(prompt, permissions=json.dumps(tools))
    assert ctx.file("made").exists()
    assert not (ctx.project / f"{made}-2").exists()
    tools_of_model = ctx.model_requests(made)[-1].tools.keys()
    assert ctx.traits.shell in tools_of_model
    assert not ctx.traits.not_offered & tools_of_model
    return observed


async def keep_map(ctx: ScenarioContext) -> ObservedResult:
    """A map does not widen an access, nor what the configuration denies; a follow-up keeps it, and may add to it."""
    made = ctx.file("made")
    calls = [("write", {"filePath": name, "content": "x"}) for name in ("denied.txt", "secret.txt", made.name)]
    prompt = call_prompt(*calls, ("bash", {"command": f"touch {made}-2", "description": "Make it"}))
    tools = {"edit": {"*": "allow", "denied*": "deny"}, "bash": "allow"}
    session_id = (await ctx.run_task(prompt, access="edit", permissions=tools)).session_id
    assert [*ctx.project.glob("*-" + ctx.key + "*")] == [made]
    assert not [*ctx.project.glob("*.txt")]
    made.unlink()
    await ctx.run_task(prompt, session_id=session_id, agent="build")
    assert made.exists()
    assert not (ctx.project / "denied.txt").exists()
    made.unlink()
    observed = await ctx.run_task(prompt, session_id=session_id, permissions={"edit": {f"{made.name}*": "deny"}})
    assert not [*ctx.project.glob("*-" + ctx.key + "*"), *ctx.project.glob("*.txt")]
    return observed


async def refuse_maps(ctx: ScenarioContext) -> ObservedResult:
    """A rule that OpenCode would ignore is refused, before anything is sent."""
    refused = {
        "'write' has the rules of `edit`": {"write": "deny"},
        "must be allow, ask or deny": {"bash": "never"},
        **ctx.traits.refused_maps,
    }
    for message, tools in refused.items():
        text = (await ctx.run_task("script:text {key}", permissions=tools)).text
        assert message in text, text
    observed = await ctx.run_task("script:text {key}", permissions={"bahs": "deny"})
    assert not ctx.model_requests()
    return observed


SCENARIOS = (
    Scenario("access read", run_with_access("read"), "completed"),
    Scenario("access edit", run_with_access("edit", edits=True), "completed"),
    Scenario("access read in a worktree", run_with_access("read", worktree=True), "completed", config={}),
    Scenario("access edit, with a check", edit_and_check, "completed"),
    Scenario("access kept by the session", keep_access, "error", "nothing was sent: .*cannot remove its rules"),
    Scenario("access narrowed later", narrow_later, "completed"),
    Scenario("permissions as a map", run_with_map, "waiting_permission", "^bash: touch other-made", config={}),
    Scenario(
        "permissions as a map, with an access",
        keep_map,
        "completed",
        config={"permission": {"edit": {"secret*": "deny"}}},
    ),
    Scenario("permissions as a map, with an unknown tool", refuse_maps, "error", "'bahs', did you mean bash"),
    Scenario("access read, .env", ask_for_secrets, "waiting_permission", r"read: .*\.env", config={}),
)
