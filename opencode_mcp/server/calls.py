"""Handlers of tools/list and tools/call: request -> registry -> tool -> result, elicitation or error."""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable, Mapping
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from opencode_mcp.exceptions import InputRequired, OpenCodeError
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import ServerPool
from opencode_mcp.opencode.shortage import find_shortage_in_error
from opencode_mcp.settings import Settings
from opencode_mcp.tools import VIEWS, ToolRegistry, add_note, failure, select_tools, select_view
from opencode_mcp.tools.shorten import abbreviate
from opencode_mcp.workflows import Context

from .asking import asker_for, input_required
from .ending import Ending
from .lifespan import RequestContext, connection_of
from .project import in_project

log = logging.getLogger(__name__)


class Calls:
    """The tools that the settings select, and those of each view below the HTTP endpoint."""

    def __init__(self, settings: Settings, catalog: Catalog, ending: Ending) -> None:
        """Choose the tools.

        Raises:
            SettingsError: an unknown name.
        """
        selection = select_tools(
            catalog,
            settings.toolsets,
            settings.tools,
            settings.exclude_tools,
            settings.read_only,
            settings.no_destructive,
        )
        self._depth = settings.depth
        self._ending = ending
        self._all = ToolRegistry(catalog, selection, settings.max_result_chars)
        self._lists: dict[tuple[str, int], HandlerResult] = {}
        self._views = {
            path: ToolRegistry(catalog, select_view(catalog, selection, path), settings.max_result_chars)
            for path in VIEWS
        }

    def _toolbox(self, context: RequestContext) -> ToolRegistry:
        """Return the tools that a request may see: over HTTP a path below the endpoint narrows them."""
        path: str = context.request.scope["path"] if context.request is not None else ""
        return next((narrow for below, narrow in self._views.items() if path.endswith(f"/{below}")), self._all)

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Return a tool's full input schema."""
        return self._all.input_schema(name)

    async def list_tools(
        self, context: RequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """List the tools, in one page."""
        return types.ListToolsResult(tools=self._toolbox(context).listed)

    async def list_once(self, context: RequestContext, call_next: CallNext) -> HandlerResult:
        """Middleware: cache the answer to tools/list by protocol version and view; the lists never change."""
        if context.params and "cursor" in context.params:
            return await call_next(context)
        kind = (context.protocol_version, id(self._toolbox(context)))
        if kind not in self._lists:
            self._lists[kind] = await call_next(context)
        return self._lists[kind]

    async def call_tool(
        self, context: RequestContext, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Call a tool. Its errors are results with `is_error`; an unknown tool is a protocol error."""
        toolbox = self._toolbox(context)
        if params.name not in toolbox:
            name = context.lifespan_context.redactor.redact_text(abbreviate(params.name))
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {name}")
        resume_state: Mapping[str, Any] | None = json.loads(params.request_state) if params.request_state else None
        life = context.lifespan_context
        redactor, servers = life.redactor, life.servers
        result: types.CallToolResult | None = None
        try:
            with self._ending.running(), life.heartbeat.reported(context.session) as report_progress:
                servers = (await in_project(context)).with_options(
                    caller=caller(context), report_progress=report_progress
                )
                elicitor = asker_for(context, params, resume_state)
                call = Context(servers, report_progress, elicitor, resume_state, self._depth)
                result = await toolbox.call(call, redactor, params.name, params.arguments or {})
            assert result is not None
            return add_note(result, note_of(servers))
        except InputRequired as required:
            return input_required(required, redactor)
        except OpenCodeError as error:
            return add_note(failure(abbreviate(redactor.redact_error(error), life.result_chars)), note_of(servers))
        except Exception as error:
            # A bug in this package: its message is only logged, as it may contain anything.
            log.exception("%s failed", params.name)
            if lacking := find_shortage_in_error(error):
                return failure(f"{params.name} failed in this MCP server; whether it took effect is unknown. {lacking}")
            raise MCPError(code=types.INTERNAL_ERROR, message="Internal error; see the server's log.") from None


def note_of(servers: ServerPool) -> str:
    """Take the notes about the OpenCode that was started; the next result carries them."""
    return "; ".join(note for client in servers.clients.values() if (note := client.server.pop_note()))


def caller(context: RequestContext) -> Hashable:
    """Return the caller's key for the limiter: its connection, or for stateless HTTP the client's address and name."""
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS and context.request is not None:
        params = context.session.client_params
        return (context.request.client.host, params.client_info.name if params else "")
    return id(connection_of(context))
