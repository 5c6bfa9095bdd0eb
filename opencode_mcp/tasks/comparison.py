"""The collect_changes tool, for one session or several: several are compared, or those that are named are discarded.

each session -> state, usage, files in its worktree -> which files differ; then `apply` one, and discard the others

The order is that of the arguments: answers are not ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from opencode_mcp.exceptions import InvalidArguments, OpenCodeError, WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.redaction import end_of

from .answer_group import find_answers
from .changes import (
    ChangedFile,
    CollectChanges,
    CollectedChanges,
    ReadChanges,
    collect_changes,
    describe_schema_line,
    has_mergeable,
    open_worktree_changes,
)
from .check import CheckResult
from .context import Context
from .metadata import task_metadata
from .next_call import NextCall
from .pending_starts import report_unstarted
from .report import COST_DIGITS
from .session_state import ENDED_STATES, SessionSnapshot, TaskState, read_session
from .turn import describe_other_model, describe_revert, elapsed_seconds, read_family_usage, read_turn
from .wait import Outcome, wait_until_settled
from .workspace import describe_removal

CHECK_OUTPUT_CHARS = 300
"""How much of the output of an answer's check is shown: its end."""


class Answer(BaseModel):
    """One session of several. A field that has its default is left out of a result.

    `files`, `additions` and `deletions` are None where they are not known; `unknown` says why. `cost` (US dollars) and
    `tokens` are those of the session with its subagents, `elapsed_seconds` that of its last turn.
    """

    session_id: str
    model: str | None = None
    state: TaskState | None = None
    error: str | None = None
    check: CheckResult | None = None
    files: list[ChangedFile] | None = None
    additions: int | None = None
    deletions: int | None = None
    patch: str | None = None
    unknown: str | None = None
    discarded: bool = False
    note: str | None = None
    cost: float | None = None
    tokens: int | None = None
    elapsed_seconds: float | None = None
    directory: str | None = None
    apply_with: NextCall | None = None


class Answers(BaseModel):
    """Several sessions; `differing_files` are the files whose content is not the same in all answers that were read."""

    answers: list[Answer]
    differing_files: list[str] = []
    next: NextCall | None = None


def require_nothing(schema: dict[str, Any]) -> None:
    """Require no field, as a result of several sessions has others than that of one."""
    del schema["required"]


class CollectResult(CollectedChanges):
    """The fields of the results of one session and of several, for the schema."""

    model_config = ConfigDict(json_schema_extra=require_nothing)

    answers: Annotated[list[Answer], WithJsonSchema({"type": "array", "items": {"type": "object"}})] = Field([])
    differing_files: list[str] = Field([])


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """An answer, the server and project that it is for, and what identifies the content of each file that it changed.

    Both are None where the changes are unknown.
    """

    answer: Answer
    target: str | None = None
    contents: Mapping[str, str] | None = None


async def collect_or_compare(context: Context, options: ReadChanges) -> CollectedChanges | Answers:
    """Collect the changes of one session, or compare several, or discard them: that only with CollectChanges.

    Raises:
        InvalidArguments: no session is named, or something is asked of several that is for one.
        OpenCodeError: what `collect_changes` raises; of several sessions, if none can be read or discarded.
    """
    may_change = isinstance(options, CollectChanges)
    arguments = CollectChanges.model_validate(options.model_dump(include=set(CollectChanges.model_fields)))
    refuse_contradictions(arguments)
    if arguments.session_id is not None:
        return await collect_from_one(context, arguments, arguments.session_id)
    session_ids = [*dict.fromkeys(arguments.session_ids)]
    if arguments.discard:
        return await discard_each(context, session_ids, arguments.force)
    compared = await compare(context, session_ids, with_patch=arguments.format == "patch")
    if may_change:
        return compared
    return Answers(
        answers=[answer.model_copy(update={"apply_with": None}) for answer in compared.answers],
        differing_files=compared.differing_files,
    )


