"""Rows about what others do to a task while we wait for it."""

from __future__ import annotations

import anyio
import mcp_types as types
from mcp.client import ClientRequestContext

from .asking import touch
from .bench import QUICK, Bench
from .doing import Act, wait_and_act, while_waiting
from .seen import Seen
from .table import Deed, Row


async def abort(bench: Bench, task: Seen) -> None:
    """Abort the session."""
    await bench.call("session_abort", sessionID=task.session_id)


async def delete(bench: Bench, task: Seen) -> None:
    """Delete the session."""
    await bench.call("session_delete", sessionID=task.session_id)
    bench.sessions.discard(task.session_id)


async def dispose(bench: Bench, task: Seen) -> None:
    """Have OpenCode begin anew in the project."""
    disposed = await bench.call("config_update", directory=str(bench.project), body={})
    assert disposed.state == "answer", disposed.text


async def continue_session(bench: Bench, task: Seen) -> None:
    """Give the session more to do."""
    parts = [{"type": "text", "text": "script:text more"}]
    await bench.call("session_prompt_async", sessionID=task.session_id, parts=parts)
    bench.go()


async def given_more(bench: Bench) -> Seen:
    """The session is given more to do while it works."""
    task = await bench.call("start_task", prompt=bench.held)
    return await wait_and_act(bench, task, continue_session)


def while_asking(act: Act) -> Deed:
    """The user is being asked when something happens to the session; nobody answers."""

    async def does(bench: Bench) -> Seen:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            [session] = (await bench.call("session_list", directory=str(bench.project)))["result"]
            await act(bench, Seen({"session_id": session["id"]}, "", False))
            await anyio.sleep_forever()
            raise AssertionError

        async with bench.bridge(mode="legacy", elicitation_callback=ask) as client:
            return await bench.run(touch(bench), client)

    return does


SLEEP = 'script:tool bash {"command": "sleep 300", "description": "Sleep"}'

ROWS = (
    Row("aborted by somebody else", while_waiting("script:hang", abort), "stopped", "^aborted$"),
    Row("aborted in a command", while_waiting(SLEEP, abort, permissions="allow"), "stopped", "^aborted$"),
    Row("aborted while the user is asked", while_asking(abort), "stopped", "^aborted$", project=QUICK),
    Row("deleted by somebody else", while_waiting("script:hang", delete), "error", "Session not found"),
    Row("deleted in a command", while_waiting(SLEEP, delete, permissions="allow"), "error", "Session not found"),
    Row("deleted while the user is asked", while_asking(delete), "error", "Session not found", project=QUICK),
    Row("disposed by somebody else", while_waiting("script:hang", dispose), "stopped", "", project=QUICK),
    Row("disposed in a command", while_waiting(SLEEP, dispose, permissions="allow"), "stopped", "", project=QUICK),
    Row("disposed while the user is asked", while_asking(dispose), "stopped", "", project=QUICK),
    Row("given more to do by somebody else", given_more, "completed", "more$"),
)
