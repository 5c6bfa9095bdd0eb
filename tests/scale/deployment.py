"""The deployment of examples/scale, started as a person starts it, and clients of it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx2
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from prometheus_client.parser import text_string_to_metric_families

from opencode_mcp.opencode.concurrency import background_task_group
from tests.bridge import find_processes
from tests.eventually import eventually

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
"""It starts two OpenCode servers, three replicas, nginx and Redis on a machine that may be busy."""


@dataclass
class Deployment:
    """What the program has printed. `replicas` has each one's process and endpoint, `started` how often it started."""

    process: Process
    mark: str
    replicas: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    started: dict[str, int] = field(default_factory=dict[str, int])
    token: str = ""
    url: str = ""

    async def read_output(self) -> None:
        """Read on for as long as it prints."""
        assert self.process.stdout is not None
        rest = ""
        async for text in TextReceiveStream(self.process.stdout):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                self.parse_line(line)

    def parse_line(self, line: str) -> None:
        """Take note of a line."""
        if match := re.fullmatch(r"replica (\w+): process (\d+), (\S+)", line):
            self.replicas[match[1]] = (int(match[2]), match[3])
            self.started[match[1]] = self.started.get(match[1], 0) + 1
        elif match := re.fullmatch(r"header: Authorization: Bearer (\S+)", line):
            self.token = match[1]
        elif match := re.fullmatch(r"url: (\S+)", line):
            self.url = match[1]

    def list_processes(self) -> dict[int, str]:
        """The command lines of all that it has started, and of itself, by process."""
        return find_processes(self.mark)

    @property
    def headers(self) -> Mapping[str, str]:
        """What each request needs."""
        return {"authorization": f"Bearer {self.token}"}

    @asynccontextmanager
    async def open_client(self, mode: str, **options: Any) -> AsyncGenerator[Client]:
        """Connect through nginx."""
        async with create_mcp_http_client(headers=dict(self.headers)) as http:
            async with Client(streamable_http_client(self.url, http_client=http), mode=mode, **options) as client:
                yield client

    async def read_metrics(self, replica: str) -> dict[str, float]:
        """What a replica tells Prometheus, by name and labels."""
        address = self.replicas[replica][1].replace("/mcp", "/metrics")
        async with httpx2.AsyncClient(trust_env=False) as http:
            text = (await http.get(address, headers=self.headers)).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {" ".join([point.name, *sorted(point.labels.values())]): point.value for point in samples}

    async def read_metric(self, metric: str) -> dict[str, float]:
        """One figure of every replica."""
        return {name: (await self.read_metrics(name)).get(metric, 0.0) for name in self.replicas}


@asynccontextmanager
async def run_deployment(**environ: str) -> AsyncGenerator[Deployment]:
    """Run it, end it by SIGTERM, and see that nothing of it goes on."""
    for program in ("nginx", "redis-server"):
        if shutil.which(program) is None:
            pytest.fail(f"there is no {program} on PATH: install the distribution's packages nginx-light redis-server")
    command = (sys.executable, "-m", "examples.scale.serve", "--port", "0")
    environ["SCALE_TEST"] = uuid4().hex
    async with (
        await anyio.open_process(command, cwd=ROOT, env={**os.environ, **environ}, stderr=None) as process,
        background_task_group() as tasks,
    ):
        deployment = Deployment(process, f"SCALE_TEST={environ['SCALE_TEST']}")
        tasks.start_soon(deployment.read_output)
        try:
            await eventually(lambda: deployment.url and len(deployment.replicas) == 3, within=START_SECONDS)
            yield deployment
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            with anyio.CancelScope(shield=True):
                await process.wait()
                await eventually(lambda: not deployment.list_processes())


async def wait_for_replica(deployment: Deployment, metric: str) -> str:
    """Wait until a figure of one replica is not 0, and return its name."""
    values = await eventually(partial(deployment.read_metric, metric), lambda values: any(values.values()))
    return next(name for name, value in values.items() if value)
