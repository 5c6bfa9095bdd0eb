"""The responses that workflows read, as far as they read them. All else stays JSON.

Each model is checked against the document's schema by a test. Names are the server's.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from opencode_mcp.exceptions import UnexpectedResponse

from .error_words import error_words

T = TypeVar("T")


def wire_name(name: str) -> str:
    """Turn a field's name into the server's: `session_id` -> `sessionID`, `created` -> `created`."""
    return to_camel(name).removesuffix("Id") + "ID" if name.endswith("_id") else to_camel(name)


class Model(BaseModel):
    """Base: the server's names on the wire, unknown fields ignored, immutable; null is the same as absent."""

    model_config = ConfigDict(alias_generator=wire_name, populate_by_name=True, frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, value: Any) -> Any:
        """Leave out what is null: an agent of the configuration has `hidden: null` (1.18.33)."""
        if not isinstance(value, dict):
            return value
        fields = cast("dict[str, Any]", value)
        return {name: one for name, one in fields.items() if one is not None} if None in fields.values() else fields


class Times(Model):
    """Milliseconds since the epoch, by the server's clock."""

    created: float
    updated: float | None = None
    completed: float | None = None


class Span(Model):
    """From when to when, in milliseconds since the epoch, by the server's clock; None is not known, or not yet."""

    start: float | None = None
    end: float | None = None


class Tokens(Model):
    """Token counts; reasoning tokens are apart from output tokens, and cached ones are in none of them."""

    input: float = 0
    output: float = 0
    reasoning: float = 0

    @property
    def total(self) -> int:
        """All of them together."""
        return int(self.input + self.output + self.reasoning)


class Revert(Model):
    """What was taken back of a session: the messages from this one on, and what they changed in files."""

    message_id: str


class Session(Model):
    """A session: the handle of a task. `cost` is in US dollars."""

    id: str
    directory: str
    title: str = ""
    parent_id: str | None = None
    cost: float = 0
    tokens: Tokens = Tokens()
    metadata: dict[str, Any] = {}
    model: dict[str, Any] | None = None
    revert: Revert | None = None
    time: Times


class Status(Model):
    """What a session does; a session that does nothing has no status. `next` is when a retry comes (ms)."""

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


class QuestionOption(Model):
    """One choice of a question."""

    label: str
    description: str = ""


class QuestionInfo(Model):
    """One question. Free text is allowed unless `custom` is False."""

    question: str
    options: tuple[QuestionOption, ...] = ()
    multiple: bool = False
    custom: bool = True


class QuestionRequest(Model):
    """Questions that wait for answers, one list of labels each."""

    id: str
    session_id: str
    questions: tuple[QuestionInfo, ...]


Request = PermissionRequest | QuestionRequest
"""What waits for an answer."""


class MessageError(Model):
    """Why an assistant message ended; `data` differs by name and has mostly `message`."""

    name: str
    data: dict[str, Any] = {}

    def __str__(self) -> str:
        words = error_words(self.name, self.data)
        status = self.data.get("statusCode")
        said = ": ".join(part for part in (self.name, f"HTTP {status}" if status else "", words.message) if part)
        return f"{said}\n{words.advice}" if words.advice else said


class MessageInfo(Model):
    """A message without its parts. `parent_id` of an assistant's is the user's message that it answers.

    An assistant's message is one call of a model, which it names: a turn has one or more. Its `cost` is in US dollars.
    """

    id: str
    role: Literal["user", "assistant"]
    time: Times
    parent_id: str | None = None
    provider_id: str | None = None
    model_id: str | None = None
    cost: float = 0
    tokens: Tokens = Tokens()
    finish: str | None = None
    error: MessageError | None = None


class ToolState(Model):
    """How far a tool call is."""

    status: str
    input: dict[str, Any] = {}
    title: str | None = None
    error: str | None = None
    time: Span = Span()


class Part(Model):
    """A part of a message; which fields are set depends on `type`."""

    id: str = ""
    type: str
    text: str = ""
    synthetic: bool = False
    tool: str = ""
    state: ToolState | None = None
    filename: str | None = None
    files: tuple[str, ...] = ()
    time: Span = Span()
    snapshot: str | None = None


class Message(Model):
    """A message with its parts."""

    info: MessageInfo
    parts: tuple[Part, ...] = ()

    @property
    def user_message_id(self) -> str:
        """The user's message that this one is, or answers."""
        return self.info.parent_id or self.info.id

    @property
    def written(self) -> float:
        """When it was last written to, as far as it says so (ms)."""
        spans = [part.state.time if part.state is not None else part.time for part in self.parts]
        times = [
            self.info.time.created,
            self.info.time.completed,
            *(at for one in spans for at in (one.start, one.end)),
        ]
        return max(at for at in times if at is not None)

    @property
    def text(self) -> str:
        """Its text, without what OpenCode added itself."""
        return "".join(part.text for part in self.parts if part.type == "text" and not part.synthetic)


class Todo(Model):
    """An item of a session's to-do list."""

    content: str
    status: str


class FileChange(Model):
    """What happened to one file; `patch` is a unified diff, absent for binary files."""

    file: str
    additions: int = 0
    deletions: int = 0
    status: str = Field(default="modified")
    patch: str = ""


class Location(Model):
    """A directory on OpenCode's machine."""

    directory: str


class ProjectPath(Model):
    """Where a project's directory is; `worktree` is the top of its git working tree, "/" without git."""

    directory: str
    worktree: str


class Worktree(Model):
    """A git worktree that OpenCode made, and the branch that is checked out there."""

    directory: str
    branch: str | None = None


class Home(Model):
    """A directory on OpenCode's machine, and the home folder of its user there."""

    directory: str
    home: str


class FileNode(Model):
    """What a folder holds: a file or a folder."""

    name: str


class Agent(Model):
    """An agent; one that is hidden OpenCode keeps to itself."""

    name: str
    mode: str
    description: str | None = None
    model: dict[str, Any] | None = None
    hidden: bool = False


class Config(Model):
    """The configuration, as far as it says what a prompt takes that does not: `model` as provider/model."""

    model: str | None = None
    default_agent: str | None = Field(None, alias="default_agent")


class Provider(Model):
    """A provider that is set up, with its models by their ids."""

    id: str
    models: dict[str, dict[str, Any]]


class Providers(Model):
    """The providers that are set up; `default` has the id of each one's default model."""

    providers: tuple[Provider, ...]
    default: dict[str, str]

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """Their models as `provider/model`."""
        return {f"{one.id}/{id}": model for one in self.providers for id, model in one.models.items()}


validator = cache(TypeAdapter[Any])
"""Of a model, or of a list or dict of models."""


def as_model(source: str, kind: type[T], value: object) -> T:
    """Return what `source` gave as a model, or as a list or dict of models.

    Raises:
        UnexpectedResponse: where it is another, what is wrong, what came.
    """
    try:
        return validator(kind).validate_python(value)
    except ValidationError as error:
        wrong = "; ".join(problems(error))
        raise UnexpectedResponse(f"{source} does not match OpenCode's document: {wrong}") from error


def problems(error: ValidationError) -> list[str]:
    """Return one line for each problem: where, what is wrong, what came."""
    return [
        f"{'.'.join(map(str, one['loc'])) or 'all'}: {one['msg']}; got {str(one['input'])[:120]!r}"
        for one in error.errors()
    ]
