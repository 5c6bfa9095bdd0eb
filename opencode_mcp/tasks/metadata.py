"""What any bridge must know of a task, stored in its session's metadata; older servers drop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import anyio
from pydantic import BaseModel, ConfigDict, Field

from opencode_mcp.exceptions import UnexpectedResponse, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import METADATA_KEY, engine_of
from opencode_mcp.opencode.models import PermissionRule, Session, parse_model

from .check import CheckResult

MAX_ENDED_TURNS = 20
"""How many ended turns a session's metadata holds."""

MAX_TOKENS = 1_000_000_000_000
"""OpenCode stores a whole number above 2**53 as a float, or as null: it could not be read again."""

Permissions = Literal["report", "ask", "allow", "reject"]
"""What happens when a tool call needs permission: report it, ask the user, allow it, reject it."""


Access = Literal["read", "edit", "full"]
"""What a task may do: read, also edit files of the project, or all that OpenCode's configuration allows."""


class TurnGroup(BaseModel):
    """Turns of several sessions, each as the ids of its session and message, and whether any or all must end."""

    turns: list[tuple[str, str]]
    until: Literal["any", "all"]


class AnswerGroup(BaseModel):
    """Which of the answers to one task a session has: `number` of `size`, from 1; all of them have the same `key`."""

    key: str
    number: int
    size: int


class Limits(BaseModel):
    """What a prompt may use, subagents and the rest of its family included: US dollars, tokens, minutes."""

    model_config = ConfigDict(extra="forbid")

    cost: float | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, gt=0, le=MAX_TOKENS)
    minutes: float | None = Field(default=None, gt=0)


class Rules(BaseModel):
    """What bridges enforce on one prompt of a task.

    `prompt_id` is that of its message, "" until it is known; `started` is when it was sent (ms), `cost` and `tokens`
    what the family had used before. `check` are the commands that must pass when the turn ends; a failed one is sent
    back `check_retries` times. `output_schema` is the JSON Schema of the answer, as text. A request without an answer
    is rejected after `ask_timeout_minutes`. `models` are the patterns of `--models`. `stopped` is why a bridge has
    stopped the turn.
    """

    prompt_id: str = ""
    started: float = 0
    cost: float = 0
    tokens: int = 0
    limits: Limits = Limits()
    check: tuple[str, ...] = ()
    check_retries: int = 0
    ask_timeout_minutes: float | None = None
    output_schema: str | None = None
    models: tuple[str, ...] = ()
    stopped: str | None = None


class QueuedPrompt(BaseModel):
    """A prompt that is sent when its session's turn has ended; a session below that one has it, and is deleted then.

    `task` are its arguments (`QueuedTask`). `prompt_id` has the same end as the id that its message will have.
    One that `interrupts` comes before the others.
    """

    prompt_id: str
    task: dict[str, Any]
    interrupts: bool = False


class EndedTurn(BaseModel):
    """How a turn has ended that another prompt has followed, or a queued prompt that was not sent.

    `prompt_ids` are the prompts of the turn, `message_id` its last message, "" for a prompt that was not sent;
    `ended` is when it was stored (ms). `has_json`: its answer fits an output_schema.
    """

    prompt_ids: tuple[str, ...]
    message_id: str = ""
    state: str
    error: str | None = None
    check: CheckResult | None = None
    has_json: bool = False
    ended: float = 0


class TaskMetadata(BaseModel):
    """Facts about a task.

    `permissions` is None for a session that no task tool created, `access` for a task without any; `permission_rules`
    are those that maps of permissions have made.

    The fields from `worktree_of` on are about the task's worktree: `worktree_of` is the project directory it was
    created from, `worktree` its top and `branch` its branch; `base` is the commit it started from and `token` the
    content of a file in its git folder, both only where this process and OpenCode share the files; `collected`
    identifies the state that was applied last; `removed` says how the worktree was removed.

    `groups` are the groups of turns that MCP tasks are for, by their key, newest last; `cancelled` are the turns that
    tasks/cancel has stopped, by their user's message. `answer_group` is set if several models answer one task.
    `has_setup`: commands run in a child session before the first prompt is sent. `ended` are turns that other prompts
    have followed, newest last.

    A session with `queued` holds a prompt that its parent gets. One with `check_of` runs the check of its parent's
    prompt with this id. `stopped` is why the commands of a check or setup were stopped.
    """

    permissions: Permissions | None = None
    access: Access | None = None
    permission_rules: tuple[PermissionRule, ...] | None = None
    request_id: str | None = None
    worktree_of: str | None = None
    worktree: str | None = None
    branch: str | None = None
    base: str | None = None
    token: str | None = None
    collected: str | None = None
    removed: str | None = None
    groups: dict[str, TurnGroup] | None = None
    cancelled: list[str] | None = None
    answer_group: AnswerGroup | None = None
    rules: Rules | None = None
    has_setup: bool | None = None
    ended: list[EndedTurn] | None = None
    queued: QueuedPrompt | None = None
    check_of: str | None = None
    stopped: str | None = None


