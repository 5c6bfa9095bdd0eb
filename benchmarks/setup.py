"""The test bed: an OpenCode with a scripted model and a project, and the commands of the servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2

from examples.scripted_model import provider_config
from opencode_mcp.opencode.endpoint import Endpoint, ignore_progress
from opencode_mcp.opencode.process.install import Program, cache_folder, find_program
from opencode_mcp.opencode.process.managed import managed_server
from tests.server.connections import free_port

REPOSITORY = Path(__file__).parents[1]
READY_SECONDS = 300.0
READ_SECONDS = 600.0
END_SECONDS = 15.0
TOKEN = secrets.token_urlsafe(32)

FLOOR = (sys.executable, "-m", "benchmarks.floor")
BRIDGE = (sys.executable, "-m", "opencode_mcp")
FROM_OPENAPI = (sys.executable, "-m", "benchmarks.from_openapi")


@dataclass(frozen=True)
class BenchmarkSetup:
    """The running OpenCode, its project, and the environment of every server."""

    folder: Path
    project: Path
    program: Program
    environ: Mapping[str, str]
    endpoint: Endpoint

    @property
    def attached_environ(self) -> Mapping[str, str]:
        """The environment of a bridge that uses the running OpenCode."""
        return {
            **self.environ,
            "OPENCODE_MCP_URL": str(self.endpoint.url),
            "OPENCODE_SERVER_PASSWORD": self.endpoint.password or "",
            "OPENCODE_MCP_TOKEN": TOKEN,
        }

    @asynccontextmanager
    async def open_direct_client(self) -> AsyncGenerator[httpx2.AsyncClient]:
        """Provide an HTTP client of the running OpenCode, without the bridge."""
        async with httpx2.AsyncClient(
            base_url=self.endpoint.url,
            auth=self.endpoint.auth,
            trust_env=False,
            timeout=READ_SECONDS,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
            params={"directory": str(self.project)},
        ) as http:
            yield http


@asynccontextmanager
async def open_setup(folder: Path) -> AsyncGenerator[BenchmarkSetup]:
    """Start an OpenCode with a home directory of its own."""
    project = folder / "project"
    project.mkdir()
    (project / "README.md").write_text("hello\n")
    author = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-qm", "begin")):
        await anyio.run_process(("git", *command), cwd=project)
    program = await find_program((), cache_folder(os.environ), os.environ, ignore_progress)
    port = free_port()
    async with run_server(
        (sys.executable, str(REPOSITORY / "examples/scripted_model.py"), "--port", str(port)), {}, port
    ):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENCODE", "XDG_"))}
        environ = {
            **inherited,
            "HOME": str(folder / "home"),
            "PATH": os.pathsep.join([*program.path, os.environ["PATH"]]),
            "PYTHONPATH": str(REPOSITORY),
            "OPENCODE_CONFIG_CONTENT": json.dumps(provider_config(f"http://127.0.0.1:{port}/v1")),
            "OPENCODE_MCP_COMMAND": program.command[0],
            "OPENCODE_MCP_NO_SHARE": "1",
        }
        async with managed_server(program.command, str(project), environ) as server:
            yield BenchmarkSetup(folder, project, program, environ, await server.endpoint())


@asynccontextmanager
async def run_server(
    command: Sequence[str], environ: Mapping[str, str], port: int
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a process until the block ends, once it listens on a port; SIGTERM ends it.

    Raises:
        ChildProcessError: it has exited.
        TimeoutError: it does not listen within READY_SECONDS.
    """
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(READY_SECONDS):
            while True:
                if process.returncode is not None:
                    raise ChildProcessError(f"{' '.join(command)} exited with {process.returncode}")
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await wait_for_exit(process)


async def wait_for_exit(process: asyncio.subprocess.Process) -> None:
    """Wait for a process to exit, and kill it after END_SECONDS."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
