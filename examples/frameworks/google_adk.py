"""Google ADK: an agent that hands coding tasks to OpenCode.

python examples/frameworks/google_adk.py MODEL PROJECT PROMPT
"""

from __future__ import annotations

import asyncio
import os
import sys

from google.adk.agents import LlmAgent
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams
from mcp import StdioServerParameters


async def main(model: str, project: str, prompt: str) -> None:
    """Run a prompt, and print the agent's answer."""
    server = StdioServerParameters(
        command="opencode-mcp", args=["--directory", project, "--toolsets", "essential"], env=dict(os.environ)
    )
    # Its default is 5 seconds, for the start and for each call.
    toolset = McpToolset(connection_params=StdioConnectionParams(server_params=server, timeout=3600))
    agent = LlmAgent(name="delegator", model=LiteLlm(model=f"openai/{model}"), tools=[toolset])
    try:
        async with InMemoryRunner(agent=agent) as runner:
            for event in await runner.run_debug(prompt, quiet=True):
                if event.is_final_response() and event.content and event.content.parts:
                    print(event.content.parts[0].text)
    finally:
        await toolset.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
