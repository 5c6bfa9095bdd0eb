"""OpenAI Agents SDK: an agent that hands coding tasks to OpenCode.

python examples/frameworks/openai_agents.py MODEL PROJECT PROMPT
"""

from __future__ import annotations

import asyncio
import os
import sys

from agents import Agent, OpenAIChatCompletionsModel, Runner
from agents.mcp import MCPServerStdio, MCPServerStdioParams
from openai import AsyncOpenAI


async def main(model: str, project: str, prompt: str) -> None:
    """Run a prompt, and print the agent's answer."""
    params: MCPServerStdioParams = {
        "command": "opencode-mcp",
        "args": ["--directory", project, "--toolsets", "essential"],
        "env": dict(os.environ),
    }
    # Its default is 5 seconds for every request, and a task takes longer.
    async with MCPServerStdio(params, client_session_timeout_seconds=3600) as server:
        agent = Agent(
            name="Delegator",
            instructions="Delegate coding to OpenCode.",
            model=OpenAIChatCompletionsModel(model, AsyncOpenAI()),
            mcp_servers=[server],
        )
        result = await Runner.run(agent, prompt)
        print(result.final_output)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
