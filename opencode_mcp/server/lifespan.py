"""What lives as long as the server does, and reaches every handler with its request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskGroup
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ListenHandler

from opencode_mcp.opencode import Servers
from opencode_mcp.opencode.outgoing import Outgoing, is_secret
from opencode_mcp.settings import Settings

from .bus import Bus
from .ending import Ending
from .progress import Heartbeat

if TYPE_CHECKING:
    from .watching import Watches


@dataclass(frozen=True)
class Lifespan:
    """`tasks` runs what outlives a request, such as a subscription; it is cancelled with the server.

    `outgoing` is what every text passes through on its way to a client, `heartbeat` repeats the progress of calls,
    `bus` carries what changes to all clients, `is_project` says whether a directory of this machine can be a project.
    """

    servers: Servers
    tasks: TaskGroup
    outgoing: Outgoing
    heartbeat: Heartbeat
    bus: Bus
    ending: Ending
    is_project: Callable[[str], bool]

    @cached_property
    def watches(self) -> Watches:
        """What is watched for the subscribers; imported by the first of them."""
        from .watching import Watches

        return Watches(self.bus, self.tasks)

    @cached_property
    def listening(self) -> ListenHandler:
        """What answers subscriptions/listen; its streams end well when the server does."""
        handler = ListenHandler(self.bus)
        self.ending.last.append(handler.close)
        return handler


def known_secrets(settings: Settings) -> Iterator[str]:
    """Yield the values that are secret here: OpenCode is given this environment, and its tools may print it."""
    yield from settings.secrets
    for name, value in settings.environ.items():
        if is_secret(name) and not os.path.isabs(value):  # a path is none, be it PWD or that of a key
            yield value


RequestContext = ServerRequestContext[Lifespan, Any]


def connection_of(context: RequestContext) -> Connection:
    """Return the connection of a request, which lasts from the handshake on until the client goes away."""
    # The SDK has no public name for it yet; a session object is made anew for every request.
    return context.session._connection  # pyright: ignore[reportPrivateUsage]
