"""The server's lifespan state, which every handler receives with its request."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskGroup
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext

from opencode_mcp.opencode import ServerPool
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.redaction import KnownSecrets, Redactor, credential_files, service_files
from opencode_mcp.redaction.known_secrets import is_distinctive
from opencode_mcp.server.subscriptions.bus import Bus
from opencode_mcp.settings import DEFAULT_USERNAME, Settings

from .progress import Heartbeat
from .shutdown import Shutdown

if TYPE_CHECKING:
    from opencode_mcp.server.mcp_tasks.polled_task import PolledTask
    from opencode_mcp.server.subscriptions.listen_streams import ListenStreams
    from opencode_mcp.server.subscriptions.watcher import WatcherPool
    from opencode_mcp.tasks.task_event import SendEvent

STATIC_TTL_MS = 3_600_000
"""For how many milliseconds a client may cache what does not change while the server runs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lifespan:
    """What lives as long as the server runs.

    `tasks` runs what outlives a request, such as a subscription; it is cancelled with the server. `redactor` redacts
    every text sent to a client, `heartbeat` repeats progress notifications, `bus` delivers changes to all clients,
    `is_project` returns whether a local directory can be a project, `result_chars` limits the length of one result,
    `send_event` sends events about tasks to the command of --on-event, `published_facts` is what this bridge has
    published to the others that share the server.
    """

    servers: ServerPool
    tasks: TaskGroup
    redactor: Redactor
    result_chars: int
    heartbeat: Heartbeat
    bus: Bus
    shutdown: Shutdown
    is_project: Callable[[str], bool]
    send_event: SendEvent | None = None
    published_facts: dict[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def watchers(self) -> WatcherPool:
        """The watchers of subscribed resources; imported by the first subscription."""
        from opencode_mcp.server.subscriptions.watcher import WatcherPool

        return WatcherPool(self.bus, self.tasks)

    @cached_property
    def polled_tasks(self) -> dict[str, PolledTask]:
        """The tasks that clients poll, by their handle, newest last."""
        return {}

    @cached_property
    def listen_streams(self) -> ListenStreams:
        """The streams of subscriptions/listen; shutdown closes them with a result. Imported by the first one."""
        from opencode_mcp.server.subscriptions.listen_streams import ListenStreams

        streams = ListenStreams(self.bus)
        self.shutdown.callbacks.append(streams.close)
        return streams


def known_secrets(settings: Settings, passwords: Iterable[str] = ()) -> KnownSecrets:
    """Return the secrets of this process: OpenCode inherits its environment, and tools may print it.

    `passwords` are OpenCode's own, such as a generated one, which are not settings.
    """
    users = {settings.username, DEFAULT_USERNAME}  # that of an OpenCode 2 is fixed
    logins = (f"{user}:{password}" for user in users for password in (*passwords, *settings.passwords.values()))
    own_secrets = [*settings.secrets, *passwords, *(b64encode(login.encode()).decode() for login in logins)]
    folders = [shared_folder(settings.environ)]  # registrations have the password of the shared OpenCode
    files = (*credential_files(settings.environ), *service_files(settings.environ))
    return KnownSecrets(own_secrets, settings.environ, files, folders)


def warn_about_weak_passwords(settings: Settings) -> None:
    """Log a warning for each password that is too common in texts to be redacted."""
    for variable, password in settings.passwords.items():
        if not is_distinctive(password):
            log.warning("%s is short or a common word, so it is not redacted from results; set a random one", variable)


RequestContext = ServerRequestContext[Lifespan, Any]


def connection_of(context: RequestContext) -> Connection:
    """Return the connection of a request; it lasts from the handshake until the client disconnects."""
    # The SDK has no public attribute for it; it creates a session object for each request.
    return context.session._connection  # pyright: ignore[reportPrivateUsage]
