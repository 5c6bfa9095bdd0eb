"""The sessions of the running OpenCodes, a row each. Nothing is started, and nothing is kept running.

registrations of shared OpenCodes and OpenCode 2's service, or --url and --server -> sources -> the newest sessions of
each -> rows

A session's status is read where its work may be unfinished: reading it makes OpenCode load the session's directory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio

from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.generations import GENERATIONS
from opencode_mcp.connect import connect, find_generation, make_allowlist
from opencode_mcp.exceptions import APIError, OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Session
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.opencode.process.registration import Registration, parse_registration
from opencode_mcp.opencode.process.service import Service, find_service
from opencode_mcp.opencode.process.shared_process import observe_shared
from opencode_mcp.redaction import to_one_line
from opencode_mcp.settings import Settings
from opencode_mcp.tasks.current_state import OPEN_STATES, CurrentState, read_current_state
from opencode_mcp.tasks.family import Family, read_whole_family
from opencode_mcp.tasks.pending_requests import describe_request
from opencode_mcp.tasks.report import COST_DIGITS
from opencode_mcp.tasks.session_state import read_session
from opencode_mcp.tasks.task_row import name_model

from .shared_servers import open_client, shared_endpoint

LISTED_FOR_ALLOWLIST = 200


@dataclass(frozen=True)
class SessionRow:
    """A session. `cost` is in US dollars and `tokens` without cached ones, both with subagents; times are ISO 8601.

    `state` is that of a task, `idle` without a prompt or if it does not run, or `unknown` with the `error` of the
    read. `pending` are the requests that it waits for, as in the report of a task. `assistants` are the clients whose
    work it is. `activity` is what a running one does.
    """

    id: str
    title: str
    state: str
    directory: str
    created: str
    updated: str
    model: str | None = None
    cost: float = 0.0
    tokens: int = 0
    pending: tuple[Mapping[str, Any], ...] = ()
    activity: str | None = None
    error: str | None = None
    assistants: tuple[str, ...] = ()
    server: str | None = None

    @property
    def rank(self) -> tuple[int, float]:
        """The sort key: what waits for an answer, what runs, then the rest, each with the newest first."""
        place = OPEN_STATES.index(self.state) if self.state in OPEN_STATES else len(OPEN_STATES)
        return place, -datetime.fromisoformat(self.updated).timestamp()

    def as_data(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return asdict(self)


@dataclass(frozen=True)
class Sessions:
    """What the running OpenCodes have, and why some could not be read."""

    rows: tuple[SessionRow, ...] = ()
    problems: tuple[str, ...] = ()


Version = tuple[str, str, float | None, float, int]
"""A session's id and title, when it was changed, and its cost and tokens. OpenCode changes others without the time."""


@dataclass
class SessionReader:
    """Reads the sessions again and again; those that have ended are read once, and again when they change."""

    settings: Settings
    limit: int
    _ended: dict[Version, SessionRow] = field(default_factory=dict[Version, SessionRow])

    async def read(self) -> Sessions:
        """Read the newest sessions of all running OpenCodes; several may have the same data, so each is listed once."""
        problems: list[str] = []
        rows: dict[str, SessionRow] = {}
        async with open_sources(self.settings, problems) as sources:
            for found in await gather(*(partial(self.try_source, source, problems) for source in sources)):
                for row in found:
                    other = rows.setdefault(row.id, row)
                    rows[row.id] = min(row, other, key=lambda each: each.rank)
        newest = sorted(rows.values(), key=lambda row: row.rank)[: self.limit]
        return Sessions(tuple(newest), tuple(problems))

    async def try_source(self, source: Source, problems: list[str]) -> list[SessionRow]:
        """Read the newest sessions of an OpenCode; one that cannot be read becomes one of the `problems`."""
        try:
            return await self.read_source(source)
        except OpenCodeError as error:
            problems.append(f"{source.label}{error}")
            return []

    async def read_source(self, source: Source) -> list[SessionRow]:
        """Read the newest sessions of an OpenCode, without those of subagents; of all directories.

        Raises:
            OpenCodeError: they cannot be read.
        """
        opencode = source.opencode
        # Of the answer the allowlist leaves out what is elsewhere.
        limit = max(self.limit, LISTED_FOR_ALLOWLIST) if opencode.allowlist.roots else self.limit
        listed = await engine_of(opencode).list_roots(limit)
        active = await engine_of(opencode).list_active()
        unreadable = {name for name, is_readable in active.items() if not is_readable}
        known = {*source.work, *active} - unreadable
        at_work = {session.id: session for name in known if (session := await find_root(opencode, name))}
        sessions = {session.id: session for session in listed[: self.limit]} | at_work
        running = {*at_work, *unreadable}
        rows = await gather(
            *(
                partial(self.read_row, source, session, session.id in running, session.id in unreadable)
                for session in sessions.values()
            )
        )
        return [row for row in rows if row is not None]

    async def read_row(
        self, source: Source, session: Session, is_running: bool, is_unreadable: bool
    ) -> SessionRow | None:
        """Read a session; None if it was deleted meanwhile."""
        key = (session.id, session.title, session.time.updated, session.cost, session.tokens.total)
        if not is_running and key in self._ended:
            return self._ended[key]
        row = make_row(session, source)
        try:
            if is_unreadable:
                return replace(row, state="running")
            family = await read_whole_family(source.opencode, session)
            current = await read_current_state(source.opencode, family, anyio.current_time(), works=is_running)
        except OpenCodeError as error:
            is_gone = isinstance(error, APIError) and error.status == 404
            return None if is_gone else replace(row, state="unknown", error=to_one_line(str(error)))
        row = add_state(row, family, current)
        if not (is_running or current.may_change):
            self._ended[key] = row
        return row


