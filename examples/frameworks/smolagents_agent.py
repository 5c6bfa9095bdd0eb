"""smolagents: a code agent that hands coding tasks to OpenCode.

python examples/frameworks/smolagents_agent.py MODEL PROJECT PROMPT
"""

from __future__ import annotations

import os
import sys

from mcp import StdioServerParameters
from smolagents import CodeAgent, MCPClient, OpenAIModel


def main(model: str, project: str, prompt: str) -> None:
    """Run a prompt, and print the agent's answer."""
    server = StdioServerParameters(
        command="opencode-mcp", args=["--directory", project, "--toolsets", "essential"], env=dict(os.environ)
    )
    # With structured output the agent's code gets the report as a dictionary.
    with MCPClient(server, structured_output=True) as tools:
        agent = CodeAgent(tools=tools, model=OpenAIModel(model), verbosity_level=0)
        print(agent.run(prompt))


if __name__ == "__main__":
    main(*sys.argv[1:])
