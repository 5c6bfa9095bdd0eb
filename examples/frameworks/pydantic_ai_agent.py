"""Pydantic AI: an agent that hands coding tasks to OpenCode.

python examples/frameworks/pydantic_ai_agent.py MODEL PROJECT PROMPT
"""

from __future__ import annotations

import asyncio
import os
import sys

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.openai import OpenAIChatModel


async def main(model: str, project: str, prompt: str) -> None:
    """Run a prompt, and print the agent's answer."""
    server = StdioTransport(
        "opencode-mcp", ["--directory", project, "--toolsets", "essential"], env=dict(os.environ), keep_alive=False
    )
    # Its defaults are 5 seconds for the start, and 5 minutes for a call.
    toolset = MCPToolset(server, init_timeout=60, read_timeout=3600)
    agent = Agent(OpenAIChatModel(model), toolsets=[toolset])
    async with agent:
        print((await agent.run(prompt)).output)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
