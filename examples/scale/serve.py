"""A deployment on one machine: nginx, three replicas of `opencode-mcp http`, Redis, two OpenCode servers.

python -m examples.scale.serve [--port 8000] [--own]: serves until Ctrl-C or SIGTERM, and stops every process.
It needs nginx and redis-server on PATH.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process

from examples.scripted_model import environment, scripted_model
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.process.install import cache_folder, find_program
from opencode_mcp.opencode.process.managed import managed_server

REPLICAS = ("r1", "r2", "r3")
SERVERS = ("one", "two")
PORTS: tuple[str, ...] = ("8000", "8001", "8002", "8003")
"""The ports in nginx.conf: nginx itself, then the replicas."""
START_SECONDS = 60.0
STOP_SECONDS = 15.0
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM") if sys.platform == "linux" else ()
"""Prefix that makes the kernel end a child when this process dies, by `kill -9` too; OpenCode then ends itself."""
PAUSE_SECONDS = 1.0
"""Delay before a replica that has died is restarted."""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def say(line: str) -> None:
    """Print a line to the user."""
    print(line, flush=True)


async def show_progress(line: str) -> None:
    """Print the progress of a download."""
    say(line)


async def wait_until_accepting(port: int) -> None:
    """Wait until a port accepts connections.

    Raises:
        TimeoutError: it does not within `START_SECONDS`.
    """
    with anyio.fail_after(START_SECONDS):
        while True:
            with suppress(OSError):
                return await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            await anyio.sleep(0.05)


@asynccontextmanager
async def run_program(
    *command: str, environ: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> AsyncGenerator[Process]:
    """Run a program during the block, with `stdin` as its input; terminate it afterwards, and kill it after a while."""
    stdin_mode = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    # A session of its own, so that Ctrl-C reaches only this program, which then stops the others in order.
    async with await anyio.open_process(
        (*DIE_WITH_PARENT, *command), stdin=stdin_mode, stdout=None, stderr=None, env=environ, start_new_session=True
    ) as process:
        try:
            if process.stdin is not None and stdin is not None:
                await process.stdin.send(stdin)
                await process.stdin.aclose()
            yield process
        finally:
            with anyio.CancelScope(shield=True), suppress(ProcessLookupError):
                process.terminate()
                with anyio.move_on_after(STOP_SECONDS) as limit:
                    await process.wait()
                if limit.cancelled_caught:
                    process.kill()


@asynccontextmanager
async def model_environ(own_settings: bool, folder: Path) -> AsyncGenerator[Mapping[str, str]]:
    """Provide OpenCode's environment: yours, or an isolated one with the scripted model."""
    if own_settings:
        yield os.environ
        return
    async with scripted_model() as scripted:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENCODE", "XDG_"))}
        yield {**inherited, "HOME": str(folder / "home"), **environment(scripted.url, folder)}


def new_project(folder: Path) -> Path:
    """Create a git repository with one unique commit."""
    folder.mkdir(parents=True)
    author = ("-c", "user.name=scale", "-c", "user.email=scale@localhost")
    for command in (("init", "-q"), (*author, "commit", "-q", "--allow-empty", "-m", str(folder))):
        subprocess.run(("git", *command), cwd=folder, check=True)
    return folder


@asynccontextmanager
async def run_opencode(name: str, environ: Mapping[str, str], folder: Path) -> AsyncGenerator[Endpoint]:
    """Run an OpenCode server with its own data and project."""
    project = new_project(folder / name / "project")
    program = await find_program((), cache_folder(os.environ), os.environ, show_progress)
    environ = {**environ, "XDG_DATA_HOME": str(folder / name / "data"), "XDG_STATE_HOME": str(folder / name / "state")}
    environ["PATH"] = os.pathsep.join([*program.path, environ["PATH"]])
    async with managed_server(program.command, str(project), environ) as server:
        endpoint = await server.endpoint()
        say(f"OpenCode {name}: {endpoint.url}, {project}")
        yield endpoint


@asynccontextmanager
async def run_redis(folder: Path) -> AsyncGenerator[str]:
    """Run a Redis without persistence; return its URL, with the password."""
    port, password = free_port(), secrets.token_urlsafe(24)
    config = f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir "{folder}"\nsave ""\nlogfile /dev/null\n'
    async with run_program("redis-server", "-", stdin=config.encode()):
        await wait_until_accepting(port)
        yield f"redis://:{password}@127.0.0.1:{port}/0"


