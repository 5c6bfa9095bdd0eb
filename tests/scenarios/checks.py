"""Scenarios of a task's check: `completed` only if its commands passed, whichever bridge runs them."""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types

from tests.eventually import eventually

from .observed import ObservedResult
from .scenario import Action, Scenario
from .scenario_context import ScenarioContext


def run_checked(prompt: str, *commands: str, **arguments: Any) -> Action:
    """Run a task with a check; `{file}` in a command becomes a file that only this scenario uses."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        check = [command.replace("{file}", ctx.file("made").name) for command in commands]
        return await ctx.run_task(prompt.replace("{file}", ctx.file("made").name), check=check, **arguments)

    return action


async def pass_check(ctx: ScenarioContext) -> ObservedResult:
    """Two commands: the report has what they printed, and the answer is the model's."""
    observed = await run_checked("script:text fine", "echo one", "pwd && exit 0")(ctx)
    check = observed["check"]
    assert check["output"] == f"$ echo one\none\n$ pwd && exit 0\n{ctx.project}"
    assert (check["passed"], check["exit_code"], check["attempt"]) == (True, 0, 1)
    again = await ctx.report_task(observed.session_id)
    assert again["check"] == check
    assert len((await ctx.call_tool("session_children", sessionID=observed.session_id))["result"]) == 1
    return observed


async def fail_check(ctx: ScenarioContext) -> ObservedResult:
    """The second of three commands fails: the third does not run, and the report has exit code and output."""
    observed = await run_checked("script:text wrong", "true", "echo two tests failed; exit 3", "touch {file}")(ctx)
    assert observed["check"]["exit_code"] == 3
    assert observed["check"]["output"].endswith("two tests failed")
    assert observed["answer"]
    assert not ctx.file("made").exists()
    [resource] = (await ctx.client.read_resource(f"opencode://session/{observed.session_id}")).contents
    assert isinstance(resource, types.TextResourceContents)
    assert {name: json.loads(resource.text)[name] for name in ("state", "error")} == {
        "state": "check_failed",
        "error": observed["error"],
    }
    return observed


async def correct_after_check(ctx: ScenarioContext) -> ObservedResult:
    """The output of a failed check goes back to the same session and system prompt; what follows passes."""
    made = ctx.file("made").name
    command = (
        f"test -e {made} || {{ echo 'script:tool write {json.dumps({'filePath': made, 'content': 'x'})}'; exit 1; }}"
    )
    prompt, system = f"script:text not yet {ctx.key}", ctx.traits.system_prompt
    observed = await ctx.run_task(prompt, check=[command], check_retries=2, **system)
    assert observed["check"]["attempt"] == 2
    assert observed["check"]["passed"]
    assert ctx.file("made").exists()
    assert len(ctx.model_requests()) == 3
    for text in system.values():
        assert [request for request in ctx.model_requests() if text not in str(request.messages)] == []
    return observed


async def exhaust_retries(ctx: ScenarioContext) -> ObservedResult:
    """A check that never passes is tried once more, and then has failed."""
    observed = await run_checked("script:text never", "echo script:text still wrong; exit 1", check_retries=1)(ctx)
    assert observed["check"]["attempt"] == 2
    return observed


async def check_in_worktree(ctx: ScenarioContext) -> ObservedResult:
    """A check runs where the task works, and its changes can be collected when it has ended."""
    write = f"script:tool write {json.dumps({'filePath': 'new.txt', 'content': 'new'})}"
    observed = await ctx.run_task(write, worktree=True, check=["test -e new.txt", "pwd"])
    assert observed["check"]["output"].endswith(observed["directory"])
    assert not (ctx.project / "new.txt").exists()
    assert observed["next"]["tool"] == "collect_changes"
    applied = await ctx.call_tool("collect_changes", session_id=observed.session_id, apply=True, discard=True)
    assert "new.txt" in [file["path"] for file in applied["files"]]
    assert (ctx.project / "new.txt").exists()
    return observed


