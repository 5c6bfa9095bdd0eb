"""The real server with the fixtures of the conformance suite: `python -m tests.e2e.fixture_server PORT`.

It is put together and serves as `opencode-mcp http` does. Fixtures are tools, resources and prompts, added to
those that are there; no method of the protocol and no capability is added. The tasks are those of fixtures only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import anyio
import mcp_types as types

from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.document_option import load_catalog
from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.redaction import Redactor
from opencode_mcp.server import BridgeServer, create_server, prompts
from opencode_mcp.server.http.app import create_http_app
from opencode_mcp.server.http.serve import serve_http
from opencode_mcp.server.lifespan import RequestContext, connection_of
from opencode_mcp.server.mcp_tasks.extension import serve_tasks
from opencode_mcp.server.resources import handlers as resources
from opencode_mcp.server.subscriptions import handlers as subscriptions
from opencode_mcp.server.tool_handlers import ToolHandlers
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import Context
from opencode_mcp.tools import ToolRegistry

from . import fixture_contents as contents
from . import fixture_tools as tools
from .fixture_tasks import TASK_HANDLERS, TASKS


@dataclass(frozen=True)
class FixtureToolRegistry(ToolRegistry):
    """Our tools, and the fixtures that are served as they are."""

    def __contains__(self, name: str) -> bool:
        return name in tools.TOOL_HANDLERS or super().__contains__(name)

    @cached_property
    def listed(self) -> list[types.Tool]:
        """Ours first."""
        return [*super().listed, *tools.list_tools(*TASK_HANDLERS)]

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Return the schema of either."""
        return tools.input_schema(name) if name in tools.TOOL_HANDLERS else super().input_schema(name)

    async def call(
        self, context: Context, redactor: Redactor, name: str, arguments: Mapping[str, Any]
    ) -> types.CallToolResult:
        """Call either."""
        if name in tools.TOOL_HANDLERS:
            return await tools.TOOL_HANDLERS[name](context)
        return await super().call(context, redactor, name, arguments)


class FixtureCalls(ToolHandlers):
    """Our way of a call, with the fixtures among the tools."""

    def __init__(self, server: BridgeServer, settings: Settings, catalog: Catalog) -> None:
        """Add the fixtures to the tools that the settings choose."""
        super().__init__(settings, catalog, server.shutdown)
        self._registry = FixtureToolRegistry(
            self._registry.catalog, self._registry.selection, self._registry.max_result_chars
        )

    async def call_tool(
        self, context: RequestContext, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult | dict[str, Any]:
        """Call a tool, or do what no tool of ours does."""
        if params.name in TASK_HANDLERS:
            return await TASK_HANDLERS[params.name](context, params)
        if params.name in tools.REQUEST_HANDLERS:
            return await tools.REQUEST_HANDLERS[params.name](context, params)
        return await super().call_tool(context, params)


async def list_prompts(context: RequestContext, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    """List our prompts, and those that our table cannot hold."""
    own = await prompts.list_prompts(context, params)
    return types.ListPromptsResult(prompts=[*own.prompts, *contents.list_raw_prompts()])


async def get_prompt(
    context: RequestContext, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    """Return a prompt."""
    match params.name:
        case "test_prompt_with_embedded_resource":
            return contents.embedding_prompt((params.arguments or {})["resourceUri"])
        case "test_prompt_with_image":
            return contents.image_prompt()
        case "test_input_required_result_prompt":
            if params.input_responses:
                return contents.make_prompt(contents.make_text("As was answered."))
            request = tools.form_request(context, "user_context", "What context should the prompt use?")
            return types.InputRequiredResult(input_requests={"user_context": request})
        case _:
            return await prompts.get_prompt(context, params)


async def subscribe(context: RequestContext, params: types.SubscribeRequestParams) -> types.EmptyResult:
    """Subscribe to a resource; of the fixture nothing will be heard, as no event of OpenCode tells of it."""
    if params.uri == contents.WATCHED:
        subscriptions.register_scope(connection_of(context), params.uri)
        return types.EmptyResult()
    return await subscriptions.subscribe(context, params)


def add_fixtures(server: BridgeServer, settings: Settings, catalog: Catalog) -> None:
    """Add the fixtures to our tables, and to the handlers of what these cannot hold."""
    resources.RESOURCES = (*resources.RESOURCES, *contents.RESOURCES)
    prompts.BUILT_IN_PROMPTS = {**prompts.BUILT_IN_PROMPTS, **{prompt.name: prompt for prompt in contents.PROMPTS}}
    calls = FixtureCalls(server, settings, catalog)
    server.get_tool_input_schema = calls.input_schema
    server.add_request_handler("tools/list", types.PaginatedRequestParams, calls.list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, calls.call_tool)
    server.add_request_handler("prompts/list", types.PaginatedRequestParams, list_prompts)
    server.add_request_handler("prompts/get", types.GetPromptRequestParams, get_prompt)
    serve_tasks(server, lambda: TASKS)
    server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, subscribe)


def main() -> None:
    """Serve until a signal comes."""
    settings = Settings.load(command="http")
    set_up_logging(settings)
    server = create_server(settings, load_catalog(settings))
    add_fixtures(server, settings, Catalog.from_snapshot())
    application = create_http_app(server, settings, "127.0.0.1", "/mcp")
    anyio.run(partial(serve_http, server, application, "127.0.0.1", int(sys.argv[1])))


if __name__ == "__main__":
    main()
