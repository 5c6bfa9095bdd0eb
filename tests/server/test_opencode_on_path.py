"""An `opencode` that is an OpenCode 2, started by the bridge: what the client is told, and what it must never see."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.cli.command_process import run_command
from tests.facts import facts

pytestmark = pytest.mark.anyio

PASSWORD = "cGFzc3dvcmQtb2YtdGhlLW90aGVyLXNlcnZlcg"
OPENCODE_2_SCRIPT = f"""#!/bin/sh
if [ "$1" = --version ]; then {{version}}; exit 0; fi
touch "$SERVED"
echo "server listening on http://127.0.0.1:4096"
echo "server password {PASSWORD}"
sleep 300
"""


def write_opencode_2(folder: Path, version: str = "echo opencode v2.0.8") -> Path:
    """Write a program that prints what OpenCode 2 prints."""
    folder.mkdir()
    program = folder / "opencode"
    program.write_text(OPENCODE_2_SCRIPT.format(version=version))
    program.chmod(0o755)
    return program


@pytest.fixture
def opencode_2_environ(environ: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment with an OpenCode 2 on PATH, data of OpenCode 1, and no command: OpenCode 1 comes from npm."""
    keys = Path(environ["HOME"]) / ".local" / "share" / "opencode" / "auth.json"
    keys.parent.mkdir(parents=True, exist_ok=True)
    keys.write_text("{}")
    program = write_opencode_2(tmp_path / "bin")
    own = {name: environ[name] for name in environ.keys() - {"OPENCODE_MCP_COMMAND", "npm_config_registry"}}
    return {**own, "PATH": f"{program.parent}{os.pathsep}{environ['PATH']}", "SERVED": str(tmp_path / "served")}


def result_text(result: types.CallToolResult) -> str:
    """All texts of a result."""
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


async def test_the_first_result_notes_that_the_opencode_on_path_is_not_used(
    opencode_2_environ: Mapping[str, str],
    tmp_path: Path,
    project: Path,
    catalog: Catalog,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once; one line goes to stderr; OpenCode 2 is never started."""
    settings = Settings.load({"directory": str(project)}, opencode_2_environ)
    with caplog.at_level(logging.WARNING):
        async with Client(create_server(settings, catalog)) as client:
            first = await client.call_tool("find_text", {"pattern": "hello from"})
            second = await client.call_tool("find_text", {"pattern": "hello from"})
            healthy = await client.call_tool("global_health", {})

    note = facts(first)["_note"]
    assert f"{tmp_path / 'bin' / 'opencode'} is OpenCode 2.0.8" in note
    assert (
        f"uses its own copy of OpenCode {SNAPSHOT_VERSION} instead; it is not started, as its first start would import"
        in note
    )
    assert [match["path"]["text"] for match in facts(first)["result"]] == ["README.md"]
    assert facts(second) == {"result": facts(first)["result"]}
    assert facts(healthy) == {"healthy": True, "version": SNAPSHOT_VERSION}
    assert [one.getMessage() for one in caplog.records if one.name.startswith("opencode_mcp")] == [note]
    assert not (tmp_path / "served").exists()


async def test_the_first_task_report_has_the_note(
    opencode_2_environ: Mapping[str, str], project: Path, catalog: Catalog
) -> None:
    """Where a report has its notes."""
    settings = Settings.load({"directory": str(project)}, opencode_2_environ)
    async with Client(create_server(settings, catalog)) as client:
        report = await client.call_tool("run_task", {"prompt": "script:text good day"})

    assert facts(report)["state"] == "completed"
    assert "is OpenCode 2.0.8" in facts(report)["note"]
    assert json.loads(result_text(report)) == report.structured_content


@pytest.mark.slow
async def test_doctor_names_the_opencode_in_use(opencode_2_environ: Mapping[str, str], project: Path) -> None:
    """And why not the one on PATH."""
    done = await run_command(opencode_2_environ, "doctor", "--json", cwd=project)
    findings = {one["check"]: one for one in json.loads(done.stdout)["checks"]}

    assert findings["opencode"]["state"] == "warning"
    assert "is OpenCode 2.0.8" in findings["opencode"]["says"]
    assert findings["opencode"]["facts"]["version"] == SNAPSHOT_VERSION
    assert findings["version"]["state"] == "ok"
    assert done.returncode == 0, done


async def test_an_opencode_2_with_a_hidden_version_is_ended_and_its_password_not_shown(
    environ: Mapping[str, str], tmp_path: Path, project: Path, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    """By its first line; it would be waited for, for a minute, and quoted."""
    program = write_opencode_2(tmp_path / "bin", version="true")
    given = {**environ, "OPENCODE_MCP_COMMAND": str(program), "SERVED": str(tmp_path / "served")}
    begun = time.monotonic()
    with caplog.at_level(logging.DEBUG):
        async with Client(create_server(Settings.load({"directory": str(project)}, given), catalog)) as client:
            result = await client.call_tool("path_get", {})

    assert result.is_error
    assert "is OpenCode 2, whose API differs" in result_text(result)
    assert time.monotonic() - begun < 30
    assert (tmp_path / "served").exists()
    assert PASSWORD not in result_text(result) + caplog.text


async def test_a_password_in_a_program_s_output_is_not_quoted(
    environ: Mapping[str, str], tmp_path: Path, project: Path, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest of its last words is."""
    program = tmp_path / "broken"
    program.write_text(f"#!/bin/sh\necho server password {PASSWORD}\necho no disc left\nexit 3\n")
    program.chmod(0o755)
    given = {**environ, "OPENCODE_MCP_COMMAND": str(program)}
    with caplog.at_level(logging.DEBUG):
        async with Client(create_server(Settings.load({"directory": str(project)}, given), catalog)) as client:
            result = await client.call_tool("path_get", {})

    assert "no disc left" in result_text(result)
    assert PASSWORD not in result_text(result) + caplog.text
