"""The call to make after a report: complete, so that it can be made as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from .session_state import TaskStatus


class NextCall(BaseModel):
    """A tool call."""

    tool: str
    arguments: dict[str, Any]


def next_call(
    session_id: str,
    status: TaskStatus,
    answer_offset: int | None = None,
    to_collect: bool = False,
    answers: Sequence[str] = (),
) -> NextCall | None:
    """Return the call to make next; None if the task is done, or waits for an answer, which only the caller can choose.

    `answer_offset` is where the rest of a long answer begins. `to_collect` is whether the worktree has changes that the
    project lacks: they are listed, so that they are read before they are applied. Several `answers` are compared.
    """
    session = {"session_id": session_id}
    if status.state.startswith("waiting_"):
        return None
    if not status.finished:
        return NextCall(tool="wait_for_tasks", arguments={"session_ids": [session_id]})
    if answer_offset is not None:
        return NextCall(tool="report_task", arguments={**session, "answer_offset": answer_offset})
    if len(answers) > 1:
        return NextCall(tool="collect_changes", arguments={"session_ids": [*answers]})
    if to_collect:
        return NextCall(tool="collect_changes", arguments=session)
    return None if status.state == "completed" else NextCall(tool="read_transcript", arguments=session)
