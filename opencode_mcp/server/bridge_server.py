"""The MCP server: its handlers and its lifespan.

initialize and server/discover need this module only. A handler's module is imported by the first request that needs it:
some clients allow 1.5 s for the start, and importing the SDK takes half of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import NotificationOptions, Server
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

from opencode_mcp import __version__, board
from opencode_mcp.catalog import Catalog
from opencode_mcp.connect import connect, make_allowlist, make_load_policy
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.redaction import Redactor
from opencode_mcp.server.subscriptions.bus import Bus
from opencode_mcp.settings import Settings

from .instructions import ALL_LISTED
from .lifespan import STATIC_TTL_MS, Lifespan, RequestContext, known_secrets, warn_about_weak_passwords
from .mcp_tasks.extension import serve_tasks
from .negotiation import serve_connection
from .progress import Heartbeat
from .request_state import StateSeal
from .server_info import ICON, NAME, SANDBOX_STATE, TITLE
from .shutdown import Shutdown
from .skills import serve_skills
from .take_over import TakeOver

if TYPE_CHECKING:
    from mcp.server.models import InitializationOptions
    from mcp.shared._stream_protocols import ReadStream, WriteStream
    from mcp.shared.message import SessionMessage

    from opencode_mcp.server.http.metrics import InputSchema, Metrics
    from opencode_mcp.tasks.task_event import SendEvent

    from .tool_handlers import ToolHandlers

CACHE_HINTS: Mapping[CacheableMethod, CacheHint] = {
    "resources/list": CacheHint(),  # the list of sessions changes
    "prompts/list": CacheHint(),  # OpenCode's commands appear once it runs
    "resources/templates/list": CacheHint(ttl_ms=STATIC_TTL_MS),
}


def lazy_handler(module: str, name: str) -> Callable[[RequestContext, Any], Awaitable[Any]]:
    """Return a handler of this package whose module is imported by its first request."""

    async def handler(context: RequestContext, params: Any) -> Any:
        return await getattr(import_module(f"{__package__}.{module}"), name)(context, params)

    return handler


HANDLERS: Mapping[str, Any] = {
    "on_list_resources": lazy_handler("resources.handlers", "list_resources"),
    "on_list_resource_templates": lazy_handler("resources.handlers", "list_resource_templates"),
    "on_read_resource": lazy_handler("resources.handlers", "read_resource"),
    "on_subscribe_resource": lazy_handler("subscriptions.handlers", "subscribe"),
    "on_unsubscribe_resource": lazy_handler("subscriptions.handlers", "unsubscribe"),
    "on_subscriptions_listen": lazy_handler("subscriptions.handlers", "listen"),
    "on_list_prompts": lazy_handler("prompts", "list_prompts"),
    "on_get_prompt": lazy_handler("prompts", "get_prompt"),
    "on_completion": lazy_handler("completions", "complete"),
}
"""The handlers that `Server` takes, by parameter."""


class BridgeServer(Server[Lifespan]):
    """The MCP server of one process. It answers initialize, server/discover and tools/list without OpenCode.

    It advertises only the notifications that it sends: changes of single resources and of the list of prompts.
    `shutdown` drains its calls before it stops; `metrics` measures them, and is None unless the settings ask for it.
    `opened` is what lives as long as it runs.
    """

    opened: Lifespan

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        """Check the settings; nothing is sent to OpenCode.

        Raises:
            SettingsError: an unknown tool or toolset, a directory that is not allowed, or a missing extra.
        """
        make_allowlist(settings)
        self.shutdown = Shutdown()
        self.metrics = make_metrics(settings, self._input_schema)
        self._settings = settings
        self._catalog = catalog.for_servers(tuple(settings.urls))
        self._open_bus = make_bus_factory(settings)
        self._open_hook = make_hook_factory(settings)
        # Selecting raises for a name that does not exist.
        instructions = self._handlers.instructions() if settings.chooses_tools else ALL_LISTED
        super().__init__(
            NAME,
            version=__version__,
            title=TITLE,
            icons=[types.Icon(src=ICON, mime_type="image/svg+xml", sizes=["any"])],
            instructions=instructions,
            lifespan=self._open,
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            cache_hints=CACHE_HINTS,
            **HANDLERS,
        )
        if isinstance(get_tracer_provider(), ProxyTracerProvider):
            self.middleware.clear()  # the SDK's spans: a short call takes 4 to 7 % more CPU with them
        serve_tasks(self, lambda: self._handlers.tasks)
        serve_skills(self)
        self.extensions = {**self.extensions, board.EXTENSION_ID: {}}
        self.middleware.append(StateSeal(settings.state_key, self.name))
        self.middleware.append(self._fit_to_view)  # pyright: ignore[reportArgumentType] - it need not be `async def`
        if self.metrics is not None:
            self.middleware.insert(0, self.metrics.measure_call)

    @cached_property
    def _handlers(self) -> ToolHandlers:
        from .free_memory import return_freed_memory
        from .tool_handlers import ToolHandlers

        handlers = ToolHandlers(self._settings, self._catalog, self.shutdown)
        return_freed_memory()
        return handlers

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        return self._handlers.input_schema(name)

    async def _list_tools(
        self, context: RequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return await self._handlers.list_tools(context, params)

    def _call_tool(self, context: RequestContext, params: types.CallToolRequestParams) -> Awaitable[Any]:
        return self._handlers.call_tool(context, params)

    def _fit_to_view(self, ctx: RequestContext, call_next: CallNext) -> Awaitable[HandlerResult]:
        """Middleware: what depends on the tools that the client sees.

        Returns the awaitable itself, so that no frame of this function stays on the path of a call.
        """
        if ctx.method == "tools/list":
            return self._handlers.cache_tool_lists(ctx, call_next)
        if ctx.request is not None and ctx.method in {"initialize", "server/discover"}:  # over HTTP, which has views
            return self._handlers.instruct(ctx, call_next)
        return call_next(ctx)

    def _enforces_rules(self) -> bool:
        return self._handlers.enforces_rules

    @asynccontextmanager
    async def _open(self, server: Server[Lifespan]) -> AsyncGenerator[Lifespan]:
        """Provide what lives as long as the server runs."""
        settings = self._settings
        observe = nullcontext if self.metrics is None else self.metrics.measure_request
        clients = connect(settings, self._catalog, make_load_policy(settings), observe)
        async with (
            self._open_hook() as send_event,
            clients as servers,
            self._open_bus() as bus,
            background_task_group() as tasks,
        ):
            passwords = [client.server.password for client in servers.clients.values() if client.server.password]
            warn_about_weak_passwords(settings)
            for name, client in servers.clients.items():
                client.server.on_bridges_changed(
                    TakeOver(servers.select(name), self._enforces_rules).on_bridges_changed
                )
            redactor = Redactor(known_secrets(settings, passwords), settings.show_secrets)
            heartbeat = Heartbeat(redactor)
            tasks.start_soon(heartbeat.run)
            limit = settings.max_result_chars
            lifespan = Lifespan(
                servers, tasks, redactor, limit, heartbeat, bus, self.shutdown, settings.is_project, send_event
            )
            if self.metrics is not None:
                self.metrics.count(lifespan)
            self.opened = lifespan
            yield lifespan

    async def run(
        self,
        read_stream: ReadStream[SessionMessage | Exception],
        write_stream: WriteStream[SessionMessage],
        initialization_options: InitializationOptions,
        raise_exceptions: bool = False,
    ) -> None:
        """Serve one connection until its read side closes; `serve_connection` selects the protocol version."""
        async with self.lifespan(self) as lifespan:
            await serve_connection(self, read_stream, write_stream, initialization_options, lifespan, raise_exceptions)

    def get_capabilities(
        self, notification_options: NotificationOptions | None = None, *arguments: Any, **options: Any
    ) -> types.ServerCapabilities:
        """Return the capabilities. From 2026-07-28 on the SDK would advertise every change that a client can subscribe
        to."""
        notifications = notification_options or NotificationOptions()
        notifications.prompts_changed = True
        capabilities = super().get_capabilities(notifications, *arguments, **options)
        capabilities.experimental = {**(capabilities.experimental or {}), SANDBOX_STATE: {}}
        for capability in (capabilities.tools, capabilities.resources):
            if capability is not None:
                capability.list_changed = False
        return capabilities


def create_server(settings: Settings, catalog: Catalog) -> BridgeServer:
    """Create the server.

    Raises:
        SettingsError: an unknown tool or toolset, a directory that is not allowed, or a missing extra.
    """
    return BridgeServer(settings, catalog)


def make_metrics(settings: Settings, input_schema: InputSchema) -> Metrics | None:
    """Return the metrics that the settings ask for; `input_schema` knows the tools.

    Raises:
        SettingsError: prometheus-client is not installed.
    """
    if not settings.metrics:
        return None
    from opencode_mcp.server.http.metrics import Metrics

    return Metrics(input_schema)


def make_bus_factory(settings: Settings) -> Callable[[], AbstractAsyncContextManager[Bus]]:
    """Return the factory of the bus that the settings select.

    Raises:
        SettingsError: the extra for `--redis` is not installed, or its URL is not valid.
    """
    if not settings.redis:
        return lambda: nullcontext(Bus())
    try:
        from opencode_mcp.server.subscriptions.redis_bus import check_redis_url, open_redis_bus
    except ImportError as error:
        raise SettingsError("--redis needs the extra: pip install 'opencode-mcp[redis]'") from error
    check_redis_url(settings.redis)
    return partial(open_redis_bus, settings.redis, " ".join(settings.urls.values()))


def make_hook_factory(settings: Settings) -> Callable[[], AbstractAsyncContextManager[SendEvent | None]]:
    """Return the factory of what sends events to the command of --on-event; None is sent nothing."""
    if settings.on_event is None:
        return nullcontext
    from .event_hook import open_event_hook

    return partial(open_event_hook, settings, settings.on_event)
