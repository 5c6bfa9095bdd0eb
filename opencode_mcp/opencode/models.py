"""Models of the response fields that task tools read. All other responses stay JSON.

Each model is checked against the document's schema by a test. Names are the server's.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from opencode_mcp.exceptions import UnexpectedResponse
from opencode_mcp.redaction import beginning_of

from .responses import describe_error

T = TypeVar("T")

VALUE_CHARS = 120
"""How much of a value that is not as documented is repeated in an error."""


def wire_name(name: str) -> str:
    """Turn a field's name into the server's: `session_id` -> `sessionID`, `created` -> `created`."""
    return to_camel(name).removesuffix("Id") + "ID" if name.endswith("_id") else to_camel(name)


class Model(BaseModel):
    """Base: the server's names on the wire, unknown fields ignored, immutable; null is the same as absent."""

    model_config = ConfigDict(alias_generator=wire_name, populate_by_name=True, frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, value: Any) -> Any:
        """Drop null values: an agent in the configuration has `hidden: null` (1.18.33)."""
        if not isinstance(value, dict):
            return value
        fields = cast("dict[str, Any]", value)
        return (
            {name: field_value for name, field_value in fields.items() if field_value is not None}
            if None in fields.values()
            else fields
        )


class Times(Model):
    """Milliseconds since the epoch, by the server's clock."""

    created: float
    updated: float | None = None
    completed: float | None = None


class TimeSpan(Model):
    """Start and end in milliseconds since the epoch, by the server's clock; None if unknown, or not yet."""

    start: float | None = None
    end: float | None = None


class Tokens(Model):
    """Token counts; output excludes reasoning tokens, and none includes cached tokens."""

    input: float = 0
    output: float = 0
    reasoning: float = 0

    @property
    def total(self) -> int:
        """The sum of the three counts."""
        return int(self.input + self.output + self.reasoning)


class Revert(Model):
    """The reverted part of a session: the messages from this one on, and their file changes."""

    message_id: str


class Session(Model):
    """A session: the handle of a task. `cost` is in US dollars; `agent` and `model` are those of the last prompt."""

    id: str
    directory: str
    title: str = ""
    parent_id: str | None = None
    cost: float = 0
    tokens: Tokens = Tokens()
    metadata: dict[str, Any] = {}
    agent: str | None = None
    model: dict[str, Any] | None = None
    revert: Revert | None = None
    time: Times
    workspace_id: str | None = None


class SessionStatus(Model):
    """A session's activity; an idle session has no status. `next` is the time of the next retry (ms)."""

    type: Literal["idle", "busy", "retry"]
    attempt: int = 0
    message: str = ""
    next: float = 0


class PermissionRequest(Model):
    """A tool call that waits for permission. `session_id` may be a subagent's."""

    id: str
    session_id: str
    permission: str
    patterns: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    always: tuple[str, ...] = ()


class StoredPermissionRequest(PermissionRequest):
    """One whose reply `always` OpenCode stores; `always_lasts` says for how long."""

    always_lasts: str


class QuestionOption(Model):
    """One choice of a question."""

    label: str
    description: str = ""


class QuestionInfo(Model):
    """One question. Free text is allowed unless `custom` is False."""

    question: str
    header: str = ""
    options: tuple[QuestionOption, ...] = ()
    multiple: bool = False
    custom: bool = True


class QuestionRequest(Model):
    """Questions that wait for answers; an answer is a list of labels for each question."""

    id: str
    session_id: str
    questions: tuple[QuestionInfo, ...]


AgentRequest = PermissionRequest | QuestionRequest
"""A request of the agent that waits for a reply of the user."""


class MessageError(Model):
    """The error that ended an assistant message; `data` depends on `name` and usually has `message`."""

    name: str
    data: dict[str, Any] = {}

    def __str__(self) -> str:
        error = describe_error(self.name, self.data)
        status = self.data.get("statusCode")
        message = ": ".join(part for part in (self.name, f"HTTP {status}" if status else "", error.message) if part)
        return f"{message}\n{error.advice}" if error.advice else message


class MessageInfo(Model):
    """A message without its parts. `parent_id` of an assistant message is the user message that it replies to.

    An assistant message is one call of the named model; a turn has one or more. `cost` is in US dollars. The reply that
    compacts a conversation has `summary` true; a user message has a summary of its own, which is an object.

    A message of the user that OpenCode itself has written may have a `parent_id` too: the prompt that it continues.
    `retry` is the call of the model that a reply waits for, where no status says so.
    """

    id: str
    role: Literal["user", "assistant"]
    time: Times
    parent_id: str | None = None
    provider_id: str | None = None
    model_id: str | None = None
    agent: str | None = None
    variant: str | None = None
    system: str | None = None
    summary: bool | dict[str, Any] = False
    cost: float = 0
    tokens: Tokens = Tokens()
    finish: str | None = None
    error: MessageError | None = None
    retry: SessionStatus | None = None