def task_metadata(session: Session) -> TaskMetadata:
    """Read a session's task metadata; a session that no bridge created has the defaults."""
    return parse_model(f"the metadata of {session.id}", TaskMetadata, session.metadata.get(METADATA_KEY, {}))


def readable_metadata(session: Session) -> TaskMetadata:
    """Read the task metadata of a session in a list; what cannot be read has the defaults.

    Any client can store anything in its own sessions, also below a task's: that must hide neither the others nor what
    is enforced on the task.
    """
    try:
        return task_metadata(session)
    except UnexpectedResponse:
        return TaskMetadata()


async def save_task_metadata(opencode: OpenCodeClient, session_id: str, **facts: Any) -> bool:
    """Change facts about a task in its session, as that is now; False if the server has not stored them."""
    return await change_task_metadata(opencode, session_id, lambda task: facts)


async def change_task_metadata(
    opencode: OpenCodeClient, session_id: str, change: Callable[[TaskMetadata], Mapping[str, Any]]
) -> bool:
    """Change facts about a task, given those that its session has now; False if the server has not stored them.

    Where two bridges do so within the two requests, the later one wins.
    """
    session = await engine_of(opencode).read_session(session_id)
    current = task_metadata(session)
    task = current.model_copy(update=change(current))
    metadata = with_task_metadata(session.metadata, task)
    updated = await engine_of(opencode).update_session(session_id, metadata=metadata)
    return task_metadata(updated) == task


async def add_ended_turn(opencode: OpenCodeClient, session_id: str, turn: EndedTurn) -> None:
    """Store in a session how a turn has ended that another prompt follows, or that a queued prompt was not sent."""

    def add(task: TaskMetadata) -> dict[str, Any]:
        return {"ended": [*(task.ended or []), turn][-MAX_ENDED_TURNS:]}

    await change_task_metadata(opencode, session_id, add)


async def remove_ended_turn(opencode: OpenCodeClient, session_id: str, turn: EndedTurn) -> None:
    """Remove what `add_ended_turn` has stored, as the prompt was sent nevertheless."""

    def remove(task: TaskMetadata) -> dict[str, Any]:
        return {"ended": [other for other in task.ended or [] if other != turn]}

    await change_task_metadata(opencode, session_id, remove)


def with_task_metadata(metadata: dict[str, Any], task: TaskMetadata) -> dict[str, Any]:
    """Return session metadata that holds a task's."""
    return {**metadata, METADATA_KEY: task.model_dump(exclude_none=True)}


async def check_metadata_stored(opencode: OpenCodeClient, session: Session, task: TaskMetadata) -> None:
    """Check that a session that was just created has the metadata that was sent; else delete the session.

    Raises:
        WorkflowError: the server has dropped it (seen in 1.15.0 and before), and the task needs it.
    """
    if task_metadata(session) == task or not describe_metadata_needs(task):
        return
    with anyio.CancelScope(shield=True):
        await engine_of(opencode).delete_session(session.id)
    raise WorkflowError(
        f"{opencode.server.describe()} does not store session metadata, which {describe_metadata_needs(task)} needs: "
        "nothing was started. Use OpenCode 1.15.13 or later, or a task with permissions `report` and without "
        "these options."
    )


def describe_metadata_needs(task: TaskMetadata) -> str:
    """Name the options of a task that only its session's metadata can hold; "" for none."""
    needs = {
        "request_id": task.request_id is not None,
        "worktree": task.worktree_of is not None,
        f"access `{task.access}`": task.access not in {None, "full"},
        "permissions": task.permission_rules is not None,
        "check, limits, output_schema, ask_timeout_minutes": task.rules is not None,
        "setup": task.has_setup is not None,
        f"permissions `{task.permissions}`": task.permissions not in {None, "report", "allow"},
    }
    return ", ".join(name for name, needed in needs.items() if needed)
