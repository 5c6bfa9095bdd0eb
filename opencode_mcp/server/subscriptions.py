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
from opencode_mcp.opencode.background import background_task_group
from opencode_mcp.tools.shorten import abbreviate

from .lifespan import Lifespan, RequestContext, connection_of
from .resources import Changes, find, resource_errors

SCOPES = "opencode_mcp.subscriptions"
"""Key of the connection state that holds the cancel scopes of its subscriptions, by URI."""

AGAIN_SECONDS = 5.0
"""Delay between attempts to read the commands of an OpenCode that is not reachable."""

log = logging.getLogger(__name__)

Followed = tuple[str, str, Changes, OpenCodeClient]
"""The URI of a resource, the id of its session, what changes it, and the server that has the session."""


async def followable(life: Lifespan, uri: str) -> Followed:
    """Return what is to be watched for a URI.

    Raises:
        MCPError: there is no such session, or nothing tells when the resource changes.
    """
    with resource_errors(uri, life):
        found, variables = find(uri)
        if found.changes is None:
            raise NotFound(f"{abbreviate(uri)} cannot be subscribed to: OpenCode sends no events for it.")
        async with life.servers.for_session(variables["id"]) as there:
            await there.default.call("session_get", sessionID=variables["id"])
        return uri, variables["id"], found.changes, there.default


async def subscribe(context: RequestContext, params: types.SubscribeRequestParams) -> types.EmptyResult:
    """resources/subscribe (protocol up to 2025-11-25): notify the client until it unsubscribes or disconnects."""
    life, connection = context.lifespan_context, connection_of(context)
    followed = await followable(life, params.uri)
    if (scope := begun(connection, params.uri)) is not None:
        try:
            await life.tasks.start(follow, life, followed, connection, scope)
        except BaseException:  # cancelled or failed: a later request subscribes again
            scopes: dict[str, anyio.CancelScope] = connection.state[SCOPES]
            if scopes.get(params.uri) is scope:  # a later request may have subscribed already
                del scopes[params.uri]
            raise
    return types.EmptyResult()


async def unsubscribe(context: RequestContext, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    """End a subscription, if there is one."""
    scopes: dict[str, anyio.CancelScope] = connection_of(context).state.get(SCOPES, {})
    if (scope := scopes.pop(params.uri, None)) is not None:
        scope.cancel()
    return types.EmptyResult()


async def listen(
    context: RequestContext, params: types.SubscriptionsListenRequestParams
) -> types.SubscriptionsListenResult:
    """subscriptions/listen (protocol from 2026-07-28): notify the client for the duration of its request."""
    life, wanted = context.lifespan_context, params.notifications
    uris = dict.fromkeys(wanted.resource_subscriptions or ())
    all_followed = [await followable(life, uri) for uri in uris]
    honored = types.SubscriptionFilter(
        prompts_list_changed=wanted.prompts_list_changed, resource_subscriptions=list(uris)
    )
    async with AsyncExitStack() as watched, background_task_group() as tasks:
        watches = [await watched.enter_async_context(life.watches.followed(*followed)) for followed in all_followed]
        if wanted.prompts_list_changed:
            # Only to this client: for others nothing has changed. The request to OpenCode takes longer than the
            # acknowledgement that starts the stream.
            meta = {SUBSCRIPTION_ID_META_KEY: context.request_id}
            changed = event_to_notification(PromptsListChanged(), meta)
            send = partial(context.session.send_notification, changed, related_request_id=context.request_id)
            tasks.start_soon(tell_of_commands, life.servers.default, send)
        for watch in watches:
            watch.begun.set()  # what they tell comes after the handler hears the bus, which it does before it waits
        return await life.listening(context, params.model_copy(update={"notifications": honored}))


def announce_commands(context: RequestContext) -> None:
    """Send prompts/list_changed later to a client (protocol up to 2025-11-25) whose list lacks OpenCode's commands."""
    life, connection = context.lifespan_context, connection_of(context)
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return  # it uses subscriptions/listen
    if (scope := begun(connection, "prompts/list")) is not None:
        life.tasks.start_soon(tell_of_commands, life.servers.default, connection.send_prompt_list_changed, scope)


def begun(connection: Connection, key: str) -> anyio.CancelScope | None:
    """Register a scope that is cancelled with the connection; return None if the key is already registered."""
    scopes: dict[str, anyio.CancelScope] = connection.state.setdefault(SCOPES, {})
    if key in scopes:
        return None
    scopes[key] = scope = anyio.CancelScope()
    connection.exit_stack.callback(scope.cancel)
    return scope


async def follow(
    life: Lifespan,
    followed: Followed,
    connection: Connection,
    scope: anyio.CancelScope,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Tell of changes until the scope is cancelled; started once nothing is missed any more.

    Whoever publishes never waits for this client, and what it has not been told of yet it is told of once.
    """
    update = ResourceUpdated(followed[0])
    pending, changed = anyio.create_memory_object_stream[None](1)

    def on_event(event: ServerEvent) -> None:
        if event == update:
            with suppress(anyio.WouldBlock):
                pending.send_nowait(None)

    with scope, pending, changed:
        async with life.watches.followed(*followed) as watch:
            unsubscribe = life.bus.subscribe(on_event)
            watch.begun.set()
            task_status.started()
            try:
                async for _ in changed:
                    await connection.send_resource_updated(update.uri)
            finally:
                unsubscribe()


async def tell_of_commands(
    opencode: OpenCodeClient, send: Callable[[], Awaitable[None]], scope: anyio.CancelScope | None = None
) -> None:
    """Call `send` once, after a running OpenCode has returned its commands: later requests for them are fast."""
    with scope or anyio.CancelScope():
        while True:
            await opencode.server.wait_until_started()
            try:
                await opencode.call("command_list")
            except TransportError:
                await anyio.sleep(AGAIN_SECONDS)
            except OpenCodeError as error:
                log.debug("no commands: %s", error)
                return
            else:
                await send()
                return
