"""`python -m benchmarks.delegation`: what a delegated task costs the assistant's model, with and without MCP Tasks.

A task of three minutes with one permission, delegated by Claude Code at a terminal; both models are scripted. Its user
says one line, and allows the command in the form. A turn is a request to the assistant's model; tokens are those of
o200k_base in the conversation, without the system prompt and the tools. Then: what it costs to ask for 50 tasks each
second.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import anyio
import httpx2
from anyio import to_thread
from mcp import Client

from opencode_mcp.settings import Settings
from tests import npm
from tests.bridge import find_opencode_pids
from tests.e2e.assistant_script import CallTool, Say
from tests.e2e.assistants import InstalledPrograms
from tests.e2e.claude_code import FORM, answer_form, open_claude_code
from tests.e2e.delegation import DelegatingModel, Turn
from tests.eventually import eventually
from tests.task_client import TaskClient, TaskHandle, send_task_request

from .context import count_tokens
from .setup import BRIDGE, BenchmarkSetup, free_port, open_setup, run_server

HALF_SECONDS = 90
LIMIT_SECONDS = 600.0
COMMANDS = (f"sleep {HALF_SECONDS}", "touch made", f"sleep {HALF_SECONDS}")
CONFIG = {"permission": {"bash": {"*": "ask", "sleep *": "allow"}}}
POLLED_TASKS = 50
WARM_UP_SECONDS, POLLING_SECONDS = 10.0, 30.0
REQUEST_COUNT = "opencode_mcp_request_duration_seconds_count"
MODES: Mapping[str, Mapping[str, str]] = {
    "with MCP Tasks": {},
    "without": {"CLAUDE_CODE_DISABLE_MCP_TASKS": "1"},
}


@dataclass(frozen=True)
class DelegationCost:
    """What one delegation cost, in requests to the model, tokens and seconds.

    `tokens_added` are those of the conversation at its end, `tokens_read` the sum over all requests. The user could
    talk to the model again after `seconds_until_free`.
    """

    turns: int
    tokens_added: int
    tokens_read: int
    seconds_until_free: float
    seconds: float


@dataclass(frozen=True)
class PollingCost:
    """What it costs each second to poll tasks: requests to OpenCode, and the share of a core of both processes.

    `idle_opencode_cpu` is OpenCode's share while nothing is asked.
    """

    polls: float
    requests: float
    bridge_cpu: float
    opencode_cpu: float
    idle_opencode_cpu: float


def delegated_call() -> CallTool:
    """Return the call of the task."""
    calls = [{"name": "bash", "args": {"command": command, "description": command}} for command in COMMANDS]
    return CallTool("run_task", {"prompt": f"script:chain {json.dumps(calls)}"})


async def delegate(setup: BenchmarkSetup, folder: Path, environ: Mapping[str, str]) -> DelegationCost:
    """Delegate the task, allow its command, and wait until the assistant's model has the result."""
    settings = Settings(
        url=str(setup.endpoint.url), password=setup.endpoint.password or "", directory=str(setup.project)
    )
    installed = InstalledPrograms(await to_thread.run_sync(npm.install_assistants), setup.program)
    model = DelegatingModel({"delegate": delegated_call()})
    async with (
        open_claude_code(folder, installed, setup.environ, settings, model) as claude,
        claude.open(**environ) as screen,
    ):
        greetings = len(model.turns)
        await screen.enter("delegate")
        await screen.wait_for(FORM, LIMIT_SECONDS)
        await answer_form(screen, "once")
        await eventually(lambda: "done: chain" in model.turns[-1].heard.text, within=LIMIT_SECONDS)
        await screen.wait_for("done: chain")
    return read_cost(model.turns[greetings:])


def read_cost(turns: Sequence[Turn]) -> DelegationCost:
    """Add up what the model has read."""
    tokens = [*count_tokens({str(number): turn.text for number, turn in enumerate(turns)}).values()]
    first_word = next(turn for turn in turns if isinstance(turn.step, Say))
    return DelegationCost(
        len(turns), tokens[-1] - tokens[0], sum(tokens), first_word.at - turns[0].at, turns[-1].at - turns[0].at
    )