async def stop_check(ctx: ScenarioContext) -> ObservedResult:
    """A check that hangs: it counts as the task's work, and stop_task ends it; it is not run again."""
    sleep = f"touch {ctx.file('begun')} && sleep 300"
    task = await ctx.call_tool("start_task", prompt="script:text fine", check=[sleep])
    await eventually(ctx.file("begun").exists)
    report = await ctx.report_task(task.session_id)
    assert (report.state, report["activity"]) == ("running", f"running the check: {sleep}")
    refused = await ctx.run_task("script:text more", session_id=task.session_id)
    assert refused.state == "error"
    await ctx.call_tool("stop_task", session_id=task.session_id)
    ctx.file("begun").unlink()
    observed = await ctx.wait_for_task(task.session_id)
    assert not ctx.file("begun").exists()
    return observed


async def take_over_check(ctx: ScenarioContext) -> ObservedResult:
    """The bridge that started the task ends during the turn: the next one that waits for it runs the check, once."""
    made = ctx.file("made")
    async with ctx.open_bridge() as starter:
        task = await ctx.call_tool("start_task", starter, prompt=ctx.held_prompt, check=[f"echo ran >> {made}"])
    ctx.release()
    await eventually(lambda: not ctx.model_requests() or ctx.model_requests()[-1].finished.is_set())
    observed = await ctx.wait_for_task(task.session_id)
    assert made.read_text() == "ran\n"
    return observed


async def follow_from_three_bridges(ctx: ScenarioContext) -> ObservedResult:
    """Three bridges wait for the same task: its check runs once."""
    made = ctx.file("made")
    task = await ctx.call_tool("start_task", prompt=ctx.held_prompt, check=[f"echo ran >> {made}"])
    async with ctx.open_bridge() as second, ctx.open_bridge() as third:
        for client in (second, third):
            await ctx.wait_for_task(task.session_id, client=client, timeout_seconds=5)
        ctx.release()
        observed = await ctx.wait_for_task(task.session_id, client=third)
    assert made.read_text() == "ran\n"
    return observed


async def only_report_check(ctx: ScenarioContext) -> ObservedResult:
    """A read-only bridge reports a check that is still to be run, and runs nothing."""
    made = ctx.file("made")
    async with ctx.open_bridge() as starter:
        task = await ctx.call_tool("start_task", starter, prompt=ctx.held_prompt, check=[f"touch {made}"])
    ctx.release()
    await eventually(lambda: ctx.report_task(task.session_id), lambda report: report["answer_so_far"] == "held")
    observed = await ctx.report_task(task.session_id)
    assert not made.exists()
    return observed


async def check_denied(ctx: ScenarioContext) -> ObservedResult:
    """A rule of OpenCode that denies the command holds for a check: no permission is asked for it."""
    observed = await run_checked("script:text fine", "true && touch {file}")(ctx)
    assert not ctx.file("made").exists()
    return observed


SCENARIOS = (
    Scenario("check after a compaction", run_checked("script:overflow", "exit 3"), "check_failed", "exit code 3"),
    Scenario("check passes", pass_check, "completed", "fine"),
    Scenario("check fails", fail_check, "check_failed", "exit code 3"),
    Scenario("check fails, then the task corrects it", correct_after_check, "completed"),
    Scenario("check fails after its retries", exhaust_retries, "check_failed", "exit code 1"),
    Scenario("check in a worktree", check_in_worktree, "completed", config={}),
    Scenario("check hangs and is stopped", stop_check, "stopped", "aborted"),
    Scenario("check taken over by another bridge", take_over_check, "completed"),
    Scenario("check followed by three bridges", follow_from_three_bridges, "completed"),
    Scenario("check still to be run, only reported", only_report_check, "running"),
    Scenario(
        "check denied by a rule",
        check_denied,
        "error",
        "deny the agent the command",
        config={"permission": {"bash": {"touch *": "deny"}}},
    ),
    Scenario("check with a syntax error", run_checked("script:text fine", "echo ("), "check_failed", "exit code 2"),
    Scenario("check after a turn that failed", run_checked("script:error 400", "touch {file}"), "failed", "400"),
)