def replica_environ(url: str, servers: Mapping[str, Endpoint]) -> dict[str, str]:
    """Return the settings that all replicas share, as environment variables, because they contain secrets."""
    passwords = {f"OPENCODE_SERVER_PASSWORD_{name.upper()}": server.password or "" for name, server in servers.items()}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("OPENCODE")},
        **passwords,
        "OPENCODE_MCP_SERVERS": ",".join(f"{name}={server.url}" for name, server in servers.items()),
        "OPENCODE_MCP_REDIS": url,
        "OPENCODE_MCP_STATE_KEY": secrets.token_urlsafe(32),
        "OPENCODE_MCP_TOKEN": os.environ.get("OPENCODE_MCP_TOKEN") or secrets.token_urlsafe(32),
        "OPENCODE_MCP_METRICS": "true",
    }


async def restart_replica(name: str, port: int, environ: Mapping[str, str]) -> None:
    """Run a replica, and restart it when it has died."""
    while True:
        async with run_program(
            sys.executable, "-m", "opencode_mcp", "http", "--port", str(port), environ=environ
        ) as replica:
            await wait_until_accepting(port)
            say(f"replica {name}: process {replica.pid}, http://127.0.0.1:{port}/mcp")
            await replica.wait()
        await anyio.sleep(PAUSE_SECONDS)


def write_nginx_config(ports: Mapping[str, int], folder: Path) -> Path:
    """Write nginx.conf into a new folder, with its ports replaced."""
    text = (Path(__file__).parent / "nginx.conf").read_text()
    for written, port in ports.items():
        text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{port}")
        text = text.replace(rf"127\.0\.0\.1:{written}", rf"127\.0\.0\.1:{port}")
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(text)
    return config


@asynccontextmanager
async def run_nginx(ports: Mapping[str, int], folder: Path) -> AsyncGenerator[None]:
    """Run nginx with nginx.conf, in its own folder and as the current user."""
    config = write_nginx_config(ports, folder)
    foreground = "daemon off;" + ("user root;" if os.geteuid() == 0 else "")
    async with run_program("nginx", "-e", "stderr", "-p", str(folder), "-c", str(config), "-g", foreground):
        await wait_until_accepting(ports[PORTS[0]])
        yield


async def serve(port: int, own_settings: bool, folder: Path) -> None:
    """Start everything, the backends first, and wait."""
    ports = dict(zip(PORTS, (port or free_port(), *(free_port() for _ in REPLICAS)), strict=True))
    async with AsyncExitStack() as stack:
        environ = await stack.enter_async_context(model_environ(own_settings, folder))
        servers = {name: await stack.enter_async_context(run_opencode(name, environ, folder)) for name in SERVERS}
        common = replica_environ(await stack.enter_async_context(run_redis(folder)), servers)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for name, written in zip(REPLICAS, PORTS[1:], strict=True):
            tasks.start_soon(restart_replica, name, ports[written], common)
        for written in PORTS[1:]:
            await wait_until_accepting(ports[written])
        await stack.enter_async_context(run_nginx(ports, folder / "nginx"))
        say(f"header: Authorization: Bearer {common['OPENCODE_MCP_TOKEN']}")
        say(f"url: http://127.0.0.1:{ports[PORTS[0]]}/mcp")
        await anyio.sleep_forever()


async def serve_until_signal(port: int, own_settings: bool, folder: Path) -> None:
    """Serve until a signal arrives."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, port, own_settings, folder)
        with anyio.open_signal_receiver(signal.SIGHUP, signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                break
        tasks.cancel_scope.cancel()


def main() -> int:
    """Parse the command line and serve; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="port of nginx (default 8000; 0: a free one)")
    parser.add_argument("--own", action="store_true", help="OpenCode with your own settings, not the scripted model")
    options = parser.parse_args()
    if missing := [name for name in ("nginx", "redis-server") if shutil.which(name) is None]:
        parser.error(f"{' and '.join(missing)} not found: apt-get install nginx-light redis-server")
    with tempfile.TemporaryDirectory(prefix="opencode-mcp-scale-", ignore_cleanup_errors=True) as folder:
        anyio.run(serve_until_signal, options.port, options.own, Path(folder).resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
