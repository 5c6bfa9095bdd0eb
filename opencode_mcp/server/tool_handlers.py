"""Handlers of tools/list and tools/call: request -> registry -> tool -> result, elicitation or error."""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable, Mapping
from typing import Any, Unpack

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import ContinuesAsTask, InputRequired, OpenCodeError
from opencode_mcp.opencode import ServerPool
from opencode_mcp.opencode.client import CallOptions
from opencode_mcp.opencode.os_limits import find_shortage_in_error
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import Context
from opencode_mcp.tools import VIEWS, Selection, ToolRegistry, add_note, failure, select_tools, select_view, sent_once
from opencode_mcp.tools.truncate import abbreviate

from .elicitation import input_required_result, make_elicitor, shows_urls
from .instructions import write_instructions
from .lifespan import RequestContext, connection_of
from .mcp_tasks.extension import has_tasks
from .mcp_tasks.opencode_tasks import OpenCodeTasks
from .roots import apply_client_root
from .shutdown import Shutdown

HOLD_SECONDS = 8.0
"""How long a call is held before it continues as an MCP task: a short task is answered at once, with progress.

Claude Code 2.1.332 shows the progress of a call; clients limit a silent call to a minute."""

log = logging.getLogger(__name__)


class ToolHandlers:
    """The tools that the settings select, and those of each view below the HTTP endpoint."""

    def __init__(self, settings: Settings, catalog: Catalog, shutdown: Shutdown) -> None:
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
            "--models" if settings.models else "--max-cost" if settings.max_cost is not None else "",
        )
        self._depth = settings.depth
        self._shutdown = shutdown
        self._registry = ToolRegistry(catalog, selection, settings.max_result_chars)
        self._cached_lists: dict[tuple[str, int], HandlerResult] = {}
        self._view_registries = {
            path: ToolRegistry(catalog, select_view(catalog, selection, path), settings.max_result_chars)
            for path in VIEWS
        }
        self.tasks = OpenCodeTasks(self._registry_for, servers_for, settings.depth)

    def _registry_for(self, context: RequestContext) -> ToolRegistry:
        """Return the tools that a request may see: over HTTP a path below the endpoint narrows them."""
        path: str = context.request.scope["path"] if context.request is not None else ""
        return next(
            (registry for view_path, registry in self._view_registries.items() if path.endswith(f"/{view_path}")),
            self._registry,
        )

    @property
    def enforces_rules(self) -> bool:
        """Whether clients can wait for tasks here: only then the bridge enforces their rules."""
        return "wait_for_tasks" in self._registry

    def instructions(self) -> str:
        """Return the instructions for the tools that the settings select."""
        return instructions_for(self._registry.selection)

    async def instruct(self, context: RequestContext, call_next: CallNext) -> HandlerResult:
        """Middleware for initialize and server/discover: give a client of a view the instructions for its tools."""
        result = await call_next(context)
        registry = self._registry_for(context)
        if registry is self._registry or not isinstance(result, dict):
            return result
        return {**result, "instructions": instructions_for(registry.selection)}

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Return a tool's full input schema."""
        return self._registry.input_schema(name)

    async def list_tools(
        self, context: RequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """List the tools, in one page."""
        return types.ListToolsResult(tools=self._registry_for(context).listed)

    async def cache_tool_lists(self, context: RequestContext, call_next: CallNext) -> HandlerResult:
        """Middleware: cache the answer to tools/list by protocol version and view; the lists never change."""
        if context.params and "cursor" in context.params:
            return await call_next(context)
        cache_key = (context.protocol_version, id(self._registry_for(context)))
        if cache_key not in self._cached_lists:
            self._cached_lists[cache_key] = await call_next(context)
        return self._cached_lists[cache_key]

    async def call_tool(
        self, context: RequestContext, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult | dict[str, Any]:
        """Call a tool. Its errors are results with `is_error`; a name that no tool has is a protocol error."""
        registry = self._registry_for(context)
        if params.name not in registry:
            return refuse_unlisted(registry, context, params.name)
        resume_state: Mapping[str, Any] | None = json.loads(params.request_state) if params.request_state else None
        lifespan = context.lifespan_context
        redactor, servers = lifespan.redactor, lifespan.servers
        result: types.CallToolResult | None = None
        try:
            with self._shutdown.track_call(), lifespan.heartbeat.open_reporter(context.session) as report_progress:
                servers = await servers_for(context, report_progress=report_progress)
                publish_client(servers, context)
                elicitor = make_elicitor(context, params, resume_state)
                hold = HOLD_SECONDS if has_tasks(context) and resume_state is None else None
                call_context = Context(
                    servers,
                    report_progress,
                    elicitor,
                    resume_state,
                    self._depth,
                    redactor=redactor,
                    hold_seconds=hold,
                    send_event=lifespan.send_event,
                )
                result = await registry.call(call_context, redactor, params.name, params.arguments or {})
            assert result is not None
            noted = add_note(result, take_server_notes(servers))
            return sent_once(noted, params.name in registry.task_tools, context.protocol_version)
        except ContinuesAsTask as continued:
            return self.tasks.hand_out(context, continued)
        except InputRequired as required:
            return input_required_result(required, redactor, shows_urls(context))
        except OpenCodeError as error:
            return add_note(
                failure(abbreviate(redactor.redact_error(error), lifespan.result_chars)), take_server_notes(servers)
            )
        except Exception as error:
            # A bug in this package: its message is only logged, as it may contain anything.
            log.exception("%s failed", params.name)
            if cause := find_shortage_in_error(error):
                return failure(f"{params.name} failed in this MCP server; whether it took effect is unknown. {cause}")
            raise MCPError(code=types.INTERNAL_ERROR, message="Internal error; see the server's log.") from None


def instructions_for(selection: Selection) -> str:
    """Return the instructions for a selection of tools."""
    return write_instructions(
        selection.listed.__contains__,
        lambda family: any(name.startswith(f"{family}_") for name in selection.listed & selection.reachable),
        gateway=not selection.reachable <= selection.listed,
    )


def refuse_unlisted(registry: ToolRegistry, context: RequestContext, name: str) -> types.CallToolResult:
    """Return how a tool that is not listed is reached, or why it is disabled.

    Raises:
        MCPError: no tool has this name; names the nearest.
    """
    if explanation := registry.explain_unlisted(name):
        return failure(explanation)
    nearest = registry.nearest_names(name)
    shown = abbreviate(context.lifespan_context.redactor.redact_text(name))
    message = f"Unknown tool: {shown}" + (f"; nearest: {nearest}" if nearest else "")
    raise MCPError(code=types.INVALID_PARAMS, message=message)


def take_server_notes(servers: ServerPool) -> str:
    """Take the notes about the OpenCode that was started; the next result carries them."""
    return "; ".join(note for client in servers.clients.values() if (note := client.server.pop_note()))


def publish_client(servers: ServerPool, context: RequestContext) -> None:
    """Publish to the other bridges which client this one serves, and where it works, if that has changed."""
    params = context.session.client_params
    client = params.client_info.name if params is not None and context.request is None else "HTTP clients"
    facts = {"client": client, "directory": servers.default.directory or ""}
    published = context.lifespan_context.published_facts
    if facts != published:
        published.update(facts)
        servers.default.server.publish(**facts)


async def servers_for(context: RequestContext, **options: Unpack[CallOptions]) -> ServerPool:
    """Return the servers for the caller of a request, with these options."""
    call_options: CallOptions = {**options, "caller": caller_key(context)}
    return (await apply_client_root(context)).with_options(**call_options)


def caller_key(context: RequestContext) -> Hashable:
    """Return the caller's key for the limiter: its connection, or for stateless HTTP the client's address and name."""
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS and context.request is not None:
        params = context.session.client_params
        return (context.request.client.host, params.client_info.name if params else "")
    return id(connection_of(context))
