"""The requests that a task waits for, as a report lists them: what is asked, and the call that answers it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, WithJsonSchema

from opencode_mcp.opencode.forms import FormRequest
from opencode_mcp.opencode.models import AgentRequest, PermissionRequest, QuestionOption
from opencode_mcp.redaction import beginning_of, to_one_line

from .context import PermissionReply
from .next_call import NextCall

ANSWERS_HINT = "for each question a list of labels, or of free text if `custom`"

LINE_END = "⏎"

SHOWN_CHARS = 8_000
"""How much of a command is shown; longer ones were not seen."""

GAP = re.compile(r"\s{40,}")
"""What would push the rest of a line out of sight."""

QUESTIONS_SCHEMA = {"type": "array", "items": {"type": "object"}}
"""Six tools publish it: the fields say what they are."""


class QuestionSummary(BaseModel):
    """One question, whole; `takes` says what it takes beside labels and any text."""

    question: str
    header: str = ""
    options: list[QuestionOption]
    multiple: bool
    custom: bool
    takes: str = ""


class RequestSummary(BaseModel):
    """A permission request or a question. `answer_with` needs the argument in `choices` as well."""

    id: str
    kind: Literal["permission", "question"]
    session_id: str | None = Field(default=None, description="The subagent that asks.")
    wants: str
    answer_with: NextCall
    choices: dict[str, Any] = Field(description="The argument to add.")
    always: list[str] = Field(default=[], description="What the reply `always` allows.")
    questions: Annotated[list[QuestionSummary], WithJsonSchema(QUESTIONS_SCHEMA)] = []


def describe_request(request: AgentRequest, task_id: str, shown_chars: int = SHOWN_CHARS) -> RequestSummary:
    """Return a request of a task or of one of its subagents, as the report of the task lists it.

    `shown_chars` is how much of a command is shown.
    """
    kind = "permission" if isinstance(request, PermissionRequest) else "question"
    call = NextCall(tool=f"answer_{kind}", arguments={"request_id": request.id, "session_id": task_id})
    summary = RequestSummary(
        id=request.id,
        kind=kind,
        session_id=request.session_id if request.session_id != task_id else None,
        wants=describe_wish(request, shown_chars),
        answer_with=call,
        choices={"answers": ANSWERS_HINT},
    )
    if isinstance(request, PermissionRequest):
        return summary.model_copy(
            update={"always": [*request.always], "choices": {"reply": [*get_args(PermissionReply)]}}
        )
    questions = [QuestionSummary.model_validate(question, from_attributes=True) for question in request.questions]
    return summary.model_copy(update={"questions": questions})


def describe_wish(request: AgentRequest, shown_chars: int = SHOWN_CHARS) -> str:
    """Say what a request wants: the whole command of a permission, as a person approves all of it; questions briefly,
    as they are whole elsewhere."""
    if isinstance(request, PermissionRequest):
        command = str(request.metadata.get("command") or ", ".join(request.patterns))
        return f"{request.permission}: {show_whole(command, shown_chars)}"
    questions = " / ".join(question.question for question in request.questions)
    title = request.title if isinstance(request, FormRequest) else ""
    return to_one_line(f"{title}: {questions}" if title else questions)


def show_whole(command: str, shown_chars: int) -> str:
    """Return a command in one line that has "⏎" where its lines end, and nowhere else: one of its own is escaped.

    As for a shell, only a line feed ends a line: after another character that looks like an end, a "#" begins no
    comment. Long gaps are counted, as is what is left out beyond `shown_chars`.
    """
    command = command.strip(" \t\n")
    shown = beginning_of(command, shown_chars)
    excess = len(command) - len(shown)
    for character in (LINE_END, "\r"):
        shown = shown.replace(character, f"<U+{ord(character):04X}>")
    line = GAP.sub(describe_gap, shown.replace("\n", f" {LINE_END} "))
    return line + describe_excess(excess) if excess else line


def describe_excess(characters: int) -> str:
    """Say how much is left out."""
    return f" … ({characters} more characters)"


def describe_gap(gap: re.Match[str]) -> str:
    """Return how long a gap is; only spaces and tabs separate the words of a command."""
    kind = "spaces" if set(gap[0]) <= {" ", "\t"} else "characters that look like spaces"
    return f" <{len(gap[0])} {kind}> "
