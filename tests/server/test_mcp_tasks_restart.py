"""A task outlives the process that returned its handle, and its end is reported also where OpenCode ended."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.bridge import Bridge, find_processes, kill_opencode, run_bridge
from tests.eventually import eventually

from .raw_task_client import ENDED, FORMS, TASKS, meta

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def request(bridge: Bridge, method: str, **params: Any) -> dict[str, Any]:
    """Send a request of a client with MCP Tasks over stdio."""
    answer = await bridge.request(method, {**params, "_meta": meta({**TASKS, **FORMS})})
    return answer["result"]


async def wait(bridge: Bridge, task_id: str) -> dict[str, Any]:
    """Ask for a task until it has ended."""
    with anyio.fail_after(60):
        while (state := await request(bridge, "tasks/get", taskId=task_id))["status"] not in ENDED:
            await anyio.sleep(0.2)
    return state


async def start(bridge: Bridge, file: Path) -> str:
    """Start a task that lasts until a file exists, and return its id."""
    arguments = {"prompt": f"script:hold {file}", "timeout_seconds": 0}
    return (await request(bridge, "tools/call", name="run_task", arguments=arguments))["taskId"]


async def test_the_next_bridge_reports_a_task(environ: Mapping[str, str], project: Path, tmp_path: Path) -> None:
    """A task that was handed out runs without a bridge, and the next one has its result, or why there is none."""
    cache = tmp_path / "cache"
    mark = f"XDG_CACHE_HOME={cache}"
    shared = {**environ, "OPENCODE_MCP_NO_SHARE": "0", "OPENCODE_MCP_LINGER": "0", "XDG_CACHE_HOME": str(cache)}
    async with run_bridge(shared, project) as bridge:
        finished, interrupted = await start(bridge, tmp_path / "one"), await start(bridge, tmp_path / "two")
        os.kill(bridge.process.pid, signal.SIGKILL)
        await bridge.process.wait()
    async with run_bridge(shared, project) as bridge:
        for task_id in (finished, interrupted):
            assert (await request(bridge, "tasks/get", taskId=task_id))["status"] == "working"
        (tmp_path / "one").touch()
        report = json.loads((await wait(bridge, finished))["result"]["content"][0]["text"])
        assert (report["state"], report["answer"]) == ("completed", "held")
        kill_opencode(mark)
        result = (await wait(bridge, interrupted))["result"]
        assert result["isError"]
        assert "OpenCode exited during the turn" in json.loads(result["content"][0]["text"])["error"]
    await eventually(lambda: find_processes(mark), until=lambda found: not found)
