"""Scenarios of one task for several models: the answers are compared, one is applied, and the others are discarded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio

from tests.eventually import eventually

from .limits import PRICED_CONFIG
from .observed import ObservedResult
from .refusals import NO_SESSION
from .scenario import Scenario
from .scenario_context import ScenarioContext
from .worktrees import TASKS_SECONDS, exists, write_prompt

PRICE = {"input": 10_000, "output": 10_000}
MODELS = ["scripted/scripted", "scripted/other"]
MODELS_CONFIG = {
    **PRICED_CONFIG,
    "provider": {"scripted": {"models": {"scripted": {"cost": PRICE}, "other": {"cost": PRICE}}}},
}
TASK = {"prompt": write_prompt("answer.txt", "by {model}\n"), "check": ["grep other answer.txt"], "request_id": "mine"}


async def run_models(ctx: ScenarioContext, task: dict[str, Any], models: list[str], **arguments: Any) -> ObservedResult:
    """Run a task with several models."""
    return await ctx.call_tool("run_tasks", tasks=[task], models=models, timeout_seconds=280, **arguments)


async def list_worktrees(ctx: ScenarioContext) -> list[str]:
    """Return the worktrees of the project."""
    return (await ctx.call_tool("worktree_list", directory=str(ctx.project)))["result"]


async def apply_best(ctx: ScenarioContext) -> ObservedResult:
    """Of two answers one passes its check: any bridge compares them, and only what is named is applied or discarded."""
    (ctx.project / "draft.txt").write_text("uncommitted\n")
    failed, passed = (await run_models(ctx, TASK | {"include_uncommitted": True}, MODELS)).tasks
    assert (failed.state, passed.state) == ("check_failed", "completed"), failed.text + passed.text
    assert [failed["model"], passed["model"]] == MODELS
    ids = [failed.session_id, passed.session_id]
    call = {"tool": "collect_changes", "arguments": {"session_ids": ids}}
    assert failed["next"] == passed["next"] == call
    repeated = await run_models(ctx, TASK, MODELS)
    assert [report.session_id for report in repeated.tasks] == ids

    async with ctx.open_bridge(replace(ctx.settings, read_only=True)) as reader:
        report = await ctx.call_tool("report_task", reader, session_id=passed.session_id)
        assert report["next"] == call
        read_only = await ctx.call_tool("collect_changes", reader, session_ids=ids)
        refused = await ctx.call_tool("collect_changes", reader, session_id=passed.session_id, apply=True)
        assert "apply: unknown" in refused.text
    compared = await ctx.call_tool("collect_changes", session_ids=ids)
    answers = compared["answers"]
    assert read_only["answers"] == [
        {name: value for name, value in answer.items() if name != "apply_with"} for answer in answers
    ]
    assert [answer["model"] for answer in answers] == MODELS
    assert [answer["check"]["passed"] for answer in answers] == [False, True]
    assert [answer["files"] for answer in answers] == [
        [{"path": "answer.txt", "status": "added", "additions": 1, "deletions": 0}]
    ] * 2
    assert all(answer["tokens"] and answer["cost"] for answer in answers)
    assert all(answer["elapsed_seconds"] >= 0 for answer in answers)  # 0.0 for a turn of less than 0.05 s
    assert compared["differing_files"] == ["answer.txt"]
    assert not (ctx.project / "answer.txt").exists()

    applied = await ctx.call_tool("collect_changes", **answers[1]["apply_with"]["arguments"])
    assert (ctx.project / "answer.txt").read_text() == "by other\n"
    discarded = await ctx.call_tool("collect_changes", **applied["next"]["arguments"])
    assert [answer.get("discarded", False) for answer in discarded["answers"]] == [False, True]
    assert "answer.txt" in discarded["answers"][0]["error"]
    assert exists(failed["directory"]), "an answer that was not applied was discarded"
    await ctx.call_tool("collect_changes", session_ids=[failed.session_id], discard=True, force=True)
    assert await list_worktrees(ctx) == []
    assert (ctx.project / "answer.txt").read_text() == "by other\n"
    return await ctx.call_tool("collect_changes", session_ids=ids)


async def stop_one_model(ctx: ScenarioContext) -> ObservedResult:
    """One of two answers hangs: they are compared while it runs, and after it was stopped."""
    results: list[ObservedResult] = []
    running = ""

    async def run() -> None:
        results.append(await run_models(ctx, {"prompt": "script:{model}"}, ["scripted/text", "scripted/hang"]))

    requests = ctx.shared.model.requests
    before = len(requests)
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await eventually(lambda: {"text", "hang"} <= {request.model for request in requests[before:]})
        sessions = (await ctx.call_tool("session_list", directory=str(ctx.project), scope="project"))["result"]
        ids = sorted(session["id"] for session in sessions)
        compared = await eventually(
            lambda: ctx.call_tool("collect_changes", session_ids=ids),
            lambda result: {answer["state"] for answer in result["answers"]} == {"completed", "running"},
        )
        [running] = [answer["session_id"] for answer in compared["answers"] if answer["state"] == "running"]
        assert compared["next"]["arguments"] == {"session_ids": [running], "until": "all"}
        assert (await ctx.call_tool("stop_task", session_id=running)).state == "stopped"
    completed, stopped = results[0].tasks
    assert (completed.state, completed["model"], stopped.session_id) == ("completed", "scripted/text", running)
    compared = await ctx.call_tool("collect_changes", session_ids=[completed.session_id, running])
    assert [answer["state"] for answer in compared["answers"]] == ["completed", "stopped"]
    assert [answer["model"] for answer in compared["answers"]] == ["scripted/text", "scripted/hang"]
    notes = [answer.get("note", "") for answer in compared["answers"]]
    assert ["OpenCode itself adds the `$schema` line" in note for note in notes] == [ctx.traits.adds_schema] * 2
    assert "answered" not in compared.text
    assert "differing_files" not in compared.content
    return stopped


async def compare_without_worktree(ctx: ScenarioContext) -> ObservedResult:
    """A session that works in the project has no changes apart from others; one that does not exist is named."""
    task = await ctx.run_task("script:text here")
    compared = await ctx.call_tool("collect_changes", session_ids=[task.session_id, NO_SESSION, task.session_id])
    here, unknown = compared["answers"]
    assert here["state"] == "completed"
    assert "not in a worktree" in here["unknown"] and "files" not in here
    assert "404" in unknown["unknown"] and "state" not in unknown
    discarded = await ctx.call_tool("collect_changes", session_ids=[task.session_id], discard=True, force=True)
    assert discarded.is_error and "not in a worktree" in discarded.text
    return await ctx.call_tool("collect_changes", session_ids=[NO_SESSION])


async def refuse_models(ctx: ScenarioContext) -> ObservedResult:
    """One of the models is unknown, or not allowed: no session and no worktree is created for any."""
    unknown = await run_models(ctx, {"prompt": "script:text"}, [*MODELS, "scripted/no-such"])
    assert "unknown model 'scripted/no-such'" in unknown.text
    async with ctx.open_bridge(replace(ctx.settings, models=("*/scripted",))) as bounded:
        refused = await run_models(ctx, {"prompt": "script:text"}, MODELS, client=bounded)
    sessions = await ctx.call_tool("session_list", directory=str(ctx.project), scope="project")
    assert sessions["result"] == []
    assert await list_worktrees(ctx) == []
    return refused


STOP_CONFIG = {"provider": {"scripted": {"models": {name: {"name": name} for name in ("text", "hang")}}}}

SCENARIOS = (
    Scenario("several models, one applied", apply_best, "answer", "was removed", TASKS_SECONDS, MODELS_CONFIG),
    Scenario("several models, one stopped", stop_one_model, "stopped", "aborted", TASKS_SECONDS, STOP_CONFIG),
    Scenario("several sessions without a worktree", compare_without_worktree, "error", f"{NO_SESSION}: .*404"),
    Scenario(
        "several models, one unknown or not allowed",
        refuse_models,
        "error",
        "model scripted/other is not allowed: --models allows scripted/scripted;",
        config=MODELS_CONFIG,
    ),
)
