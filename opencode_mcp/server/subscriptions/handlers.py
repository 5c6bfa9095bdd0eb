"""Subscriptions: OpenCode's events become `notifications/resources/updated` for the subscribed clients.

Up to 2025-11-25 a client subscribes to one URI after another, and receives notifications until it disconnects. From
2026-07-28 on it sends one subscriptions/listen request, and receives them as that request's stream. Both subscribe to
the server's bus, to which one watcher for each URI publishes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

import anyio
import mcp_types as types
from anyio.abc import TaskStatus
from mcp.server.connection import Connection
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY, PromptsListChanged, ResourceUpdated, ServerEvent
from mcp.shared.subscriptions import event_to_notification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from opencode_mcp.exceptions import NotFound, OpenCodeError, TransportError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.server.lifespan import Lifespan, RequestContext, connection_of
from opencode_mcp.server.resources.handlers import match_uri, resource_errors
from opencode_mcp.tools.truncate import abbreviate

from .watcher import ANY_SESSION, ChangeFilter

SCOPES_KEY = "opencode_mcp.subscriptions"
"""Key of the connection state that holds the cancel scopes of its subscriptions, by URI."""

RETRY_SECONDS = 5.0
"""Delay between attempts to read the commands of an OpenCode that is not reachable."""

log = logging.getLogger(__name__)

WatchTarget = tuple[str, str, ChangeFilter, *tuple[OpenCodeClient, ...]]
"""The URI of a resource, its session's id or ANY_SESSION, the events that change it, and the servers that have it."""


async def resolve_target(lifespan: Lifespan, uri: str) -> WatchTarget:
    """Return the target to watch for a URI. That of the list of sessions is known without a request to OpenCode.

    Raises:
        MCPError: the session does not exist, or OpenCode sends no events for the resource.
    """
    with resource_errors(uri, lifespan):
        definition, variables = match_uri(uri, lifespan.servers.default.catalog)
        if definition.changes is None:
            raise NotFound(f"{abbreviate(uri)} cannot be subscribed to: OpenCode sends no events for it.")
        if "id" not in variables:
            return uri, ANY_SESSION, definition.changes, *lifespan.servers.clients.values()
        async with lifespan.servers.for_session(variables["id"]) as servers:
            await servers.default.call("session_get", sessionID=variables["id"])
        return uri, variables["id"], definition.changes, servers.default


async def subscribe(context: RequestContext, params: types.SubscribeRequestParams) -> types.EmptyResult:
    """resources/subscribe (protocol up to 2025-11-25): notify the client until it unsubscribes or disconnects."""
    lifespan, connection = context.lifespan_context, connection_of(context)
    target = await resolve_target(lifespan, params.uri)
    if (scope := register_scope(connection, params.uri)) is not None:
        try:
            await lifespan.tasks.start(forward_updates, lifespan, target, connection, scope)
        except BaseException:  # cancelled or failed: a later request subscribes again
            scopes: dict[str, anyio.CancelScope] = connection.state[SCOPES_KEY]
            if scopes.get(params.uri) is scope:  # a later request may have subscribed already
                del scopes[params.uri]
            raise
    return types.EmptyResult()


async def unsubscribe(context: RequestContext, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    """End a subscription, if there is one."""
    scopes: dict[str, anyio.CancelScope] = connection_of(context).state.get(SCOPES_KEY, {})
    if (scope := scopes.pop(params.uri, None)) is not None:
        scope.cancel()
    return types.EmptyResult()


async def listen(
    context: RequestContext, params: types.SubscriptionsListenRequestParams
) -> types.SubscriptionsListenResult:
    """subscriptions/listen (protocol from 2026-07-28): notify the client for the duration of its request."""
    lifespan, requested = context.lifespan_context, params.notifications
    uris = dict.fromkeys(requested.resource_subscriptions or ())
    events: list[ServerEvent] = [ResourceUpdated(uri) for uri in uris]
    if requested.prompts_list_changed:
        events.append(PromptsListChanged())
    honored = types.SubscriptionFilter(
        prompts_list_changed=requested.prompts_list_changed, resource_subscriptions=list(uris)
    )
    async with AsyncExitStack() as stack, background_task_group() as tasks:
        handler = stack.enter_context(lifespan.listen_streams.reserve(events))
        targets = [await resolve_target(lifespan, uri) for uri in uris]
        watchers = [await stack.enter_async_context(lifespan.watchers.watch(*target)) for target in targets]
        if requested.prompts_list_changed:
            # Only to this client: for others nothing has changed. The request to OpenCode takes longer than the
            # acknowledgement that starts the stream.
            meta = {SUBSCRIPTION_ID_META_KEY: context.request_id}
            notification = event_to_notification(PromptsListChanged(), meta)
            send = partial(context.session.send_notification, notification, related_request_id=context.request_id)
            tasks.start_soon(send_prompts_changed, lifespan.servers.default, send)
        for watcher in watchers:
            # The watchers' tasks run at the next checkpoint; the handler subscribes to the bus before that.
            watcher.subscriber_listening.set()
        return await handler(context, params.model_copy(update={"notifications": honored}))


def schedule_prompts_changed(context: RequestContext) -> None:
    """Send prompts/list_changed later to a client (protocol up to 2025-11-25) whose list lacks OpenCode's commands."""
    lifespan, connection = context.lifespan_context, connection_of(context)
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return  # it uses subscriptions/listen
    if (scope := register_scope(connection, "prompts/list")) is not None:
        lifespan.tasks.start_soon(
            send_prompts_changed, lifespan.servers.default, connection.send_prompt_list_changed, scope
        )


def register_scope(connection: Connection, key: str) -> anyio.CancelScope | None:
    """Register a scope that is cancelled with the connection; return None if the key is already registered."""
    scopes: dict[str, anyio.CancelScope] = connection.state.setdefault(SCOPES_KEY, {})
    if key in scopes:
        return None
    scopes[key] = scope = anyio.CancelScope()
    connection.exit_stack.callback(scope.cancel)
    return scope


async def forward_updates(
    lifespan: Lifespan,
    target: WatchTarget,
    connection: Connection,
    scope: anyio.CancelScope,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Send updates to a client until the scope is cancelled; `started` once no later change is missed.

    Publishing never waits for the client: changes during a send become one more update.
    """
    update = ResourceUpdated(target[0])
    pending, changed = anyio.create_memory_object_stream[None](1)

    def on_update(_: ServerEvent) -> None:
        with suppress(anyio.WouldBlock):
            pending.send_nowait(None)

    with scope, pending, changed:
        async with lifespan.watchers.watch(*target) as watcher:
            unsubscribe = lifespan.bus.subscribe(on_update, [update])
            watcher.subscriber_listening.set()
            task_status.started()
            try:
                async for _ in changed:
                    await connection.send_resource_updated(update.uri)
            finally:
                unsubscribe()


async def send_prompts_changed(
    opencode: OpenCodeClient, send: Callable[[], Awaitable[None]], scope: anyio.CancelScope | None = None
) -> None:
    """Call `send` once, after a running OpenCode has returned its commands: later requests for them are fast."""
    with scope or anyio.CancelScope():
        while True:
            await opencode.server.wait_until_started()
            try:
                await opencode.call("command_list")
            except TransportError:
                await anyio.sleep(RETRY_SECONDS)
            except OpenCodeError as error:
                log.debug("no commands: %s", error)
                return
            else:
                await send()
                return
