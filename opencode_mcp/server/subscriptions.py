"""Subscriptions: OpenCode's events become `notifications/resources/updated` for whoever asked for them.

Up to 2025-11-25 a client subscribes to one URI after another, and the notifications come beside its
requests until its connection ends. From 2026-07-28 on it sends one subscriptions/listen request,
whose answer they are. Both hear the same feed, which is open only while somebody is subscribed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import anyio
import mcp_types as types
from anyio.abc import TaskStatus
from mcp.server.connection import Connection
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ResourceUpdated
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCode
from opencode_mcp.opencode.background import background
from opencode_mcp.opencode.events import Event, session_of
from opencode_mcp.workflows.truth import family_of
from opencode_mcp.workflows.wait import parent_of

from .contents import NotFound
from .lifespan import Lifespan, RequestContext, connection_of
from .resources import Changes, find, resource_errors

UPDATE_SECONDS = 0.5
"""The least time between two notifications of one resource; a burst of events becomes one."""

CONCERNS_ALL = frozenset({"stream.connected", "server.instance.disposed", "global.disposed"})
"""Events after which anything may have changed; before the first of them events may have been missed."""

UNREADABLE = frozenset({"message.part.delta"})
"""Events that change nothing which can be read: OpenCode keeps a text when it is complete (1.18.33)."""

SCOPES = "opencode_mcp.subscriptions"
"""Where a connection keeps the cancel scopes of what it subscribed to, by URI."""

log = logging.getLogger(__name__)

Send = Callable[[], Awaitable[None]]


@dataclass
class Watch:
    """Hears the events that change one resource; `changed` is set by each."""

    family: set[str]
    changes: Changes
    changed: anyio.Event = field(default_factory=anyio.Event)

    def notice(self, event: Event) -> None:
        """Take note of an event."""
        kind: str = event["type"]
        about = session_of(event)
        if about is not None and self.changes.subagents and parent_of(event) in self.family:
            self.family.add(about)
        told = kind.startswith((*self.changes.events, "session.deleted")) and kind not in UNREADABLE
        if kind in CONCERNS_ALL or (told and about in self.family):
            self.changed.set()

    async def tell(self, send: Send) -> None:
        """Send after every change: at once after the first, and always once more after the last."""
        while True:
            await self.changed.wait()
            self.changed = anyio.Event()
            await send()
            await anyio.sleep(UPDATE_SECONDS)


async def watch(life: Lifespan, uri: str) -> tuple[OpenCode, Watch]:
    """Return the server that has a session, and a watch of the session's resource.

    Raises:
        MCPError: there is no such session, or nothing tells when the resource changes.
    """
    with resource_errors(uri, life.outgoing):
        found, variables = find(uri)
        if found.changes is None:
            raise NotFound(f"{uri} cannot be subscribed to: OpenCode does not tell when it changes.")
        async with life.servers.having(variables["id"]) as servers:
            family = await family_of(servers.first, variables["id"])
        return servers.first, Watch(set(family if found.changes.subagents else family[:1]), found.changes)


async def subscribe(context: RequestContext, params: types.SubscribeRequestParams) -> types.EmptyResult:
    """Notify a client of the handshake era until it unsubscribes or goes away."""
    life, connection = context.lifespan_context, connection_of(context)
    opencode, watched = await watch(life, params.uri)
    if (scope := begun(connection, params.uri)) is not None:
        send = partial(connection.send_resource_updated, params.uri)
        await life.tasks.start(hear_and_tell, opencode, watched, send, scope)
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
    """Notify a client of the 2026 era for as long as its request lasts."""
    life, wanted = context.lifespan_context, params.notifications
    watches = {uri: await watch(life, uri) for uri in dict.fromkeys(wanted.resource_subscriptions or ())}
    honored = types.SubscriptionFilter(
        prompts_list_changed=wanted.prompts_list_changed, resource_subscriptions=list(watches)
    )
    bus = InMemorySubscriptionBus()
    async with AsyncExitStack() as heard, background() as tasks:
        for uri, (opencode, one) in watches.items():
            await heard.enter_async_context(opencode.events.heard_by(one.notice))
            # It does not run before the handler below waits, which has subscribed to the bus by then.
            tasks.start_soon(one.tell, partial(bus.publish, ResourceUpdated(uri)))
        if wanted.prompts_list_changed:
            tasks.start_soon(tell_of_commands, life.servers.first, partial(bus.publish, PromptsListChanged()))
        return await ListenHandler(bus)(context, params.model_copy(update={"notifications": honored}))


def announce_commands(context: RequestContext) -> None:
    """Tell a client of the handshake era that was given a list of prompts without OpenCode's commands."""
    life, connection = context.lifespan_context, connection_of(context)
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return  # it listens, if it wants to know
    if (scope := begun(connection, "prompts/list")) is not None:
        life.tasks.start_soon(tell_of_commands, life.servers.first, connection.send_prompt_list_changed, scope)


def begun(connection: Connection, key: str) -> anyio.CancelScope | None:
    """Return a scope that ends with the connection, or None when there is one of this key already."""
    scopes: dict[str, anyio.CancelScope] = connection.state.setdefault(SCOPES, {})
    if key in scopes:
        return None
    scopes[key] = scope = anyio.CancelScope()
    connection.exit_stack.callback(scope.cancel)
    return scope


async def hear_and_tell(
    opencode: OpenCode,
    watched: Watch,
    send: Send,
    scope: anyio.CancelScope,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Tell of changes until the scope is cancelled; started once nothing is missed any more."""
    with scope:
        async with opencode.events.heard_by(watched.notice):
            task_status.started()
            await watched.tell(send)


async def tell_of_commands(opencode: OpenCode, send: Send, scope: anyio.CancelScope | None = None) -> None:
    """Send once, when OpenCode runs and has told its commands: it does so at once from then on."""
    with scope or anyio.CancelScope():
        await opencode.server.until_running()
        try:
            await opencode.call("command_list")
        except OpenCodeError as error:
            log.debug("no commands: %s", error)
        else:
            await send()
