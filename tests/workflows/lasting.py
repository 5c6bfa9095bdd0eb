"""Rows about how long: a task that is over before the wait, one that outlasts it, and one with much to say."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import anyio
import mcp_types as types
from mcp.client import ClientRequestContext

from tests.eventually import eventually

from .asking import touch
from .bench import Bench
from .seen import Seen
from .table import Deed, Row

HUGE = 5_000_000


async def finished_before(bench: Bench) -> Seen:
    """A task that is over when the wait begins."""
    task = await bench.run("script:text {key}")
    return await bench.wait(task.session_id, timeout_seconds=0)


async def from_another_bridge(bench: Bench) -> Seen:
    """A task that another bridge has started, and that goes on when that one has gone."""
    async with bench.bridge() as first:
        task = await bench.call("start_task", first, prompt=bench.held)
        assert task.state == "running"
    bench.go()
    return await bench.wait(task.session_id)


async def of_the_user(bench: Bench) -> Seen:
    """A session that no bridge has started: one of the user's own."""
    session_id = await bench.create_session()
    parts = [{"type": "text", "text": bench.held}]
    await bench.call("session_prompt_async", sessionID=session_id, parts=parts)

    async def known() -> bool:
        return (await bench.report(session_id)).state == "running"

    await eventually(known)
    bench.go()
    return await bench.wait(session_id)


async def at_once(bench: Bench) -> Seen:
    """Without any time to wait the task is reported as it is: it runs, or is being started."""
    task = await bench.run("script:slow 10 0.5", timeout_seconds=0)
    assert task.state in {"starting", "running"}, task.text
    return (await bench.call(task["next"]["tool"], **task["next"]["arguments"])).tasks[0]


async def goes_on(bench: Bench) -> Seen:
    """The time limit is reached with work going on; the report names the call that goes on waiting."""
    task = await bench.run(bench.held, timeout_seconds=4)
    following: dict[str, Any]
    if bench.bad_network and task.state == "error":  # the last look was lost on the way, and there is no more time
        match = re.search(r"The task is session (ses_\w+): call report_task once OpenCode answers again", task.text)
        assert match, task.text
        following = {"tool": "wait_for_tasks", "arguments": {"session_ids": [match[1]]}}
    else:
        assert task.state == "running", task.text
        following = task["next"]
        assert following == {"tool": "wait_for_tasks", "arguments": {"session_ids": [task.session_id]}}
    bench.go()
    return (await bench.call(following["tool"], **following["arguments"])).tasks[0]


async def huge_answer(bench: Bench) -> Seen:
    """An answer of 5 MB is read page by page, whole."""
    seen = await bench.run(f"script:huge {HUGE}")
    assert (len(seen["answer"]), seen["answer_chars"]) == (20_000, HUGE)
    pages: list[str] = [seen["answer"]]
    async with bench.bridge(replace(bench.settings, max_result_chars=2_000_000)) as wide:  # five calls, not 250
        while seen["next"]:
            assert seen["next"]["tool"] == "report_task"
            seen = await bench.call("report_task", wide, **seen["next"]["arguments"])
            pages.append(seen["answer"])
    assert "".join(pages) == (f"{'x' * 99}\n" * (HUGE // 100))
    return seen


async def every_ten_seconds(bench: Bench) -> Seen:
    """A silent model is no silent call."""
    told: list[float] = [anyio.current_time()]

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        told.append(anyio.current_time())

    async with bench.bridge() as client:
        arguments = {"prompt": "script:hang", "timeout_seconds": 23}
        result = await client.call_tool("run_task", arguments, progress_callback=progressed)
    told.append(anyio.current_time())
    gaps = [later - earlier for earlier, later in pairwise(told)]
    assert max(gaps) < 20, f"silent for {max(gaps):.1f} s"
    return Seen.of(result)


async def every_step(bench: Bench) -> Seen:
    """Each step is told when it comes, with its tool and what that is given."""
    told: list[str] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    prompt = """script:chain [{"name": "read", "args": {"filePath": "README.md"}},
        {"name": "glob", "args": {"pattern": "*.md"}}]"""
    async with bench.bridge() as client:
        result = await client.call_tool("run_task", {"prompt": prompt}, progress_callback=progressed)
    for text in ("read README.md: ", "glob *.md: ", "writing: done: chain ", "[360 tokens, $0.00]"):
        assert any(text in one for one in told), f"{text!r} is not in {told}"
    return Seen.of(result)


def limit_while_asking(mode: str) -> Deed:
    """The time limit passes while the user is being asked."""

    async def does(bench: Bench) -> Seen:
        shown = anyio.Event()

        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            shown.set()
            if mode == "legacy":
                await anyio.sleep_forever()
            return types.ElicitResult(action="cancel")

        async with bench.bridge(mode=mode, elicitation_callback=ask) as client:
            seen = await bench.run(touch(bench), client, timeout_seconds=15)
        assert shown.is_set()
        assert not (bench.project / f"made-{bench.key}").exists()
        return seen

    return does


async def any_of(bench: Bench) -> Seen:
    """The first of several tasks that is over ends the wait; the others are reported as they are."""
    slow = await bench.call("start_task", prompt="script:hang")
    quick = await bench.call("start_task", prompt="script:slow 3 0.2")
    seen = await bench.call("wait_for_tasks", session_ids=[slow.session_id, quick.session_id], until="any")
    assert [task.state for task in seen.tasks] == ["running", "completed"]
    return seen.tasks[1]


async def any_of_which_one_failed(bench: Bench) -> Seen:
    """A task that has failed is over as well."""
    slow = await bench.call("start_task", prompt="script:hang")
    failed = await bench.run("script:error 400")
    seen = await bench.call("wait_for_tasks", session_ids=[slow.session_id, failed.session_id], until="any")
    assert [task.state for task in seen.tasks] == ["running", "failed"]
    return seen.tasks[1]


async def all_of(bench: Bench) -> Seen:
    """Every task is waited for, and each is reported as what it became."""
    prompts = ("script:slow 3 0.2", touch(bench), "script:error 400")
    tasks = [await bench.call("start_task", prompt=prompt) for prompt in prompts]
    seen = await bench.call("wait_for_tasks", session_ids=[task.session_id for task in tasks], until="all")
    assert [task.state for task in seen.tasks] == ["completed", "waiting_permission", "failed"]
    return seen.tasks[1]


ROWS = (
    Row("answer of 5 MB", huge_answer, "completed", seconds=90),
    Row("progress every ten seconds", every_ten_seconds, "running"),
    Row("progress on each step", every_step, "completed", "^done: chain$"),
    Row("finished before the wait", finished_before, "completed"),
    Row("started by another bridge", from_another_bridge, "completed", "^held$"),
    Row("started by the user", of_the_user, "completed", "^held$"),
    Row("time limit reached, then waited for", goes_on, "completed", "^held$"),
    Row("time limit 0", at_once, "completed", "chunk9"),
    Row("time limit reached while the user is asked, 2025-11-25", limit_while_asking("legacy"), "waiting_permission"),
    Row("time limit reached while the user is asked, 2026-07-28", limit_while_asking("auto"), "waiting_permission"),
    Row("wait for any", any_of, "completed"),
    Row("wait for any, one failed", any_of_which_one_failed, "failed"),
    Row("wait for all", all_of, "waiting_permission"),
)
