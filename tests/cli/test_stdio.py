"""`opencode-mcp` without a command, at a terminal; and Ctrl-C before a command runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest

from .command_process import command_environ, run_in_terminal, run_program

INTERRUPT_AT_IMPORT = """
import os, signal, sys

class InterruptAtImport:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPT_AT"]:
            os.write(1, b"interrupted")
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, InterruptAtImport())
from opencode_mcp.__main__ import main
sys.exit(main())
"""
"""The program, with SIGINT in the middle of an import."""

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "typed", "version": "1"}},
}


@pytest.mark.anyio
async def test_a_user_who_starts_the_server_at_a_terminal_reads_what_to_type(environ: Mapping[str, str]) -> None:
    """And it serves all the same; Ctrl-C ends it without a traceback."""
    with run_in_terminal(command_environ(environ)) as shell:
        await shell.wait_for_text("waiting for an MCP client")
        await shell.wait_for_text("opencode-mcp install CLIENT")
        await shell.type(json.dumps(INITIALIZE) + "\n")
        await shell.wait_for_text('"serverInfo"')
        await shell.interrupt()
        assert await shell.wait() == -signal.SIGINT, shell.output  # as the shell expects of a program that handles it

    assert "Traceback" not in shell.output


@pytest.mark.anyio
async def test_a_client_gets_no_such_message(environ: Mapping[str, str]) -> None:
    done = await run_program(command_environ(environ), stdin=json.dumps(INITIALIZE) + "\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[0])["id"] == 1


@pytest.mark.usefixtures("spawns")
@pytest.mark.parametrize(
    "module",
    [
        "opencode_mcp.cli",
        "argparse",
        "opencode_mcp.settings.parsing",
        "opencode_mcp.cli.commands.call",
        "asyncio.events",
        "pydantic_core",
        "mcp.client.session",
        "jsonschema_rs",
        "opencode_mcp.tasks.worktree",
    ],
)
def test_an_interrupted_import_prints_no_traceback(environ: Mapping[str, str], module: str) -> None:
    """Exit code 130, wherever the import is at that moment."""
    command = [sys.executable, "-c", INTERRUPT_AT_IMPORT, "call", "find_text", "pattern=x"]
    done = subprocess.run(
        command, env={**environ, "INTERRUPT_AT": module}, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "interrupted", "")