async def poll_tasks(setup: BenchmarkSetup) -> PollingCost:
    """Poll tasks that wait for their models, each once a second."""
    port = free_port()
    environ = {**setup.attached_environ, "OPENCODE_MCP_NO_AUTH": "1", "OPENCODE_MCP_DIRECTORY": str(setup.project)}
    del environ["OPENCODE_MCP_TOKEN"]
    async with (
        run_server((*BRIDGE, "http", "--metrics", "--port", str(port)), environ, port) as bridge,
        TaskClient(f"http://127.0.0.1:{port}/mcp") as client,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        [opencode] = find_opencode_pids(f"HOME={setup.folder / 'home'}")
        handles: list[TaskHandle] = []

        async def start() -> None:
            arguments = {"prompt": "script:hang", "timeout_seconds": 0}
            handle = await client.session.call_tool("run_task", arguments, allow_claimed=True)
            assert isinstance(handle, TaskHandle), handle
            handles.append(handle)

        async with anyio.create_task_group() as group:
            for _ in range(POLLED_TASKS):
                group.start_soon(start)
        await poll_each(client, handles, WARM_UP_SECONDS)

        async def read() -> tuple[float, float, float]:
            return await count_requests(http), cpu_seconds(bridge.pid), cpu_seconds(opencode)

        readings = [await read()]
        await anyio.sleep(POLLING_SECONDS)
        readings.append(await read())
        polls = await poll_each(client, handles, POLLING_SECONDS)
        readings.append(await read())
        idle, polled = (
            [(late - early) / POLLING_SECONDS for early, late in zip(*pair, strict=True)] for pair in pairwise(readings)
        )
        requests, bridge_cpu, opencode_cpu = polled
        return PollingCost(polls / POLLING_SECONDS, requests, bridge_cpu, opencode_cpu, idle[2])


async def poll_each(client: Client, handles: Sequence[TaskHandle], seconds: float) -> int:
    """Poll every task once a second; return the number of polls."""
    polls = 0
    deadline = anyio.current_time() + seconds

    async def poll(handle: TaskHandle) -> None:
        nonlocal polls
        while (began := anyio.current_time()) < deadline:
            state = await send_task_request(client.session, "tasks/get", handle.task_id)
            assert state.status == "working", state
            polls += 1
            await anyio.sleep_until(began + 1)

    async with anyio.create_task_group() as group:
        for handle in handles:
            group.start_soon(poll, handle)
    return polls


async def count_requests(http: httpx2.AsyncClient) -> float:
    """Return how many requests the bridge has made to OpenCode."""
    lines = (await http.get("/metrics")).raise_for_status().text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(REQUEST_COUNT))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with open_setup(folder) as setup:
            (setup.project / "opencode.json").write_text(json.dumps(CONFIG))
            print("| | model turns | tokens added | tokens read | user waits | in all |\n|---|---|---|---|---|---|")
            for title, environ in MODES.items():
                cost = await delegate(setup, folder / title.replace(" ", "-"), environ)
                print(
                    f"| {title} | {cost.turns} | {cost.tokens_added:,} | {cost.tokens_read:,} | "
                    f"{cost.seconds_until_free:.0f} s | {cost.seconds:.0f} s |",
                    flush=True,
                )
            polling = await poll_tasks(setup)
            print(
                f"{POLLED_TASKS} tasks, {polling.polls:.0f} polls/s: {polling.requests:.1f} requests/s to OpenCode, "
                f"{polling.bridge_cpu:.0%} of a core in the bridge, {polling.opencode_cpu:.0%} in OpenCode, "
                f"{polling.idle_opencode_cpu:.0%} without polls"
            )


if __name__ == "__main__":
    anyio.run(main)
