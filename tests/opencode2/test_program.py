"""The fake as a program: what it prints, its password, its end, and its database."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from examples.scripted_model import ScriptedModel, environment
from tests.eventually import eventually

from .program import install_program

pytestmark = pytest.mark.anyio

PASSWORD = "of-the-environment"
Lines = Callable[[], Awaitable[str]]


@asynccontextmanager
async def start(command: Path, environ: Mapping[str, str], *options: str) -> AsyncGenerator[tuple[Process, Lines]]:
    """Start the program; return its process and what reads its next line."""
    arguments = [str(command), "serve", "--hostname", "127.0.0.1", "--port", "0", *options]
    async with await anyio.open_process(arguments, env=environ, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        stream = BufferedByteReceiveStream(process.stdout)

        async def read_line() -> str:
            with anyio.fail_after(60):
                return (await stream.receive_until(b"\n", 10_000)).decode()

        try:
            yield process, read_line
        finally:
            if process.returncode is None:
                process.kill()


async def test_the_program_ends_with_its_input_and_keeps_its_sessions(
    model: ScriptedModel, tmp_path: Path, spawns: None
) -> None:
    """It prints one line of JSON, and no password; another process on the same data has the sessions."""
    command = install_program(tmp_path / "bin")
    environ: dict[str, str] = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "OPENCODE_PASSWORD": PASSWORD,
        **environment(model.url, tmp_path),
    }
    printed = await anyio.run_process([str(command), "--version"], env=environ)
    assert printed.stdout == b"opencode v2.1.2\n"
    async with start(command, environ, "--stdio") as (process, read_line):
        url = json.loads(await read_line())["url"]
        created = await call(url, "POST", "session", {"title": "kept"})
        path = f"session/{created['data']['id']}"
        await call(url, "POST", f"{path}/prompt", {"text": "script:text hi"})
        await eventually(lambda: call(url, "GET", path), lambda found: "outcome" in found["data"])
        assert process.stdin is not None
        await process.stdin.aclose()
        with anyio.fail_after(60):
            assert await process.wait() == 0
    async with start(command, environ, "--stdio") as (_, read_line):
        found = await call(json.loads(await read_line())["url"], "GET", path)
    assert (found["data"]["title"], found["data"]["outcome"]) == ("kept", "succeeded")


async def test_the_program_prints_a_password_that_was_not_given(tmp_path: Path, spawns: None) -> None:
    """As text, without `--stdio`."""
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    async with start(install_program(tmp_path / "bin"), environ) as (_, read_line):
        assert (await read_line()).startswith("server listening on http://127.0.0.1:")
        assert len((await read_line()).removeprefix("server password ").strip()) == 43


async def call(url: str, method: str, path: str, body: Any = None) -> Any:
    """Send a request with the password of the environment."""
    async with httpx2.AsyncClient(auth=("opencode", PASSWORD), timeout=60, trust_env=False) as http:
        answer = await http.request(method, f"{url}/api/{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json()
