"""A framework that opens a session for every call: its bridges share an OpenCode, so that a task outlives each."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from tests import pypi
from tests.bridge import find_processes
from tests.eventually import eventually
from tests.scenarios.scenario_context import make_asking_project

from .server_process import ROOT

pytestmark = [pytest.mark.clients, pytest.mark.anyio]

PROMPT = 'script:tool bash {"command": "echo done > made.txt", "description": "Write"}'


async def test_a_task_with_a_permission_outlasts_the_bridge_that_started_it(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    """LangChain's own `get_tools()`. OpenCode stays for the task that was promised, and no longer."""
    python = pypi.install_environment("converters", Path(__file__).parent / "converters" / "sdk1.txt")
    project = make_asking_project(tmp_path / "project", environ, {})
    environ = {
        **environ,
        "OPENCODE_MCP_NO_SHARE": "0",
        "OPENCODE_MCP_LINGER": "0",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    command = [str(python), "-m", "tests.e2e.converters.sdk1_langchain", sys.executable, str(project), PROMPT]
    done = await anyio.run_process(command, env=environ, cwd=ROOT, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()

    started, answered, waited = (json.loads(json.loads(line)[1]) for line in done.stdout.splitlines())
    assert started["state"] == "waiting_permission"
    assert answered["session_id"] == started["session_id"]
    assert waited["tasks"][0]["state"] == "completed"
    assert (project / "made.txt").read_text() == "done\n"
    await eventually(lambda: find_processes(f"XDG_CACHE_HOME={tmp_path / 'cache'}"), until=lambda found: not found)
