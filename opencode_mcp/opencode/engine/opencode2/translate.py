"""Translate entries of an OpenCode 2 conversation to messages: prompts, and replies that name their prompt.

    user ─► prompt      assistant ─► reply to the last prompt      shell ─► reply that begins a turn of its own
    synthetic ─► message of the user that names the prompt, as OpenCode goes on with it
    idle ─► how the turn has ended: the error of its last reply, or a reply where there was none

Summaries and changes of the agent, the model or the location are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from opencode_mcp.opencode.models import (
    Message,
    MessageError,
    MessageInfo,
    Part,
    SessionStatus,
    Times,
    TimeSpan,
    ToolState,
)
from opencode_mcp.opencode.opencode2_events import ABORTED, part_id

from .entries import Content, Entry, ErrorInfo, ModelRef

TOOL_STATUS: Mapping[str, str] = {"streaming": "pending"}
"""The states of tool calls that have another name here."""

SHELL_STATUS: Mapping[str, str] = {"running": "running", "exited": "completed"}
"""The states of commands; all others are an error."""

SHELL_ENDED: Mapping[str, str] = {
    "killed": "User aborted the command",
    "timeout": "OpenCode ended the command after its time limit",
}
"""What is added to the output of a command that did not end by itself; the first as OpenCode 1 says it."""

DECLINED = ("declined", "dismissed")
"""Words of the errors of calls that the user rejected without a message (2.0.8), which ends the turn."""


@dataclass
class Translation:
    """Messages of a conversation, oldest first, as far as it was read.

    `prompt_id` is the newest prompt, None if it is older than what was read. `reply_at` is the position of the newest
    reply of a turn that has not ended; `is_open`: a turn has not ended. `has_commands`: commands that clients run after
    a prompt are among the messages; they run beside its turn, and no model sees them.
    """

    prompt_id: str | None = None
    has_commands: bool = False
    messages: list[Message] = field(default_factory=list[Message])
    reply_at: int | None = None
    is_open: bool = False

    def add(self, entry: Entry) -> None:
        """Add an entry that comes after all others."""
        match entry.type:
            case "user":
                self.messages.append(make_prompt(entry, None))
                self.prompt_id, self.reply_at, self.is_open = entry.id, None, True
            case "synthetic":
                self.messages.append(make_prompt(entry, self.prompt_id))
                self.reply_at, self.is_open = None, True
            case "assistant":
                self.messages.append(make_reply(entry, self.prompt_id))
                self.reply_at, self.is_open = len(self.messages) - 1, True
            case "shell" if self.prompt_id is None or self.has_commands:
                self.messages.append(make_shell_reply(entry))
            case "idle":
                self.end_turn(entry)
            case _:
                pass

    def end_turn(self, idle: Entry) -> None:
        """Record how the turn has ended; one that ended without a reply gets one."""
        if self.reply_at is not None:
            self.messages[self.reply_at] = with_outcome(self.messages[self.reply_at], idle)
        elif self.is_open:
            self.messages.append(with_outcome(make_reply(idle, self.prompt_id), idle))
        self.reply_at, self.is_open = None, False


def translate(entries: Iterable[Entry], prompt_id: str | None = None, *, has_commands: bool = False) -> Translation:
    """Translate entries, oldest first; `prompt_id` is the prompt before them, if it is known."""
    translation = Translation(prompt_id, has_commands)
    for entry in entries:
        translation.add(entry)
    return translation


def make_prompt(entry: Entry, continued_prompt_id: str | None) -> Message:
    """Return a message of the user; one that OpenCode has written continues a prompt."""
    is_synthetic, user_text = entry.type == "synthetic", entry.user_text
    texts = [Part(id=part_id(entry.id, "0"), type="text", text=user_text, synthetic=is_synthetic)]
    if added := entry.text.removeprefix(user_text).lstrip("\n"):
        texts.append(Part(id=part_id(entry.id, "added"), type="text", text=added, synthetic=True))
    files = [
        Part(id=part_id(entry.id, str(number)), type="file", filename=file.name)
        for number, file in enumerate(entry.files, start=1)
    ]
    time = Times(created=entry.time.created)
    info = MessageInfo(id=entry.id, role="user", time=time, parent_id=continued_prompt_id)
    return Message(info=info, parts=(*texts, *files))


def make_reply(entry: Entry, prompt_id: str | None) -> Message:
    """Return a reply, or what stands for it where a turn ended without one."""
    model = entry.model or ModelRef(id="", provider_id="")
    info = MessageInfo(
        id=entry.id,
        role="assistant",
        time=Times(created=entry.time.created, completed=entry.time.completed),
        parent_id=prompt_id,
        provider_id=model.provider_id or None,
        model_id=model.id or None,
        variant=model.variant,
        agent=entry.agent,
        cost=entry.cost,
        tokens=entry.tokens,
        finish=entry.finish,
        error=make_error(entry.error) if entry.error is not None else None,
        retry=make_retry(entry),
    )
    return Message(info=info, parts=tuple(make_parts(entry)))


def make_parts(entry: Entry) -> Iterator[Part]:
    """Yield the parts of a reply: its step, what it says and calls, and the files that it has changed."""
    if entry.type == "assistant":
        yield Part(id=part_id(entry.id, "start"), type="step-start", snapshot=entry.snapshot.start)
    numbers: defaultdict[str, Iterator[int]] = defaultdict(count)
    for content in entry.content:
        if content.type == "tool":
            yield make_tool_part(entry.id, content)
        else:
            span = TimeSpan(start=content.time.created, end=content.time.completed) if content.time else TimeSpan()
            key = f"{content.type}{next(numbers[content.type])}"
            yield Part(id=part_id(entry.id, key), type=content.type, text=content.text, time=span)
    if entry.type == "assistant" and entry.time.completed is not None:
        yield Part(id=part_id(entry.id, "end"), type="step-finish", snapshot=entry.snapshot.end)
    if entry.snapshot.files:
        yield Part(id=part_id(entry.id, "files"), type="patch", files=entry.snapshot.files)


def make_tool_part(message_id: str, content: Content) -> Part:
    """Return a tool call."""
    state = content.state
    assert state is not None
    assert content.time is not None
    values = state.input if isinstance(state.input, dict) else {}
    names = {"filePath": values["path"]} if "path" in values else {}
    child = {"sessionId": state.metadata["sessionID"]} if "sessionID" in state.metadata else {}
    return Part(
        id=part_id(message_id, content.id),
        type="tool",
        tool=content.name,
        state=ToolState(
            status=TOOL_STATUS.get(state.status, state.status),
            input={**values, **names},
            title=values.get("description") if child else None,
            error=state.error.message or state.error.type if state.error is not None else None,
            output="\n".join(piece.text for piece in state.content if piece.text),
            metadata={**state.metadata, **child},
            time=TimeSpan(start=content.time.ran or content.time.created, end=content.time.completed),
        ),
    )


def make_shell_reply(entry: Entry) -> Message:
    """Return a command that a client has run, as the reply of a turn of its own: no model was called."""
    ended = SHELL_ENDED.get(entry.status)
    output = f"{entry.output.output}\n\n{ended}" if ended else entry.output.output
    state = ToolState(
        status=SHELL_STATUS.get(entry.status, "error"),
        input={"command": entry.command},
        error=ended,
        output=output,
        metadata={"exit": entry.exit} if entry.exit is not None else {},
        time=TimeSpan(start=entry.time.created, end=entry.time.completed),
    )
    times = Times(created=entry.time.created, completed=entry.time.completed)
    info = MessageInfo(id=entry.id, role="assistant", time=times, parent_id=entry.id)
    return Message(info=info, parts=(Part(id=part_id(entry.id, "0"), type="tool", tool="shell", state=state),))


def make_error(error: ErrorInfo) -> MessageError:
    """Return an error; the name of a provider's is its type."""
    name = ABORTED if error.type == "aborted" else error.type
    status = {"statusCode": error.status} if error.status is not None else {}
    body = {"responseBody": error.response["body"]} if "body" in error.response else {}
    return MessageError(name=name, data={"message": error.message, **status, **body})


