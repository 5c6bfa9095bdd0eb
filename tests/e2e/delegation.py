"""The model of an assistant whose user delegates: it makes the calls of a table, and says what it hears."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import StreamingResponse

from .assistant_model import stream_reply
from .assistant_script import CallOwnTool, CallTool, Result, Say, Step
from .wire_formats import Body, Messages, content_text

NOTIFICATION = "<task-notification>"
"""What Claude Code wakes the model with when a task in the background has ended."""


IN_BACKGROUND = "OpenCode works on it in the background."
FINISHED = "OpenCode has finished:"
STOP = "stop it"
"""The line at which the model stops the newest task in the background."""


@dataclass(frozen=True)
class Heard:
    """The newest input of a model: a line of the user, a notification, or the result of a tool."""

    kind: str
    text: str


@dataclass(frozen=True)
class Turn:
    """A request to the model in a conversation. `text` is what it reads beside its system prompt and its tools.

    `connected`: our tools were offered. `at` is when it came, as time.monotonic().
    """

    heard: Heard
    step: Step
    text: str
    connected: bool
    at: float


@dataclass(frozen=True)
class DelegatingModel:
    """A model that speaks Anthropic's Messages API.

    `steps` has what a line of the user leads to; `turns` every request of the conversation, oldest first.
    """

    steps: Mapping[str, Step]
    wire_format: Messages = field(default_factory=Messages)
    turns: list[Turn] = field(default_factory=list[Turn])

    async def answer(self, request: Request) -> StreamingResponse:
        """Answer a request. Without tools it is for a title, or the like."""
        body = await request.json()
        step: Step = Say("A scripted title")
        if body.get("tools"):
            heard = list(iter_heard(body))[-1]
            step = self.choose_step(heard)
            text, connected = (
                json.dumps(body["messages"], ensure_ascii=False),
                bool(self.wire_format.offered_tools(body)),
            )
            self.turns.append(Turn(heard, step, text, connected, time.monotonic()))
        return stream_reply(self.wire_format, step, body["model"])

    def choose_step(self, heard: Heard) -> Step:
        """Do as the user says; after a call, what its result asks for; and say what else was heard."""
        match heard.kind:
            case "user" if heard.text in self.steps:
                return self.steps[heard.text]
            case "user" if heard.text == STOP:
                return CallOwnTool("TaskStop", {"task_id": find_background_task(self.turns)})
            case "user":
                return Say("Hello.")
            case "notification":
                return Say(f"{FINISHED} {answer_of(heard.text)}")
            case _:
                return after_result(Result(heard.kind, heard.text))

    def heard(self, kind: str) -> list[str]:
        """The model's inputs of one kind, oldest first."""
        return [turn.heard.text for turn in self.turns if turn.heard.kind == kind]


def iter_heard(body: Body) -> Iterator[Heard]:
    """Yield what a request's messages tell, without the assistant's reminders."""
    names: dict[str, str] = {}
    for message in body["messages"]:
        content = message["content"]
        blocks = cast("list[Body]", content) if isinstance(content, list) else [{"type": "text", "text": content}]
        for block in blocks:
            if block["type"] == "tool_use":
                names[block["id"]] = block["name"].removeprefix(Messages.prefix)
            elif block["type"] == "tool_result":
                yield Heard(names[block["tool_use_id"]], content_text(block["content"]))
            elif block["type"] == "text" and message["role"] == "user":
                text: str = block["text"]
                if NOTIFICATION in text:
                    yield Heard("notification", text)
                elif not text.startswith("<system-reminder>"):
                    yield Heard("user", text)


def after_result(result: Result) -> Step:
    """Follow a report that says what to call next, as models do without tasks; else say what came."""
    next_call: dict[str, Any] | None = result.report.get("next")
    if result.state == "running" and next_call:
        return CallTool(next_call["tool"], next_call["arguments"])
    if "task_id" in result.text:
        return Say(IN_BACKGROUND)
    return Say(f"{result.tool} says: {result.report.get('answer') or result.text[:60]}")


def find_background_task(turns: list[Turn]) -> str:
    """Return the assistant's own id of the newest task in the background."""
    [*_, newest] = [found[1] for turn in turns if (found := re.search(r'task_id "(\w+)"', turn.heard.text))]
    return newest


def answer_of(notification: str) -> str:
    """Return the answer of the report in a notification, or the start of what else it says."""
    result = Result("", notification)
    return str(result.report.get("answer") or result.report.get("error") or notification[-300:])
