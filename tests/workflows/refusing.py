"""Rows about tasks that must not start, and about what does not exist."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from opencode_mcp.settings import DEPTH_VARIABLE

from .bench import Bench
from .doing import call, run
from .seen import Seen
from .table import Deed, Row

NO_SESSION = "ses_000000000000000000000000000"
NO_PERMISSION = "per_000000000000000000000000000"


def nothing_starts(does: Deed) -> Deed:
    """See that the model was asked nothing."""

    async def checked(bench: Bench) -> Seen:
        seen = await does(bench)
        assert bench.asked_of_model() == []
        return seen

    return checked


VARIANTS = {
    "provider": {
        "scripted": {"models": {"other": {"name": "Other", "variants": {"high": {"reasoningEffort": "high"}}}}}
    },
    "agent": {"thinker": {"mode": "primary", "model": "scripted/other"}},
}
"""A second model, which has a variant, and an agent that takes it."""


def with_variant(**arguments: Any) -> Deed:
    """Run a task with a variant and without naming a model."""

    async def does(bench: Bench) -> Seen:
        seen = await bench.run(f"script:text {bench.key}", **arguments)
        if seen.state == "completed":
            assert seen["model"] == "scripted/other"
        return seen

    return does


async def files_as_written(bench: Bench) -> Seen:
    """With `@`, with line numbers, and from the home folder: OpenCode reads what was meant."""
    (bench.project / "lines.txt").write_text("one\ntwo\nthree\n")
    home = Path(Seen.of(await bench.client.call_tool("path_get"))["home"]) / f"{bench.key}.txt"
    home.write_text("at home\n")
    files = ["@README.md", "lines.txt:2-3", "@lines.txt:2", f"~/{home.name}", str(bench.project), "README.md"]
    seen = await bench.run(f"script:text {bench.key}", files=files)
    messages = (await bench.call("session_messages", sessionID=seen.session_id))["result"]
    texts = " ".join(part.get("text", "") for part in messages[0]["parts"] if part.get("synthetic"))
    for text in ("1: hello from the project", "2: two\n3: three", "1: at home", "<type>directory</type>"):
        assert text in texts, f"{text!r} is not in {texts}"
    assert "1: one" not in texts and "failed to read" not in texts
    assert texts.count("Called the Read tool") == len(files)
    return seen


async def busy(bench: Bench) -> Seen:
    """A second task for a session that works."""
    first = await bench.call("start_task", prompt="script:hang")
    return await bench.run(f"script:text {bench.key}", session_id=first.session_id)


async def two_at_once(bench: Bench) -> Seen:
    """Two tasks for one session in the same moment: both are done, or one is refused."""
    session_id = await bench.create_session()
    seen: list[Seen] = []

    async def one(number: int) -> None:
        seen.append(await bench.run(f"script:text {bench.key} number {number}", session_id=session_id))

    async with anyio.create_task_group() as tasks:
        for number in (1, 2):
            tasks.start_soon(one, number)
    refused = [one for one in seen if one.state == "error"]
    assert all("is busy" in one.text for one in refused), refused[0].text
    for number in (1, 2):
        taken = bool(bench.asked_of_model(f"{bench.key} number {number}"))
        assert taken or refused, f"prompt {number} was lost"
    return next(one for one in seen if one.state != "error")


async def two_raw_at_once(bench: Bench) -> Seen:
    """Two session_prompt for one session in the same moment: OpenCode answers both with the last message."""
    session_id = await bench.create_session()
    seen: list[Seen] = []

    async def one(number: int) -> None:
        parts = [{"type": "text", "text": f"script:slow 4 0.1 {bench.key} number {number}"}]
        seen.append(await bench.call("session_prompt", sessionID=session_id, parts=parts))

    async with anyio.create_task_group() as tasks:
        for number in (1, 2):
            tasks.start_soon(one, number)
    assert all(one.state == "answer" for one in seen)
    return await bench.report(session_id)


async def shell_in_busy_session(bench: Bench) -> Seen:
    """A raw operation that a session can do only when it does nothing else."""
    task = await bench.call("start_task", prompt="script:hang")
    return await bench.call("session_shell", sessionID=task.session_id, agent="build", command="true")


async def recursion(bench: Bench) -> Seen:
    """A bridge that was started by a task of a task."""
    async with bench.bridge(replace(bench.settings, environ={DEPTH_VARIABLE: "2"})) as deep:
        return await bench.run(f"script:text {bench.key}", deep)


async def recursion_once(bench: Bench) -> Seen:
    """A bridge that was started by a task."""
    async with bench.bridge(replace(bench.settings, environ={DEPTH_VARIABLE: "1"})) as deep:
        return await bench.run("script:text deep", deep)


ROWS = (
    Row("unknown model", nothing_starts(run("{key}", model="scripted/scriptd")), "error", "nearest: scripted/scripted"),
    Row("unknown provider", nothing_starts(run("{key}", model="acme/scripted")), "error", "nearest: scripted/scripted"),
    Row("unknown agent", nothing_starts(run("{key}", agent="bild")), "error", "unknown agent 'bild'; nearest: build"),
    Row(
        "unknown variant",
        nothing_starts(run("{key}", model="scripted/scripted", variant="high")),
        "error",
        "unknown variant 'high'",
    ),
    Row(
        "unknown variant, without a model", nothing_starts(run("{key}", variant="high")), "error", "of model scripted/"
    ),
    Row("a variant of the agent's model", with_variant(agent="thinker", variant="high"), "completed", project=VARIANTS),
    Row(
        "a variant that only another model has",
        nothing_starts(with_variant(variant="high")),
        "error",
        "unknown variant",
        project=VARIANTS,
    ),
    Row(
        "a file that is not there",
        nothing_starts(run("{key}", files=["README.txt"])),
        "error",
        r" has no 'README\.txt'; nearest: README\.md",
    ),
    Row(
        "a folder that is not there",
        nothing_starts(run("{key}", files=["no/such/file"])),
        "error",
        "the folder .* does not exist",
    ),
    Row("files as people write them", files_as_written, "completed"),
    Row(
        "unknown directory", nothing_starts(run("{key}", directory="/no/such")), "error", "^/no/such is not a directory"
    ),
    Row("unknown session: run_task", nothing_starts(run("{key}", session_id=NO_SESSION)), "error", "Session not found"),
    Row("unknown session: wait_for_tasks", call("wait_for_tasks", session_ids=[NO_SESSION]), "error", "not found"),
    Row("unknown session: report_task", call("report_task", session_id=NO_SESSION), "error", "Session not found"),
    Row("unknown session: stop_task", call("stop_task", session_id=NO_SESSION), "error", "Session not found"),
    Row("unknown session: collect_changes", call("collect_changes", session_id=NO_SESSION), "error", "not found"),
    Row("unknown session: read_transcript", call("read_transcript", session_id=NO_SESSION), "error", "not found"),
    Row(
        "unknown request",
        call("answer_permission", request_id=NO_PERMISSION, reply="once"),
        "error",
        "there is no pending request",
    ),
    Row("malformed session id", call("report_task", session_id="12"), "error", "nothing was sent"),
    Row(
        "malformed session id: wait_for_tasks", call("wait_for_tasks", session_ids=["12"]), "error", "nothing was sent"
    ),
    Row("malformed request id", call("answer_question", request_id="12"), "error", "nothing was sent"),
    Row("session busy", busy, "error", r"is busy \(running\); wait_for_tasks waits for it"),
    Row("session busy: session_shell", shell_in_busy_session, "error", "HTTP 409, SessionBusyError"),
    Row("two tasks on one session at once", two_at_once, "completed"),
    Row("two session_prompt on one session at once", two_raw_at_once, "completed"),
    Row("started by a task of a task", nothing_starts(recursion), "error", r"started by a task itself \(depth 2\)"),
    Row("started by a task", recursion_once, "completed"),
)