def make_retry(entry: Entry) -> SessionStatus | None:
    """Return the retry that a reply waits for."""
    if entry.retry is None:
        return None
    retry = entry.retry
    return SessionStatus(type="retry", attempt=retry.attempt, message=retry.error.message, next=retry.at)


def with_outcome(reply: Message, idle: Entry) -> Message:
    """Return the last reply of a turn with the turn's outcome.

    A turn that a rejection has ended counts as interrupted; here it has no error, but ends with the rejected call.
    """
    info = reply.info
    time = info.time.model_copy(update={"completed": info.time.completed or idle.time.created})
    update: dict[str, object] = {"time": time, "retry": None}
    match idle.outcome:
        case "succeeded":
            update["finish"] = "stop" if info.finish in {None, "tool-calls"} else info.finish
        case "interrupted" if any(map(was_declined, reply.parts)):
            update |= {"finish": "tool-calls", "error": None}
        case "interrupted":
            update["error"] = MessageError(name=ABORTED)
        case _:
            error = make_error(idle.error) if idle.error is not None else info.error
            update["error"] = error or MessageError(name="UnknownError", data={"message": "the turn failed"})
    return reply.model_copy(update={"info": info.model_copy(update=update)})


def was_declined(part: Part) -> bool:
    """Whether the user rejected a call without a message."""
    error = part.state.error if part.state is not None else None
    return error is not None and any(word in error for word in DECLINED)
