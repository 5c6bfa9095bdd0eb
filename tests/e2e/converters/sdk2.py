"""Clients that take version 2 of the MCP SDK, and grammars for local models."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from agent_framework import FunctionTool, MCPStreamableHTTPTool
from agents import Agent, RunContextWrapper
from agents.mcp import MCPServerStreamableHttp, MCPUtil
from agents.tool import FunctionTool as OpenAITool
from anthropic.lib.tools.mcp import async_mcp_tool
from google.genai._mcp_utils import mcp_to_gemini_tool
from google.genai.types import FunctionDeclaration
from llama_index.core.tools import FunctionTool as LlamaTool
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from mcp import Client, ClientSession
from mcp_types import Tool
from outlines_core.json_schema import build_regex_from_schema
from pydantic_ai import RunContext, RunUsage
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import ToolsetTool

from .checks import ConvertedTool, Schema, Tools, main


async def list_tools(url: str) -> list[Tool]:
    """Return the tools that a server publishes."""
    async with Client(url) as client:
        return (await client.list_tools()).tools


async def list_schemas(url: str) -> dict[str, Schema]:
    """Return the input schemas that a server publishes."""
    return {tool.name: tool.input_schema for tool in await list_tools(url)}


async def convert_with_agent_framework(url: str) -> Tools:
    """The schema is kept."""

    def convert(tool: FunctionTool) -> ConvertedTool:
        return ConvertedTool(tool.to_json_schema_spec()["function"]["parameters"])

    async with MCPStreamableHTTPTool("opencode", url, load_prompts=False) as client:
        return {tool.name: partial(convert, tool) for tool in client.functions}


async def convert_with_anthropic(url: str) -> Tools:
    """The schema is kept."""

    def convert(tool: Tool, session: ClientSession) -> ConvertedTool:
        return ConvertedTool(async_mcp_tool(tool, session).to_dict()["input_schema"])

    async with Client(url) as client:
        return {tool.name: partial(convert, tool, client.session) for tool in (await client.list_tools()).tools}


async def convert_with_google(url: str, declare: Callable[[Tool], FunctionDeclaration]) -> Tools:
    """Gemini's own kind of schema; a value that it has no room for is a warning when it is written as JSON."""

    def convert(tool: Tool) -> ConvertedTool:
        parameters = declare(tool).parameters
        with warnings.catch_warnings(action="error"):
            return ConvertedTool(parameters.model_dump(mode="json", by_alias=True, exclude_none=True))

    return {tool.name: partial(convert, tool) for tool in await list_tools(url)}


def declare_for_mcp(tool: Tool) -> FunctionDeclaration:
    """Declare a tool as the client does with those of an MCP session."""
    [declaration] = mcp_to_gemini_tool(tool).function_declarations
    return declaration


def declare_by_hand(tool: Tool) -> FunctionDeclaration:
    """Declare a tool with its schema as it is, as programs do that talk to Gemini themselves."""
    return FunctionDeclaration(name=tool.name, description=tool.description, parameters=tool.input_schema)


async def convert_with_llama_index(url: str) -> Tools:
    """A pydantic model is made of each schema, in which an object has no fields; a call is sent as it is."""

    def convert(tool: LlamaTool) -> ConvertedTool:
        def send(arguments: dict[str, Any]) -> Any:
            return tool.metadata.fn_schema.model_validate(arguments).model_dump(exclude_unset=True)

        return ConvertedTool(tool.metadata.get_parameters_dict(), send, keeps_fields=False)

    tools = await McpToolSpec(BasicMCPClient(url)).to_tool_list_async()
    return {tool.metadata.name: partial(convert, tool) for tool in tools}


async def convert_with_openai(url: str, to_strict: bool) -> Tools:
    """The schema is kept, or made strict: every field required, no other allowed.

    A strict schema has no room for an object of any fields, such as a configuration: the client keeps the schema of
    a tool that takes one. It must keep no other.
    """

    def convert(tool: OpenAITool) -> ConvertedTool:
        is_strict = tool.strict_json_schema
        if is_strict != (to_strict and not has_open_object(tool.params_json_schema)):
            raise ValueError(f"strict: {is_strict}")
        return ConvertedTool(tool.params_json_schema, requires="fields" if is_strict else "same")

    async with MCPServerStreamableHttp({"url": url}) as server:
        tools = await MCPUtil.get_function_tools(server, to_strict, RunContextWrapper(None), Agent("anyone"))
    return {tool.name: partial(convert, tool) for tool in tools}


def has_open_object(schema: Schema) -> bool:
    """Whether an object in it may have fields that it does not name."""
    if schema.get("type") == "object" and not schema.get("properties") and schema.get("additionalProperties", True):
        return True
    items = (schema["items"],) if "items" in schema else ()
    return any(map(has_open_object, (*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *items)))


async def convert_with_outlines(url: str) -> Tools:
    """A regular expression that a local model's output has to match."""

    def convert(schema: Schema) -> ConvertedTool:
        pattern = re.compile(build_regex_from_schema(json.dumps(schema)))

        def send(arguments: dict[str, Any]) -> dict[str, Any]:
            if not pattern.fullmatch(json.dumps(arguments)):
                raise ValueError("the expression does not match")
            return arguments

        return ConvertedTool(schema, send)

    return {name: partial(convert, schema) for name, schema in (await list_schemas(url)).items()}


async def convert_with_pydantic_ai(url: str) -> Tools:
    """The schema is kept."""

    def convert(tool: ToolsetTool[None]) -> ConvertedTool:
        return ConvertedTool(tool.tool_def.parameters_json_schema)

    async with MCPToolset[None](url) as toolset:
        tools = await toolset.get_tools(RunContext(deps=None, model=TestModel(), usage=RunUsage()))
    return {name: partial(convert, tool) for name, tool in tools.items()}


CONVERTERS = {
    "Agent Framework": convert_with_agent_framework,
    "Anthropic": convert_with_anthropic,
    "Gemini": partial(convert_with_google, declare=declare_for_mcp),
    "Gemini, declared by hand": partial(convert_with_google, declare=declare_by_hand),
    "LlamaIndex": convert_with_llama_index,
    "OpenAI": partial(convert_with_openai, to_strict=False),
    "OpenAI, strict": partial(convert_with_openai, to_strict=True),
    "outlines-core": convert_with_outlines,
    "pydantic-ai": convert_with_pydantic_ai,
}

if __name__ == "__main__":
    main(CONVERTERS, list_schemas)
