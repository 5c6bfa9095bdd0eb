"""Clients that need version 1 of the MCP SDK."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
from autogen_ext.tools.mcp import StreamableHttpMcpToolAdapter, StreamableHttpServerParams, mcp_server_tools
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from smolagents import Tool
from smolagents.mcp_client import MCPClient
from smolagents.models import get_tool_json_schema
from smolagents.tools import validate_tool_arguments

from .checks import ConvertedTool, Schema, Tools, main


async def list_schemas(url: str) -> dict[str, Schema]:
    """Return the input schemas that a server publishes."""
    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        return {tool.name: tool.inputSchema for tool in (await session.list_tools()).tools}


async def convert_with_autogen(url: str) -> Tools:
    """A pydantic model is made of each schema; a call is validated by it, and sent with what it sets."""

    def convert(tool: StreamableHttpMcpToolAdapter) -> ConvertedTool:
        def send(arguments: dict[str, Any]) -> Any:
            return tool.args_type().model_validate(arguments).model_dump(exclude_unset=True)

        return ConvertedTool(tool.schema["parameters"], send, keeps_inner_items=False)

    return {tool.name: partial(convert, tool) for tool in await mcp_server_tools(StreamableHttpServerParams(url=url))}


async def convert_with_langchain(url: str) -> Tools:
    """The schema is kept; chat models of OpenAI's kind get it as a function."""

    def convert(tool: BaseTool) -> ConvertedTool:
        return ConvertedTool(convert_to_openai_tool(tool)["function"]["parameters"])

    tools = await load_mcp_tools(None, connection={"transport": "streamable_http", "url": url})
    return {tool.name: partial(convert, tool) for tool in tools}


async def convert_with_smolagents(url: str) -> Tools:
    """The types of a call's arguments are checked. All of them are required: `nullable` alone would say otherwise."""

    def convert(tool: Tool) -> ConvertedTool:
        def send(arguments: dict[str, Any]) -> dict[str, Any]:
            validate_tool_arguments(tool, arguments)
            return arguments

        return ConvertedTool(get_tool_json_schema(tool)["function"]["parameters"], send, requires="arguments")

    def connect() -> Tools:
        parameters = {"url": url, "transport": "streamable-http"}
        with MCPClient(parameters, structured_output=True) as tools:
            return {tool.name: partial(convert, tool) for tool in tools}

    return await anyio.to_thread.run_sync(connect)


CONVERTERS = {
    "AutoGen": convert_with_autogen,
    "LangChain": convert_with_langchain,
    "smolagents": convert_with_smolagents,
}

if __name__ == "__main__":
    main(CONVERTERS, list_schemas)
