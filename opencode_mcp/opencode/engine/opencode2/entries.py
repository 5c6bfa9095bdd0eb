"""What OpenCode 2 stores of a conversation: one flat entry for a prompt, for a model call, or for the end of a turn."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from opencode_mcp.opencode.models import Model, Tokens


class ErrorInfo(Model):
    """An error of a model, a tool or a turn; `type` is a word such as provider.auth."""

    type: str
    message: str = ""
    status: int | None = None
    response: dict[str, Any] = Field(default_factory=dict[str, Any])


class ModelRef(Model):
    """A model, with the variant of it that is used."""

    id: str
    provider_id: str
    variant: str | None = None


class EntryTime(Model):
    """Milliseconds since the epoch: `created` of a prompt is when it was delivered, `ran` is when a tool began."""

    created: float
    ran: float | None = None
    completed: float | None = None


class TextContent(Model):
    """A piece of a tool's result; only texts have a `text`."""

    text: str = ""


class ToolCallState(Model):
    """A tool call's state: streaming, running, completed or error. The `input` is a text while it streams."""

    status: str
    input: dict[str, Any] | str = ""
    content: tuple[TextContent, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    error: ErrorInfo | None = None


class Content(Model):
    """A text, a reasoning or a tool call of a reply; `id` and `name` are those of a call."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    state: ToolCallState | None = None
    time: EntryTime | None = None


class Snapshot(Model):
    """The states of the files before and after a step, and the files that differ."""

    start: str | None = None
    end: str | None = None
    files: tuple[str, ...] = ()


class Retry(Model):
    """The next call of a model that has failed; `at` is when it is made (ms)."""

    attempt: int
    at: float
    error: ErrorInfo


class ShellOutput(Model):
    """What a command has printed; of a long output only the beginning."""

    output: str = ""
    size: int = 0
    truncated: bool = False


class File(Model):
    """A file of a prompt, without its content."""

    name: str | None = None


USER_CHARS_KEY = "opencode_mcp_chars"
"""The key in a prompt's metadata that has the length of what the user has written: the rest of its text is added."""


class Entry(Model):
    """An entry of a conversation, or one that is admitted to it; which fields are set depends on `type`."""

    id: str
    type: str
    time: EntryTime
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    text: str = ""
    files: tuple[File, ...] = ()
    agent: str | None = None
    model: ModelRef | None = None
    content: tuple[Content, ...] = ()
    snapshot: Snapshot = Snapshot()
    finish: str | None = None
    cost: float = 0
    tokens: Tokens = Tokens()
    error: ErrorInfo | None = None
    retry: Retry | None = None
    outcome: str | None = None
    shell_id: str = ""
    command: str = ""
    status: str = ""
    exit: float | None = None
    output: ShellOutput = ShellOutput()

    @property
    def user_text(self) -> str:
        """What the user has written of a prompt."""
        chars: object = self.metadata.get(USER_CHARS_KEY)
        return self.text[:chars] if isinstance(chars, int) else self.text


class Payload(Model):
    """What an admitted entry will say."""

    text: str = ""
    files: tuple[File, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])


class InboxEntry(Model):
    """An entry that is admitted and not delivered. `delivery` is `queue` if it waits for the end of the turn."""

    id: str
    type: str
    time: EntryTime
    payload: Payload = Payload()
    delivery: str = "steer"

    @property
    def is_queued(self) -> bool:
        """Whether it waits for the end of the turn that runs."""
        return self.delivery == "queue"

    def to_entry(self) -> Entry:
        """Return it as it will be in the conversation."""
        return Entry(id=self.id, type=self.type, time=self.time, **dict(self.payload))
