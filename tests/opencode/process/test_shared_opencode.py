"""Real bridges that share a real OpenCode, and are killed in the middle of a prompt."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from tests.bridge import Bridge, find_opencode_pids, find_processes, run_bridge
from tests.eventually import eventually
from tests.facts import raw_facts

from .shared_bridges import left_files

pytestmark = [pytest.mark.anyio, pytest.mark.process]

SLEEP = f"script:tool bash {json.dumps({'command': 'sleep 300', 'description': 'Sleep'})}"


async def start(bridge: Bridge, prompt: str) -> str:
    """Create a session and start a blocking prompt in it, which may do everything; return the session."""
    allow = [{"permission": "*", "pattern": "*", "action": "allow"}]
    session: str = raw_facts(await bridge.call("session_create", permission=allow))["id"]
    await bridge.start_request("tools/call", {"name": "session_prompt", "arguments": prompt_in(session, prompt)})
    return session


async def test_a_bridge_that_is_killed_in_a_prompt_leaves_the_others_working(
    environ: Mapping[str, str], project: Path, tmp_path: Path
) -> None:
    """`kill -9`. Its prompt goes on while another bridge is there, and ends after the last one, with its command."""
    mark = f"OPENCODE_MCP_TEST_MARK={uuid4().hex}"
    name, _, value = mark.partition("=")
    with tempfile.TemporaryDirectory() as temporary:
        environ = {
            **environ,
            name: value,
            "TMPDIR": temporary,
            "XDG_CACHE_HOME": str(tmp_path),
            "OPENCODE_MCP_LINGER": "2",
        }
        del environ["OPENCODE_MCP_NO_SHARE"]
        async with AsyncExitStack() as stack:
            bridges = [await stack.enter_async_context(run_bridge(environ, project)) for _ in range(3)]
            async with anyio.create_task_group() as tasks:
                for bridge in bridges:
                    tasks.start_soon(bridge.initialize)
            sessions = [await start(bridge, SLEEP) for bridge in bridges[:2]]
            await eventually(lambda: find_sleeps(mark), until=lambda found: len(found) == 2)
            assert len(find_opencode_pids(mark)) == 1

            bridges[0].process.send_signal(signal.SIGKILL)
            await bridges[0].process.wait()
            session = raw_facts(await bridges[2].call("session_create"))["id"]
            answer = await bridges[2].call("session_prompt", **prompt_in(session, "script:echo"))
            assert not answer.get("isError"), answer
            await eventually(
                lambda: bridges[2].call("session_status"), until=lambda busy: {*raw_facts(busy)} == {*sessions}
            )
            assert len(find_sleeps(mark)) == 2

            for bridge in bridges[1:]:
                bridge.process.send_signal(signal.SIGKILL)
        await eventually(lambda: find_processes(mark), until=lambda found: not found)
        assert left_files(environ) == []


def prompt_in(session: str, text: str) -> dict[str, object]:
    """Return the arguments of a prompt."""
    return {"sessionID": session, "parts": [{"type": "text", "text": text}]}


def find_sleeps(mark: str) -> list[int]:
    """Return the shell commands that run."""
    return [pid for pid, line in find_processes(mark).items() if line.startswith("sleep 300")]