class ToolState(Model):
    """The state of a tool call."""

    status: str
    input: dict[str, Any] = {}
    title: str | None = None
    error: str | None = None
    output: str = ""
    metadata: dict[str, Any] = {}
    time: TimeSpan = TimeSpan()


class Part(Model):
    """A part of a message; which fields are set depends on `type`."""

    id: str = ""
    type: str
    text: str = ""
    synthetic: bool = False
    auto: bool = False
    tool: str = ""
    state: ToolState | None = None
    filename: str | None = None
    files: tuple[str, ...] = ()
    time: TimeSpan = TimeSpan()
    snapshot: str | None = None


class Message(Model):
    """A message with its parts."""

    info: MessageInfo
    parts: tuple[Part, ...] = ()

    @property
    def user_message_id(self) -> str:
        """The id of the user message that this message is, or replies to."""
        return self.info.parent_id or self.info.id

    @property
    def written_at(self) -> float:
        """The time of its last known update (ms)."""
        spans = [part.state.time if part.state is not None else part.time for part in self.parts]
        times = [
            self.info.time.created,
            self.info.time.completed,
            *(time for span in spans for time in (span.start, span.end)),
        ]
        return max(time for time in times if time is not None)

    @property
    def text(self) -> str:
        """Its text, without synthetic parts."""
        return "".join(part.text for part in self.parts if part.type == "text" and not part.synthetic)


class Todo(Model):
    """An item of a session's to-do list."""

    content: str
    status: str


class FileChange(Model):
    """The change of one file; `patch` is a unified diff, "" for binary files."""

    file: str
    additions: int = 0
    deletions: int = 0
    status: str = Field(default="modified")
    patch: str = ""


class Location(Model):
    """A directory on OpenCode's machine."""

    directory: str


class ProjectPath(Model):
    """A directory; `worktree` is the top of its git working tree, "/" without git.

    `home` is the home folder of OpenCode's user, None if it is unknown.
    """

    directory: str
    worktree: str
    home: str | None = None


class Branch(Model):
    """The branch that a working tree is on, and the default branch of its repository, as far as they are known."""

    branch: str | None = None
    default_branch: str | None = Field(None, alias="default_branch")


class Worktree(Model):
    """A git worktree that OpenCode made, and the branch that is checked out there."""

    directory: str
    branch: str | None = None


class FileNode(Model):
    """An entry of a directory listing."""

    name: str


class PermissionRule(Model):
    """What happens to a tool call whose permission and subject match; of several rules the last one decides.

    Both may have the wildcards `*` and `?`.
    """

    permission: str
    pattern: str
    action: Literal["allow", "deny", "ask"]


class Agent(Model):
    """An agent; hidden agents are internal to OpenCode."""

    name: str
    mode: str
    permission: tuple[PermissionRule, ...] = ()
    description: str | None = None
    model: dict[str, Any] | None = None
    hidden: bool = False


class Config(Model):
    """The defaults in the configuration that a prompt uses; `model` is `provider/model`.

    Without `snapshot` OpenCode keeps no snapshots of the files that a turn changes.
    """

    model: str | None = None
    default_agent: str | None = Field(None, alias="default_agent")
    snapshot: bool = True


class Provider(Model):
    """A configured provider, with its models by id."""

    id: str
    models: dict[str, dict[str, Any]]


class Providers(Model):
    """The configured providers; `default` maps a provider's id to that of its default model."""

    providers: tuple[Provider, ...]
    default: dict[str, str]

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """Their models as `provider/model`."""
        return {
            f"{provider.id}/{model_id}": model
            for provider in self.providers
            for model_id, model in provider.models.items()
        }


type_adapter = cache(TypeAdapter[Any])
"""Of a model, or of a list or dict of models."""


def parse_model(source: str, model_type: type[T], value: object) -> T:
    """Parse a value from `source` as a model, or a list or dict of models.

    Raises:
        UnexpectedResponse: with the path, the problem and the received value.
    """
    try:
        return type_adapter(model_type).validate_python(value)
    except ValidationError as error:
        details = "; ".join(format_problems(error))
        raise UnexpectedResponse(f"{source} does not match OpenCode's document: {details}") from error


def format_problems(error: ValidationError) -> list[str]:
    """Return one line for each problem: path, message, received value."""
    return [
        f"{'.'.join(map(str, problem['loc'])) or 'all'}: {problem['msg']}; got "
        f"{beginning_of(str(problem['input']), VALUE_CHARS)!r}"
        for problem in error.errors()
    ]
