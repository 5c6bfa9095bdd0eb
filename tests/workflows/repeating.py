"""Rows about a request that is sent again because its answer was lost: nothing is done twice."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
from mcp import Client

from .bench import Bench
from .seen import Seen
from .table import Deed, Row


def again(prompt: str, **arguments: Any) -> Deed:
    """The same request after its task is over."""

    async def does(bench: Bench) -> Seen:
        request = repeatable(bench, prompt, **arguments)
        first = await bench.run(**request)
        async with bench.bridge() as other:
            second = await bench.run(client=other, **request)
        assert second.session_id == first.session_id
        assert second["directory"] == first["directory"]
        assert second["note"] == f"request {bench.key} is already done"
        asked_once(bench)
        return second

    return does


async def again_while_running(bench: Bench) -> Seen:
    """The same request while its task is at work."""
    request = repeatable(bench, bench.held)
    first = await bench.call("start_task", **request)
    second = await bench.call("start_task", **request)
    assert second.session_id == first.session_id
    assert second["note"] == f"request {bench.key} is already running"
    bench.go()
    seen = await bench.wait(second.session_id)
    asked_once(bench)
    return seen


async def again_in_a_session(bench: Bench) -> Seen:
    """The same request for a session that has gone on since."""
    task = await bench.run("script:text first")
    request = repeatable(bench, "script:text", session_id=task.session_id)
    await bench.run(**request)
    await bench.run("script:text later", session_id=task.session_id)
    second = await bench.run(**request)
    assert second["note"] == f"request {bench.key} is already done"
    asked_once(bench)
    return second


async def with_another_prompt(bench: Bench) -> Seen:
    """The id of a request that was done, with another prompt: it is not answered with the first one's report."""
    await bench.run(**repeatable(bench, "script:text"))
    seen = await bench.run(**repeatable(bench, "script:text another"))
    assert not bench.asked_of_model(f"script:text another {bench.key}"), "the other prompt was sent"
    return seen


def at_once(bridges: int, in_session: bool = False, **arguments: Any) -> Deed:
    """The same request in the same moment: twice through one bridge, or once through each of several."""

    async def does(bench: Bench) -> Seen:
        request = repeatable(bench, "script:text", **arguments)
        if in_session:
            request["session_id"] = await bench.create_session()
        seen: list[Seen] = []

        async def one(client: Client) -> None:
            seen.append(await bench.run(client=client, **request))

        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(bench.bridge()) for _ in range(bridges)]
            async with anyio.create_task_group() as tasks:
                for client in clients * (2 if bridges == 1 else 1):
                    tasks.start_soon(one, client)
        assert len({one.session_id for one in seen}) == 1, "the task was started twice"
        assert {one.state for one in seen} == {"completed"}, [one.text for one in seen]
        asked_once(bench)
        return seen[0]

    return does


def repeatable(bench: Bench, prompt: str, **arguments: Any) -> dict[str, Any]:
    """Return a request that is safe to repeat."""
    return {"prompt": f"{prompt} {bench.key}", "request_id": bench.key, **arguments}


def asked_once(bench: Bench) -> None:
    """See that the model was asked once, and besides for a title at most."""
    asked = [request for request in bench.asked_of_model() if request.script != "title"]
    assert len([request for request in asked if bench.key in request.argument]) == 1, (
        f"the model was asked {len(asked)} times"
    )


ROWS = (
    Row("request repeated", again("script:text"), "completed"),
    Row("request repeated, of a failed task", again("script:error 400"), "failed"),
    Row("request repeated, in a worktree", again("script:text", worktree=True), "completed", project={}),
    Row("request repeated while it runs", again_while_running, "completed", "^held$"),
    Row("request repeated in a session", again_in_a_session, "completed"),
    Row("request repeated with another prompt", with_another_prompt, "error", "with another prompt.* was not sent"),
    Row("request twice at once", at_once(1), "completed"),
    Row("request three times at once, by three bridges", at_once(3), "completed"),
    Row("request twice at once in a session", at_once(2, in_session=True), "completed"),
    Row("request twice at once, in a worktree", at_once(2, worktree=True), "completed", project={}),
)
