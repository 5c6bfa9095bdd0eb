"""What a task tool gets besides its arguments: OpenCode, progress, elicitation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from opencode_mcp.opencode import OpenCodeClient, ProgressCallback, ServerPool
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.models import AgentRequest
from opencode_mcp.redaction import NO_REDACTION, Redactor

from .metadata import Permissions
from .task_event import SendEvent

PermissionReply = Literal["once", "always", "reject"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided: a reply to a permission (with words for the model), or answers to questions.

    `answers` has one list of labels or free texts for each question; None rejects the questions.
    """

    reply: PermissionReply = "reject"
    message: str = ""
    answers: tuple[tuple[str, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Undecided:
    """The user made no decision; `note` explains why."""

    note: str | None = None


class Elicitor(Protocol):
    """Asks the user through the client."""

    async def elicit(self, request: AgentRequest, state: Mapping[str, Any]) -> Decision | Undecided:
        """Return the decision, or that the user did not decide.

        Raises:
            InputRequired: the call must end with the question; `state` comes back with the answer.
        """
        ...


class TaskElicitor:
    """Leaves requests pending: the client's user is asked through an MCP task, not by the call."""

    async def elicit(self, request: AgentRequest, state: Mapping[str, Any]) -> Decision | Undecided:
        """Return that the user has not decided."""
        return Undecided()


@dataclass(frozen=True)
class Context:
    """What a call needs beside its arguments.

    `servers` are the servers that the call may be for; once that is known, it is a single one. `elicitor` is None when
    the client cannot ask its user; `resume_state` is the state of the `InputRequired` call that this one resumes.
    `depth` counts the tasks above this server: 1 if a task started it.

    `default_permissions` is the policy for sessions that no task tool created: `report`, except in a call that prompts
    the session itself. `answer_chars` limits the characters of answers in one result; `answer_offset` reads the rest.
    `redactor` says where texts may be cut; it is applied to the result later.

    `hold_seconds` is how long a call may wait before it continues as an MCP task, None for a client without MCP Tasks;
    `held_tool` is the tool or operation of such a call. `send_event` sends events about tasks to the operator's
    command, None if there is none. `tools` are the task tools that the client may call.
    """

    servers: ServerPool
    report_progress: ProgressCallback
    elicitor: Elicitor | None = None
    resume_state: Mapping[str, Any] | None = None
    depth: int = 0
    default_permissions: Permissions = "report"
    answer_chars: int = 20_000
    redactor: Redactor = NO_REDACTION
    hold_seconds: float | None = None
    held_tool: str = ""
    send_event: SendEvent | None = None
    tools: Sequence[str] = ()

    def holding(self, tool: str) -> Context:
        """Return the context of a call that continues as a task where the client has MCP Tasks.

        The user is then asked through the task.
        """
        if self.hold_seconds is None:
            return self
        elicitor = None if self.elicitor is None else TaskElicitor()
        return replace(self, held_tool=tool, elicitor=elicitor)

    def without_caller(self) -> Context:
        """Return the context of what goes on without the call: it reports no progress, and asks no user.

        Progress for a client that has gone may never be sent, also that of a request that is sent again.
        """
        servers = self.servers.with_options(report_progress=ignore_progress)
        return replace(self, servers=servers, report_progress=ignore_progress, elicitor=None, resume_state=None)

    @property
    def opencode(self) -> OpenCodeClient:
        """The server that the call is for."""
        return self.servers.default

    @asynccontextmanager
    async def for_session(self, session_id: str) -> AsyncGenerator[Context]:
        """Provide the context of the server that has a session.

        Raises:
            APIError: 404, no server has the session.
            TransportError: a server that may have it does not answer.
        """
        async with self.servers.for_session(session_id) as servers:
            yield replace(self, servers=servers)

    @asynccontextmanager
    async def for_arguments(self, arguments: Mapping[str, Any]) -> AsyncGenerator[Context]:
        """Provide the context of the server that valid arguments choose, by its name or by a session.

        Raises:
            What `ServerPool.for_arguments` raises.
        """
        async with self.servers.for_arguments(arguments) as servers:
            yield replace(self, servers=servers)