def refuse_contradictions(arguments: CollectChanges) -> None:
    """Refuse arguments that name neither one session nor several, or both, or what is for one session only.

    Raises:
        InvalidArguments: says which, with an example.
    """
    example, example_of_several = {"session_id": "ses…"}, {"session_ids": ["ses…", "ses…"]}
    if arguments.session_id is None and not arguments.session_ids:
        raise InvalidArguments("collect_changes", ["session_id: missing; or name several in `session_ids`"], example)
    if arguments.session_id is not None and arguments.session_ids:
        raise InvalidArguments(
            "collect_changes", ["session_id: not with `session_ids`, which names all"], example_of_several
        )
    for name in ("apply", "message_id"):
        if arguments.session_ids and getattr(arguments, name):
            problem = f"{name}: for one session, with `session_id` instead of `session_ids`"
            raise InvalidArguments("collect_changes", [problem], example)


async def collect_from_one(context: Context, arguments: CollectChanges, session_id: str) -> CollectedChanges:
    """Collect the changes of a session. After one of several answers was applied, `next` discards all of them.

    That call has no `force`: it keeps a worktree with changes that the project lacks.
    """
    collected = await collect_changes(context, arguments)
    if not arguments.apply:
        return collected
    answers: list[str] = []
    with suppress(OpenCodeError):  # the changes are applied, whatever can be said of other answers
        async with context.for_session(session_id) as session_context:
            session = await read_session(session_context.opencode, session_id)
            found = await find_answers(session_context.opencode, task_metadata(session))
            answers = [answer.id for answer in found]
    others = [answer for answer in answers if answer != session_id]
    if not others:
        return collected
    note = f"{', '.join(others)} answered the same task; discarding changes that are not applied needs `force`"
    following = NextCall(tool="collect_changes", arguments={"session_ids": answers, "discard": True})
    return collected.model_copy(
        update={"note": "; ".join(filter(None, (collected.note, note))), "next": following},
    )


async def discard_each(context: Context, session_ids: Sequence[str], force: bool) -> Answers:
    """Discard the worktrees of the named sessions, each as `collect_changes` does; an error of one keeps only that.

    Raises:
        WorkflowError: none was discarded.
    """
    answers: list[Answer] = []
    for session_id in session_ids:
        arguments = CollectChanges.model_validate({"session_id": session_id, "discard": True, "force": force})
        try:
            async with context.for_session(session_id) as session_context:
                collected = await collect_changes(session_context, arguments)
            answers.append(Answer(session_id=session_id, discarded=True, note=collected.note))
        except OpenCodeError as error:
            answers.append(Answer(session_id=session_id, error=str(error)))
    if not any(answer.discarded for answer in answers):
        raise WorkflowError("\n".join(f"{answer.session_id}: {answer.error}" for answer in answers))
    return Answers(answers=answers)


async def compare(context: Context, session_ids: Sequence[str], with_patch: bool) -> Answers:
    """Compare what several sessions did, in their order; nothing is changed.

    Raises:
        WorkflowError: none of them can be read, or they are for different projects.
    """
    read: list[ReadAnswer] = await gather(
        *(partial(read_answer, context, session_id, with_patch) for session_id in session_ids)
    )
    answers = [each.answer for each in read]
    if not any(answer.state for answer in answers):
        raise WorkflowError("\n".join(f"{answer.session_id}: {answer.unknown}" for answer in answers))
    unfinished = [answer.session_id for answer in answers if answer.state and answer.state not in ENDED_STATES]
    wait = NextCall(tool="wait_for_tasks", arguments={"session_ids": unfinished, "until": "all"})
    return Answers(answers=answers, differing_files=find_differing_files(read), next=wait if unfinished else None)


