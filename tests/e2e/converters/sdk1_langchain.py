"""LangChain's `get_tools()`, as its README shows it: each call of a tool opens a session, and so a bridge, of its own.

sdk1_langchain.py PYTHON PROJECT PROMPT: run a task that asks for a permission, allow it, wait; print each result.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import anyio
from langchain_mcp_adapters.client import MultiServerMCPClient


async def run(python: str, project: str, prompt: str) -> None:
    """Make three calls, each from a new bridge."""
    connection = {
        "transport": "stdio",
        "command": python,
        "args": ["-m", "opencode_mcp", "--directory", project, "--toolsets", "essential"],
        "env": dict(os.environ),
    }
    tools = {tool.name: tool for tool in await MultiServerMCPClient({"opencode": connection}).get_tools()}

    async def call(name: str, **arguments: Any) -> str:
        content = await tools[name].ainvoke(arguments)
        text = content if isinstance(content, str) else content[0]["text"]
        sys.stdout.write(json.dumps([name, text]) + "\n")
        return text

    report = json.loads(await call("run_task", prompt=prompt, permissions="report", timeout_seconds=120))
    session = report["session_id"]
    request = report["pending"][0]["id"]
    await call("answer_permission", session_id=session, request_id=request, reply="once", timeout_seconds=0)
    await call("wait_for_tasks", session_ids=[session], timeout_seconds=120)


if __name__ == "__main__":
    anyio.run(run, *sys.argv[1:])
