"""LangChain: an agent that hands coding tasks to OpenCode, in one session for all its calls.

python examples/frameworks/langchain_agent.py MODEL PROJECT PROMPT
"""

from __future__ import annotations

import asyncio
import os
import sys

from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langchain_openai import ChatOpenAI


async def main(model: str, project: str, prompt: str) -> None:
    """Run a prompt, and print the agent's answer."""
    client = MultiServerMCPClient(
        {
            "opencode": {
                "transport": "stdio",
                "command": "opencode-mcp",
                "args": ["--directory", project, "--toolsets", "essential"],
                "env": dict(os.environ),
            }
        }
    )
    # `client.get_tools()` would start a server for every call.
    async with client.session("opencode") as session:
        agent = create_agent(ChatOpenAI(model=model), await load_mcp_tools(session))
        state = await agent.ainvoke({"messages": [{"role": "user", "content": prompt}]})
        print(state["messages"][-1].content)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
