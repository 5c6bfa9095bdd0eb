"""A framework that opens a session for every call: its bridges share an OpenCode, so that a task outlives each."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from opencode_mcp.opencode.process.cache import shared_folder
from tests import pypi
from tests.eventually import eventually
from tests.scenarios.scenario_context import QUICK_CONFIG, make_asking_project

from .server_process import ROOT

pytestmark = [pytest.mark.clients, pytest.mark.anyio]

PROMPT = 'script:tool bash {"command": "echo done > made.txt", "description": "Write"}'


async def test_a_task_with_a_permission_is_completed_by_calls_from_three_bridges(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    """LangChain's own `get_tools()`; OpenCode ends a moment after the last of them."""
    python = pypi.install_environment("converters", Path(__file__).parent / "converters" / "sdk1.txt")
    project = make_asking_project(tmp_path / "project", environ, QUICK_CONFIG)
    shared = {
        **{name: value for name, value in environ.items() if name != "OPENCODE_MCP_NO_SHARE"},
        "OPENCODE_MCP_LINGER": "5",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    command = [str(python), "-m", "tests.e2e.converters.sdk1_langchain", sys.executable, str(project), PROMPT]
    done = await anyio.run_process(command, env=shared, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr.decode()

    reports = [json.loads(line)["report"] for line in done.stdout.splitlines()]
    assert reports[0]["state"] == "waiting_permission"
    assert reports[2]["tasks"][0]["state"] == "completed"
    assert (project / "made.txt").read_text() == "done\n"
    await eventually(lambda: list(shared_folder(shared).glob("*.json")), until=lambda found: not found)
