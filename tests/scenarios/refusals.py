"""Scenarios of tasks that must not start, and of ids that do not exist."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio

from opencode_mcp.settings import DEPTH_VARIABLE

from .actions import call_tool, run_task
from .observed import ObservedResult
from .scenario import Action, Scenario
from .scenario_context import TASK_LIMIT_SECONDS, ScenarioContext

NO_SESSION = "ses_000000000000000000000000000"
NO_PERMISSION = "per_000000000000000000000000000"


def expect_no_start(action: Action) -> Action:
    """Check that the model was not called."""

    async def checked_action(ctx: ScenarioContext) -> ObservedResult:
        observed = await action(ctx)
        assert ctx.model_requests() == []
        return observed

    return checked_action


VARIANT_CONFIG = {
    "provider": {
        "scripted": {"models": {"other": {"name": "Other", "variants": {"high": {"reasoningEffort": "high"}}}}}
    },
    "agent": {"thinker": {"mode": "primary", "model": "scripted/other"}},
}
"""A second model, which has a variant, and an agent that takes it."""


def run_with_variant(**arguments: Any) -> Action:
    """Run a task with a variant and without naming a model."""

    async def action(ctx: ScenarioContext) -> ObservedResult:
        observed = await ctx.run_task(f"script:text {ctx.key}", **arguments)
        if observed.state == "completed":
            assert observed["model"] == "scripted/other"
        return observed

    return action


async def attach_files(ctx: ScenarioContext) -> ObservedResult:
    """With `@`, with line numbers, and from the home folder: OpenCode reads the right files."""
    (ctx.project / "lines.txt").write_text("one\ntwo\nthree\n")
    home = await ctx.home_folder() / f"{ctx.key}.txt"
    home.write_text("at home\n")
    files = ["@README.md", "lines.txt:2-3", "@lines.txt:2", f"~/{home.name}", str(ctx.project), "README.md"]
    observed = await ctx.run_task(f"script:text {ctx.key}", files=files)
    messages = (await ctx.call_tool("session_messages", sessionID=observed.session_id))["result"]
    texts = " ".join(part.get("text", "") for part in messages[0]["parts"] if part.get("synthetic"))
    for text in ("1: hello from the project", "2: two\n3: three", "1: at home", "<type>directory</type>"):
        assert text in texts, f"{text!r} is not in {texts}"
    assert "1: one" not in texts and "failed to read" not in texts
    assert texts.count("Called the Read tool") == len(files)
    return observed


async def prompt_busy_session(ctx: ScenarioContext) -> ObservedResult:
    """A second task for a session that works."""
    first = await ctx.call_tool("start_task", prompt="script:hang")
    return await ctx.run_task(f"script:text {ctx.key}", session_id=first.session_id)


async def run_two_tasks_at_once(ctx: ScenarioContext) -> ObservedResult:
    """Two concurrent tasks for one session: both are done, or one is refused."""
    session_id = await ctx.create_session()
    results: list[ObservedResult] = []

    async def run_numbered_task(number: int) -> None:
        results.append(await ctx.run_task(f"script:text {ctx.key} number {number}", session_id=session_id))

    async with anyio.create_task_group() as tasks:
        for number in (1, 2):
            tasks.start_soon(run_numbered_task, number)
    refused = [result for result in results if result.state == "error"]
    assert all("is busy" in result.text for result in refused), refused[0].text
    for number in (1, 2):
        taken = bool(ctx.model_requests(f"{ctx.key} number {number}"))
        assert taken or refused, f"prompt {number} was lost"
    return next(result for result in results if result.state != "error")


async def prompt_twice_at_once(ctx: ScenarioContext) -> ObservedResult:
    """Two concurrent session_prompt for one session: OpenCode returns the last message to both."""
    session_id = await ctx.create_session()
    results: list[ObservedResult] = []

    async def send_numbered_prompt(number: int) -> None:
        parts = [{"type": "text", "text": f"script:slow 4 0.1 {ctx.key} number {number}"}]
        results.append(await ctx.call_tool("session_prompt", sessionID=session_id, parts=parts))

    async with anyio.create_task_group() as tasks:
        for number in (1, 2):
            tasks.start_soon(send_numbered_prompt, number)
    assert all(result.state == "answer" for result in results)
    return await ctx.report_task(session_id)


async def shell_in_busy_session(ctx: ScenarioContext) -> ObservedResult:
    """An operation that works only on an idle session."""
    task = await ctx.call_tool("start_task", prompt="script:hang")
    return await ctx.call_tool("session_shell", sessionID=task.session_id, agent="build", command="true")


async def run_two_levels_deep(ctx: ScenarioContext) -> ObservedResult:
    """A server that was started by a task of a task."""
    async with ctx.open_bridge(replace(ctx.settings, environ={DEPTH_VARIABLE: "2"})) as nested_client:
        return await ctx.run_task(f"script:text {ctx.key}", nested_client)


async def run_one_level_deep(ctx: ScenarioContext) -> ObservedResult:
    """A server that was started by a task."""
    async with ctx.open_bridge(replace(ctx.settings, environ={DEPTH_VARIABLE: "1"})) as nested_client:
        return await ctx.run_task("script:text deep", nested_client)


async def wait_with_unknown_sessions(ctx: ScenarioContext) -> ObservedResult:
    """The wait goes on for the sessions that exist."""
    task = await ctx.call_tool("start_task", prompt="script:slow 4 0.2")
    ids = [NO_SESSION, "12", task.session_id]
    waited = await ctx.call_tool("wait_for_tasks", session_ids=ids, timeout_seconds=TASK_LIMIT_SECONDS)
    assert waited["errors"].keys() == {NO_SESSION, "12"}, waited.text
    assert "Session not found" in waited["errors"][NO_SESSION]
    [report] = waited.tasks
    return report


SCENARIOS = (
    Scenario(
        "unknown model",
        expect_no_start(run_task("{key}", model="scripted/scriptd")),
        "error",
        "nearest: scripted/scripted",
    ),
    Scenario(
        "unknown provider",
        expect_no_start(run_task("{key}", model="acme/scripted")),
        "error",
        "nearest: scripted/scripted",
    ),
    Scenario(
        "unknown agent",
        expect_no_start(run_task("{key}", agent="bild")),
        "error",
        "unknown agent 'bild'; nearest: build",
    ),
    Scenario(
        "unknown variant",
        expect_no_start(run_task("{key}", model="scripted/scripted", variant="high")),
        "error",
        "unknown variant 'high'",
    ),
    Scenario(
        "unknown variant, without a model",
        expect_no_start(run_task("{key}", variant="high")),
        "error",
        "of model scripted/",
    ),
    Scenario(
        "a variant of the agent's model",
        run_with_variant(agent="thinker", variant="high"),
        "completed",
        config=VARIANT_CONFIG,
    ),
    Scenario(
        "a variant that only another model has",
        expect_no_start(run_with_variant(variant="high")),
        "error",
        "unknown variant",
        config=VARIANT_CONFIG,
    ),
    Scenario(
        "a file that is not there",
        expect_no_start(run_task("{key}", files=["README.txt"])),
        "error",
        r" has no 'README\.txt'; nearest: README\.md",
    ),
    Scenario(
        "a folder that is not there",
        expect_no_start(run_task("{key}", files=["no/such/file"])),
        "error",
        "the folder .* does not exist",
    ),
    Scenario("files as people write them", attach_files, "completed"),
    Scenario(
        "unknown directory",
        expect_no_start(run_task("{key}", directory="/no/such")),
        "error",
        "^/no/such is not a directory",
    ),
    Scenario(
        "unknown session: run_task",
        expect_no_start(run_task("{key}", session_id=NO_SESSION)),
        "error",
        "Session not found",
    ),
    Scenario(
        "unknown session: wait_for_tasks", call_tool("wait_for_tasks", session_ids=[NO_SESSION]), "error", "not found"
    ),
    Scenario("unknown session among others: wait_for_tasks", wait_with_unknown_sessions, "completed", "chunk3"),
    Scenario(
        "unknown session: report_task", call_tool("report_task", session_id=NO_SESSION), "error", "Session not found"
    ),
    Scenario("unknown session: stop_task", call_tool("stop_task", session_id=NO_SESSION), "error", "Session not found"),
    Scenario(
        "unknown session: collect_changes", call_tool("collect_changes", session_id=NO_SESSION), "error", "not found"
    ),
    Scenario(
        "unknown session: read_transcript", call_tool("read_transcript", session_id=NO_SESSION), "error", "not found"
    ),
    Scenario(
        "unknown request",
        call_tool("answer_permission", request_id=NO_PERMISSION, reply="once"),
        "error",
        "there is no pending request",
    ),
    Scenario("malformed session id", call_tool("report_task", session_id="12"), "error", "nothing was sent"),
    Scenario(
        "malformed session id: wait_for_tasks",
        call_tool("wait_for_tasks", session_ids=["12"]),
        "error",
        "nothing was sent",
    ),
    Scenario("malformed request id", call_tool("answer_question", request_id="12"), "error", "nothing was sent"),
    Scenario("session busy", prompt_busy_session, "error", r"is busy \(running\); wait_for_tasks waits for it"),
    Scenario("session busy: session_shell", shell_in_busy_session, "error", "HTTP 409, SessionBusyError"),
    Scenario("two tasks on one session at once", run_two_tasks_at_once, "completed"),
    Scenario("two session_prompt on one session at once", prompt_twice_at_once, "completed"),
    Scenario(
        "started by a task of a task",
        expect_no_start(run_two_levels_deep),
        "error",
        r"started by a task itself \(depth 2\)",
    ),
    Scenario("started by a task", run_one_level_deep, "completed"),
)