def find_differing_files(read: Sequence[ReadAnswer]) -> list[str]:
    """Return the files that have not the same content in all answers whose changes are known.

    Raises:
        WorkflowError: they are for different projects, whose files cannot be compared.
    """
    if len(targets := {each.target for each in read if each.target is not None}) > 1:
        raise WorkflowError(f"these sessions are for different projects: {', '.join(sorted(targets))}")
    contents = [each.contents for each in read if each.contents is not None]
    paths = sorted({path for files in contents for path in files})
    return [path for path in paths if len({files.get(path) for files in contents}) > 1]


async def read_answer(context: Context, session_id: str, with_patch: bool) -> ReadAnswer:
    """Read what a session did; an error is its `unknown`."""
    if (start := context.servers.pending_starts.get(session_id)) is not None:
        report = report_unstarted(context, start)
        unknown = "its prompt is not sent yet" if report.state == "starting" else "it did not start"
        return ReadAnswer(Answer(session_id=session_id, state=report.state, error=report.error, unknown=unknown))
    try:
        async with context.for_session(session_id) as session_context:
            outcome = await wait_until_settled(session_context, session_id, None, deadline=0)
            answer = await describe_answer(session_context.opencode, outcome)
            return await read_files(session_context.opencode, outcome.snapshot, answer, with_patch)
    except OpenCodeError as error:
        return ReadAnswer(Answer(session_id=session_id, unknown=str(error)))


async def describe_answer(opencode: OpenCodeClient, outcome: Outcome) -> Answer:
    """Return the state of an answer, its check, and what it has cost."""
    snapshot, status = outcome.snapshot, outcome.status
    turn, usage = await gather(partial(read_turn, opencode, snapshot), partial(read_family_usage, opencode, snapshot))
    check = status.check
    notes = (status.note, describe_other_model(turn, snapshot.session), describe_revert(snapshot))
    return Answer(
        session_id=snapshot.session.id,
        model=next(iter(turn.models), None) if turn else None,
        state=status.state,
        error=status.error,
        check=check and check.model_copy(update={"output": end_of(check.output, CHECK_OUTPUT_CHARS) or ""}),
        note="; ".join(filter(None, notes)) or None,
        cost=round(usage.cost, COST_DIGITS),
        tokens=usage.tokens,
        elapsed_seconds=elapsed_seconds(turn, snapshot, over=status.finished),
        directory=snapshot.session.directory,
    )


async def read_files(
    opencode: OpenCodeClient, snapshot: SessionSnapshot, answer: Answer, with_patch: bool
) -> ReadAnswer:
    """Add to an answer what it changed in its worktree, and the call that applies it once it has ended."""
    session, task = snapshot.session, task_metadata(snapshot.session)
    if task.worktree_of is None:
        unknown = f"it works in {session.directory} itself, not in a worktree; collect_changes with session_id shows it"
        return ReadAnswer(answer.model_copy(update={"unknown": unknown}))
    try:
        if removal_note := await describe_removal(opencode, session, task):
            return ReadAnswer(answer.model_copy(update={"unknown": removal_note}))
        async with open_worktree_changes(opencode, session, task) as worktree:
            changes = await worktree.files()
            patch = await worktree.patch() if with_patch else None
            missing, is_mergeable = worktree.missing, has_mergeable((), worktree)
            notes = (worktree.note, await describe_schema_line(changes, worktree))
            target, contents = f"{opencode.server.name or ''} {worktree.target}".strip(), worktree.contents()
    except OpenCodeError as error:
        return ReadAnswer(answer.model_copy(update={"unknown": str(error)}))
    apply = NextCall(tool="collect_changes", arguments={"session_id": session.id, "apply": True})
    applied = "the project has these changes" if changes and not missing else None
    facts = {
        "files": [ChangedFile.of(change) for change in changes],
        "additions": sum(change.additions for change in changes),
        "deletions": sum(change.deletions for change in changes),
        "patch": patch,
        "note": "; ".join(filter(None, (answer.note, *notes, applied))) or None,
        "apply_with": apply if is_mergeable and answer.state in ENDED_STATES else None,
    }
    return ReadAnswer(answer.model_copy(update=facts), target, contents)
