"""The baseline `floor`: the SDK's lowlevel server with one tool that does nothing.

python -m benchmarks.floor [PORT]: stdio, or streamable HTTP in SSE mode as the bridge serves it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

SCHEMA: Mapping[str, Any] = {"type": "object"}


async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
    """List the tool."""
    return types.ListToolsResult(tools=[types.Tool(name="nothing", input_schema=dict(SCHEMA))])


async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    """Return an empty object."""
    return types.CallToolResult(content=[types.TextContent(type="text", text="{}")])


async def main() -> None:
    """Serve until stdin ends, or over HTTP until the process is stopped."""
    server = Server[Any](
        "floor", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=lambda name: SCHEMA
    )
    if len(sys.argv) > 1:
        import uvicorn

        config = uvicorn.Config(server.streamable_http_app(), port=int(sys.argv[1]), log_config=None, ws="none")
        await uvicorn.Server(config).serve()
        return
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


anyio.run(main)
