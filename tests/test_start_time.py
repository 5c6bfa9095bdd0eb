"""What the package adds to the start of a bare server of the SDK."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

PAIR_COUNT = 9

ADDED_SECONDS = 0.3
"""Of CPU. The goal is 0.1 s; 0.7 s of a bare server's start are the SDK's imports."""

ADDED_SHARE = 0.4
"""The same in terms of the bare server's start, for a machine that is slow."""

MINIMAL_SERVER = """\
import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server


async def list_tools(context, params):
    return types.ListToolsResult(tools=[types.Tool(name="nothing", input_schema={"type": "object"})])


async def call_tool(context, params):
    return types.CallToolResult(content=[])


async def main():
    server = Server("bare", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


anyio.run(main)
"""

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "clock", "version": "0"}},
}


def seconds_to_answer(command: Sequence[str], environ: Mapping[str, str], directory: Path) -> float:
    """Run a server until it has answered, and return the seconds of CPU that it took: others do not add to those."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(environ), cwd=directory
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        process.kill()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert answer["result"]["protocolVersion"] == "2025-11-25"
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_the_package_adds_little_to_the_start_of_a_minimal_server(
    environ: Mapping[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """188 operations cost a client no noticeable time; both are measured in turns."""
    environ = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as installed
    script = tmp_path / "bare.py"
    script.write_text(MINIMAL_SERVER)
    bare, ours = (sys.executable, str(script)), (sys.executable, "-m", "opencode_mcp")
    for command in (bare, ours):
        seconds_to_answer(command, environ, tmp_path)  # compiles what was never imported
    pairs = [
        tuple(seconds_to_answer(command, environ, tmp_path) for command in (bare, ours)) for _ in range(PAIR_COUNT)
    ]
    of_bare, of_ours = (min(times) for times in zip(*pairs, strict=True))
    with capsys.disabled():
        print(f"\nfirst answer: bare {of_bare:.3f} s, ours {of_ours:.3f} s, added {of_ours - of_bare:+.3f} s of CPU")  # noqa: T201

    assert of_ours - of_bare < max(ADDED_SECONDS, ADDED_SHARE * of_bare)


@pytest.mark.usefixtures("spawns")
def test_the_engine_of_opencode_2_is_imported_when_it_is_needed() -> None:
    """Its models take time, and most users have one OpenCode."""
    look = "import sys; print([name for name in sys.modules if name.endswith(('.engine2', '.opencode1'))])"
    program = f"import opencode_mcp.cli.serve_stdio; {look}"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "engine.opencode1" in done.stdout
    assert "engine2" not in done.stdout
