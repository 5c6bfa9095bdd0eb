"""The list_tasks tool: the tasks of the project, a row each, for a client that shows them to a person.

sessions of every server -> families, newest first -> a page, or what has changed -> rows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Annotated, Any

import anyio
from pydantic import BaseModel, Field, WithJsonSchema
from pydantic.config import JsonDict

from opencode_mcp.exceptions import APIError, OpenCodeError, TransportError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.redaction import to_one_line

from .arguments import Arguments
from .context import Context
from .current_state import OPEN_STATES
from .family import Family, group_families, read_whole_family
from .task_row import TaskRow, read_row

LISTED_SESSIONS = 1000
"""How many sessions are listed: the newest, subagents included. Where there are more, a family is read by itself."""

MAX_ROWS = 200
CLOCK_SECONDS = 10.0
"""How much older than `since` a change may be: a session is stored some time after the time that it has. And for how
long a change that has no time is new, as several callers ask for it."""

PATHS = "paths"
"""What the shared reads of this module are about."""


UNLISTED: JsonDict = {"x-unlisted": True}


class ListTasks(Arguments):
    """Arguments of list_tasks. Only `limit` is listed: models have little use for the others."""

    offset: int = Field(0, ge=0, description="Tasks to skip.", json_schema_extra=UNLISTED)
    limit: int = Field(50, ge=1, le=MAX_ROWS, description="Default 50.")
    since: float | None = Field(
        None, description="Instead of a page: what has changed since this `updated`.", json_schema_extra=UNLISTED
    )
    session_ids: list[str] = Field(
        default_factory=list[str],
        max_length=MAX_ROWS,
        description="With `since`: these too, changed or not.",
        json_schema_extra=UNLISTED,
    )


class TaskList(BaseModel):
    """Tasks, newest first; `total` counts all. `tools` are the task tools that the client may call.

    `project` is the default directory. `problems` are the servers that did not answer, with the reason.
    """

    tasks: Annotated[list[TaskRow], WithJsonSchema({"type": "array", "items": {"type": "object"}})]
    total: int
    project: str
    tools: list[str]
    problems: list[str] = []


@dataclass(frozen=True, slots=True)
class FoundTask:
    """A task and its server. `is_whole`: the list had all sessions, so all of the family."""

    opencode: OpenCodeClient
    family: Family
    is_whole: bool


@dataclass(frozen=True, slots=True)
class KnownRow:
    """A row as it was read, of this family; None where the row may change while the family does not.

    `changed` is when the family was found changed (anyio.current_time()).
    """

    family: Family | None
    row: TaskRow
    changed: float = -inf


async def list_tasks(context: Context, arguments: ListTasks) -> TaskList:
    """List the project's tasks: sessions without a parent, those in its worktrees too.

    Raises:
        OpenCodeError: no server answers, or the only one stops to.
    """
    since = anyio.current_time()
    servers = context.servers
    listed, failures = await servers.gather(find_tasks)
    found = [task for tasks in listed.values() for task in tasks]
    tasks = {task.family.session.id: task for task in reversed(found)}  # of servers with the same data, the first one
    newest = sorted(tasks.values(), key=lambda task: (-task.family.session.time.created, task.family.session.id))
    chosen = select_tasks(newest, arguments, servers.last_rows)
    rows: list[TaskRow | None] = await gather(*(partial(try_row, context, task, since) for task in chosen))
    return TaskList(
        tasks=[row for row in rows if row is not None],
        total=len(newest),
        project=await read_project(servers.clients[next(iter(listed))]),
        tools=[*context.tools],
        problems=[to_one_line(f"server {name}: {error}") for name, error in failures.items()],
    )


async def find_tasks(opencode: OpenCodeClient) -> list[FoundTask]:
    """Return the tasks of a server's project."""
    listed = await engine_of(opencode).list_recent_sessions(LISTED_SESSIONS)
    is_whole = len(listed) < LISTED_SESSIONS
    return [FoundTask(opencode, family, is_whole) for family in group_families(listed)]


def select_tasks(newest: Sequence[FoundTask], arguments: ListTasks, known: Mapping[str, KnownRow]) -> list[FoundTask]:
    """Return a page of the tasks, or those that were changed, and those that the caller names.

    Of those that were changed there may be more than a page: a caller could not ask for the others.
    """
    if arguments.since is None:
        return [*newest[arguments.offset : arguments.offset + arguments.limit]]
    start, named = arguments.since - CLOCK_SECONDS * 1000, {*arguments.session_ids}
    return [
        task
        for task in newest
        if task.family.updated >= start or task.family.session.id in named or was_changed(task.family, known)
    ]


def was_changed(family: Family, known: Mapping[str, KnownRow]) -> bool:
    """Whether a task has changed since it was read, or so lately that not every caller has read it."""
    row = known.get(family.session.id)
    if row is None or row.family is None:
        return False
    return row.family != family or anyio.current_time() - row.changed < CLOCK_SECONDS


async def read_project(opencode: OpenCodeClient) -> str:
    """Return a client's default directory, which does not change."""
    if opencode.directory is not None:
        return opencode.directory
    read: Any = partial(engine_of(opencode).read_paths, None)
    return (await opencode.shared_reads.read((PATHS, ""), inf, read)).directory


async def try_row(context: Context, task: FoundTask, since: float) -> TaskRow | None:
    """Return the row of a task, that of an ended one as it was read before; None if it was deleted meanwhile.

    One that cannot be read has the state `unknown`.

    Raises:
        TransportError: the only server does not answer any more.
    """
    opencode, family, session_id = task.opencode, task.family, task.family.session.id
    known: KnownRow | None = context.servers.last_rows.get(session_id)
    if known is not None and known.family == family:
        return known.row
    works = known is not None and known.row.state in OPEN_STATES
    try:
        if not task.is_whole:
            family = await read_whole_family(opencode, family.session)
        row, may_change = await read_row(context, opencode, family, since, works=works)
    except OpenCodeError as error:
        if isinstance(error, APIError) and error.status == 404:
            return None
        if isinstance(error, TransportError) and len(context.servers.clients) == 1:
            raise
        row = TaskRow.of(opencode, family).with_error(error)
        may_change = not isinstance(error, WorkflowError)  # a session of an API that the task tools cannot read
    changed = anyio.current_time() if known is not None and known.family is not None else -inf
    context.servers.remember_row(session_id, KnownRow(None if may_change else task.family, row, changed))
    return row