@dataclass(frozen=True)
class Source:
    """A running OpenCode. `work` are the sessions and terminals that run for assistants, with the names of those.

    `label` begins the description of a problem with it.
    """

    opencode: OpenCodeClient
    work: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    label: str = ""


@asynccontextmanager
async def open_sources(settings: Settings, problems: list[str]) -> AsyncGenerator[list[Source]]:
    """Provide the OpenCodes of --url and --server, else those that run for this user's assistants, and the background
    service of OpenCode 2.

    A shared one that does not answer becomes one of the `problems`, as does a service of a later generation.
    """
    async with AsyncExitStack() as stack:
        if settings.urls:
            catalog = Catalog.from_snapshot(await find_generation(settings))
            pool = await stack.enter_async_context(connect(settings, catalog))
            yield [Source(client) for client in pool.with_options(retry_seconds=()).clients.values()]
            return
        service = await find_service(settings.child_environ) if settings.fixed_generation != 1 else None
        sources = [] if service is None else await open_service(settings, service, problems, stack)
        for path in sorted(shared_folder(settings.environ).glob("*.json")):
            registration = parse_registration(path)
            if registration is None:
                continue
            source = await open_shared(settings, registration, stack)
            if source is None and registration.has_supervisor:
                problems.append(
                    f"OpenCode (process {registration.opencode_pid}) does not answer, or still starts; "
                    "`opencode-mcp status` shows it"
                )
            sources += [] if source is None else [source]
        yield sources


async def open_service(
    settings: Settings, service: Service, problems: list[str], stack: AsyncExitStack
) -> list[Source]:
    """Connect to the background service of OpenCode 2; one of a later generation becomes one of the `problems`."""
    if service.generation not in GENERATIONS:
        problems.append(f"{service.describe()} is OpenCode {service.version}, which this release does not know")
        return []
    client = open_client(service.endpoint, make_allowlist(settings), service.generation)
    opencode = (await stack.enter_async_context(client)).with_options(retry_seconds=())
    return [Source(opencode, label=f"{service.describe()}: ")]


async def open_shared(settings: Settings, registration: Registration, stack: AsyncExitStack) -> Source | None:
    """Connect to a shared OpenCode, without keeping it; None if it does not answer."""
    process = await stack.enter_async_context(observe_shared(registration.path))
    if process is None or process.address is None:
        return None
    endpoint = shared_endpoint(process.address, registration.password)
    opencode = await stack.enter_async_context(open_client(endpoint, make_allowlist(settings)))
    work: dict[str, tuple[str, ...]] = {}
    for bridge in process.others:
        for name in bridge.active:
            work[name] = (*work.get(name, ()), *([bridge.client] if bridge.client else []))
    return Source(opencode, work)


async def find_root(opencode: OpenCodeClient, name: str) -> Session | None:
    """Return the session to which a subagent's belongs; None for a terminal, and for a session that cannot be read."""
    while name.startswith("ses"):
        try:
            session = await read_session(opencode, name)
        except OpenCodeError:
            return None
        if session.parent_id is None:
            return session
        name = session.parent_id
    return None


def make_row(session: Session, source: Source) -> SessionRow:
    """Return what the list of sessions says of one."""
    return SessionRow(
        id=session.id,
        title=session.title,
        state="idle",
        directory=session.directory,
        created=iso_time(session.time.created),
        updated=iso_time(session.time.updated or session.time.created),
        model=name_model(session),
        cost=round(session.cost, COST_DIGITS),
        tokens=session.tokens.total,
        assistants=source.work.get(session.id, ()),
        server=source.opencode.server.name,
    )


def add_state(row: SessionRow, family: Family, current: CurrentState) -> SessionRow:
    """Return the row of a session whose state was read."""
    pending = (describe_request(request, row.id) for request in current.snapshot.pending)
    return replace(
        row,
        state=current.state,
        model=current.model or row.model,
        cost=round(family.cost, COST_DIGITS),
        tokens=family.tokens,
        pending=tuple(request.model_dump(exclude_defaults=True) for request in pending),
        activity=current.activity,
        error=to_one_line(current.status.error) if current.status.error else None,
    )


def iso_time(time_ms: float) -> str:
    """Return a time in milliseconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
