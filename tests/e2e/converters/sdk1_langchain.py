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

    async def call(name: str, **arguments: Any) -> dict[str, Any]:
        content = await tools[name].ainvoke(arguments)
        text = content if isinstance(content, str) else content[0]["text"]
        sys.stdout.write(json.dumps({"tool": name, "report": json.loads(text)}) + "\n")
        return json.loads(text)

    report = await call("run_task", prompt=prompt, permissions="report", timeout_seconds=30)
    session_id, request = report["session_id"], report["pending"][0]
    await call("answer_permission", session_id=session_id, request_id=request["id"], reply="once", timeout_seconds=0)
    await call("wait_for_tasks", session_ids=[session_id], timeout_seconds=30)


if __name__ == "__main__":
    anyio.run(run, *sys.argv[1:])
