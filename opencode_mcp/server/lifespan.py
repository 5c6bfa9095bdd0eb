"""What lives as long as the server does, and reaches every handler with its request."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskGroup
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ListenHandler

from opencode_mcp.opencode import Servers
from opencode_mcp.redaction import KnownSecrets, Redactor, credential_files
from opencode_mcp.redaction.known import is_distinctive
from opencode_mcp.settings import Settings

from .bus import Bus
from .ending import Ending
from .progress import Heartbeat

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from .watching import Watches


@dataclass(frozen=True)
class Lifespan:
    """`tasks` runs what outlives a request, such as a subscription; it is cancelled with the server.

    `redactor` is what every text passes through on its way to a client, `heartbeat` repeats the progress of calls,
    `bus` carries what changes to all clients, `is_project` says whether a directory of this machine can be a project,
    `result_chars` bounds what one answer holds.
    """

    servers: Servers
    tasks: TaskGroup
    redactor: Redactor
    result_chars: int
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


def known_secrets(settings: Settings, passwords: Iterable[str] = ()) -> KnownSecrets:
    """Return the values that are secret here: OpenCode has this environment, and its tools may print it.

    `passwords` are those of OpenCode's that are not settings.
    """
    logins = (f"{settings.username}:{password}" for password in (*passwords, settings.password) if password)
    own = [*settings.secrets, *passwords, *(b64encode(login.encode()).decode() for login in logins)]
    return KnownSecrets(own, settings.environ, credential_files(settings.environ))


def warn_of_simple_passwords(settings: Settings) -> None:
    """Log which passwords are not redacted, as any text may contain them."""
    for variable, password in settings.passwords.items():
        if not is_distinctive(password):
            log.warning("%s is short or a common word, so it is not redacted from results; set a random one", variable)


RequestContext = ServerRequestContext[Lifespan, Any]


def connection_of(context: RequestContext) -> Connection:
    """Return the connection of a request, which lasts from the handshake on until the client goes away."""
    # The SDK has no public name for it yet; a session object is made anew for every request.
    return context.session._connection  # pyright: ignore[reportPrivateUsage]
