"""Every exception class of the package, one per distinction that a caller acts on.

OpenCodeError
├── SettingsError        a flag or an environment variable is invalid
├── DocumentError        the OpenAPI document cannot be read
├── InvalidArguments     arguments do not match the operation's schema; nothing was sent
├── ServerStartError     OpenCode could not be found, installed or started
├── UnsupportedServer    another major version of OpenCode, or one too old for the operation; nothing was sent
├── TransportError       no HTTP response: connection refused, reset or closed early
│   ├── RequestTimeout   a time limit passed
│   ├── ServerStalled    the OpenCode process runs but does not respond
│   └── TLSError         the TLS handshake failed, for example on an untrusted certificate; nothing was sent
├── APIError             OpenCode answered 4xx or 5xx
├── UnexpectedResponse   a response that the operation does not define
├── WorkflowError        a task cannot continue
│   ├── SessionBusy      the session works on another prompt
│   ├── LimitReached     the time limit of a task tool passed
│   ├── StartFailed      one of several tasks did not start, so the others were stopped
│   ├── NotUndone        a task did not start, and what was made for it could not be removed
│   ├── SetupFailed      the setup of a task failed, so its prompt was not sent
│   └── GitFailed        a git command failed
├── NotFound             a resource does not exist
├── IssuerUnavailable    the keys of an OAuth issuer cannot be fetched
└── ServerEnding         this MCP server is shutting down

Three classes are not errors, so no handler of `OpenCodeError` catches them:

InputRequired            the call ends with a question to the user, and the client calls again with the answer
ContinuesAsTask          the call ends with an MCP task, whose state the client polls
TooLong                  an attempt to cut a result exceeds the limit; the next attempt keeps less
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


class OpenCodeError(Exception):
    """Base class of every error in this package. `str(error)` can be shown to a user or a model."""


class SettingsError(OpenCodeError):
    """A setting is wrong; the message names the flag."""


class DocumentError(OpenCodeError):
    """The OpenAPI document cannot be read, or lacks what the snapshot has."""


class InvalidArguments(OpenCodeError):
    """Arguments do not match the operation's schema. Nothing was sent.

    `problems` has one line for each problem: the path, the expected value, the received value. `example` has valid
    arguments with placeholders, None where the arguments fit the schema.
    """

    def __init__(self, operation: str, problems: list[str], example: Any = None) -> None:
        self.operation = operation
        self.problems = problems
        self.example = example
        lines = [f"Invalid arguments for {operation}; nothing was sent:", *(f"- {problem}" for problem in problems)]
        if example is not None:
            lines.append(f"Example: {json.dumps(example, ensure_ascii=False)}")
        super().__init__("\n".join(lines))

    def with_example(self, example: Any) -> InvalidArguments:
        """Return the same error with another example."""
        return InvalidArguments(self.operation, self.problems, example)


class ServerStartError(OpenCodeError):
    """OpenCode could not be found, installed or started; the message holds what was tried."""


class UnsupportedServer(OpenCodeError):
    """The server has another API, or is too old for the operation. Only the version request was sent."""


class TransportError(OpenCodeError):
    """OpenCode sent no HTTP response. A request that was sent may or may not have taken effect."""


class RequestTimeout(TransportError):
    """A time limit passed without a response."""


class ServerStalled(TransportError):
    """An OpenCode that this package started runs but does not respond; the message says what to do."""


class TLSError(TransportError):
    """The TLS handshake failed, and a retry would fail as well. Nothing was sent."""


class APIError(OpenCodeError):
    """OpenCode answered with a 4xx or 5xx status.

    `status` is the HTTP status, `name` the server's name for the error ("" when it gives none),
    `message` the server's message, `body` the parsed body, `operation` the tool name, `advice` the usual cause.
    """

    def __init__(
        self, operation: str, status: int, name: str, message: str, body: Any = None, advice: str = ""
    ) -> None:
        self.operation = operation
        self.status = status
        self.name = name
        self.message = message
        self.body = body
        self.advice = advice
        summary = ": ".join(part for part in (name, message) if part) or "no details"
        super().__init__(
            f"OpenCode answered {operation} with HTTP {status}, {summary}" + (f"\n{advice}" if advice else "")
        )

    def with_advice(self, advice: str) -> APIError:
        """Return the same error with other advice."""
        return APIError(self.operation, self.status, self.name, self.message, self.body, advice)


class UnexpectedResponse(OpenCodeError):
    """A response that the operation does not define: a web page, a redirect, invalid JSON."""


class WorkflowError(OpenCodeError):
    """A task cannot continue; `session_id`, if set, is the session to continue in."""

    def __init__(self, message: str, session_id: str | None = None) -> None:
        self.session_id = session_id
        super().__init__(message)


class SessionBusy(WorkflowError):
    """A session takes no prompt now, as it works on another one, or has some queued. Nothing was sent."""


class LimitReached(WorkflowError):
    """The time limit of a task tool passed before the awaited state."""


class StartFailed(WorkflowError):
    """One of several tasks did not start, so the others were stopped."""


class NotUndone(WorkflowError):
    """A task did not start, and what was made for it still exists: its prompt may have arrived."""


class SetupFailed(WorkflowError):
    """The setup of a task failed or did not end, so its prompt was not sent; the message has its output."""


class GitFailed(WorkflowError):
    """A git command failed; `lines` is its output."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__(message)


class NotFound(OpenCodeError):
    """A resource does not exist; the message names it."""


class IssuerUnavailable(OpenCodeError):
    """The keys of an OAuth issuer cannot be fetched, so a token can be neither accepted nor rejected."""


class ServerEnding(OpenCodeError):
    """This MCP server is shutting down; the message says what happened to the call."""


class InputRequired(Exception):
    """The client must ask its user and call again: in protocol 2026-07-28 a server sends no requests.

    `request` is the permission or the questions (`opencode.models.AgentRequest`). The client returns `state` with the
    answer.
    """

    def __init__(self, request: Any, state: Mapping[str, Any]) -> None:
        self.request = request
        self.state = state
        super().__init__(request.id)


class ContinuesAsTask(Exception):
    """The work runs on after the call, whose result is an MCP task.

    `handle` is a `tasks.mcp_task_handle.TaskHandle` that any process can read; `activity` says what runs; `notes`
    belong to the later result, by session id.
    """

    def __init__(self, handle: Any, activity: str, notes: Mapping[str, str]) -> None:
        self.handle = handle
        self.activity = activity
        self.notes = notes
        super().__init__(handle.tool)


class TooLong(Exception):
    """An attempt to cut a result exceeds its limit."""
