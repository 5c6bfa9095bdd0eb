"""Microsoft Agent Framework: an agent that hands coding tasks to OpenCode.

python examples/frameworks/microsoft_agent_framework.py MODEL PROJECT PROMPT
"""

from __future__ import annotations

import asyncio
import os
import sys

from agent_framework import Agent, MCPStdioTool
from agent_framework.openai import OpenAIChatCompletionClient


async def main(model: str, project: str, prompt: str) -> None:
    """Run a prompt, and print the agent's answer."""
    tool = MCPStdioTool(
        name="opencode",
        command="opencode-mcp",
        args=["--directory", project, "--toolsets", "essential"],
        env=dict(os.environ),
    )
    async with tool, Agent(client=OpenAIChatCompletionClient(model=model), tools=[tool]) as agent:
        print((await agent.run(prompt)).text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
