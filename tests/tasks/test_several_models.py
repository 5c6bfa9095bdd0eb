"""One task for several models: what may start, and how the answers are compared."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_mcp.exceptions import InvalidArguments, WorkflowError
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tasks.arguments import validate_arguments
from opencode_mcp.tasks.changes import CollectChanges
from opencode_mcp.tasks.comparison import Answer, ReadAnswer, compare, find_differing_files, refuse_contradictions
from opencode_mcp.tasks.next_call import next_call
from opencode_mcp.tasks.options import StartTask
from opencode_mcp.tasks.pending_starts import PendingStart
from opencode_mcp.tasks.per_model import tasks_for_models
from opencode_mcp.tasks.session_state import TaskState, TaskStatus
from opencode_mcp.tasks.task_tools import RunTasks

from .test_race_conditions import FakeOpenCode, make_context

MODELS = ["a/x", "b/y"]
PLAIN: dict[str, Any] = {}


def make_task(**arguments: Any) -> StartTask:
    """Return a task with these arguments."""
    return StartTask.model_validate({"prompt": "do it", **arguments})


def test_each_model_gets_the_task_in_a_worktree_of_its_own() -> None:
    """The options are those of the task; the answers share a key, and have their numbers."""
    first, second = tasks_for_models([make_task(check=["true"], include_uncommitted=True)], MODELS)

    assert (first.model, second.model) == ("a/x", "b/y")
    assert {(task.worktree, task.include_uncommitted, *task.check) for task in (first, second)} == {
        (True, True, "true")
    }
    assert first.answer_group is not None and second.answer_group is not None
    assert first.answer_group.key == second.answer_group.key
    assert [(group.number, group.size) for group in (first.answer_group, second.answer_group)] == [(1, 2), (2, 2)]
    other, _ = tasks_for_models([make_task()], MODELS)
    assert other.answer_group is not None
    assert other.answer_group.key != first.answer_group.key


def test_a_repeated_call_finds_the_answers_of_the_first() -> None:
    """Its request id gives each model's, whatever their order, and the key."""
    first = tasks_for_models([make_task(request_id="r")], MODELS)
    again = tasks_for_models([make_task(request_id="r")], MODELS[::-1])
    elsewhere = tasks_for_models([make_task(request_id="r", directory="/other")], MODELS)

    assert {task.model: task.request_id for task in first} == {task.model: task.request_id for task in again}
    assert len({task.request_id for task in first}) == 2
    keys = [tasks[0].answer_group.key for tasks in (first, again, elsewhere) if tasks[0].answer_group]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("tasks", "models", "problem"),
    [
        ([PLAIN, PLAIN], MODELS, "`tasks` has 2"),
        ([{"session_id": "ses_1"}], MODELS, "no `session_id`"),
        ([{"model": "a/x"}], MODELS, "no `model`"),
        ([{"worktree": False}], MODELS, "`worktree` cannot be false"),
        ([PLAIN], ["a/x", "b/y", "a/x"], "names a/x more than once"),
    ],
)
def test_what_contradicts_several_models_is_refused(
    tasks: list[dict[str, Any]], models: list[str], problem: str
) -> None:
    with pytest.raises(WorkflowError, match=f"{problem}.*Nothing was started"):
        tasks_for_models([make_task(**task) for task in tasks], models)


@pytest.mark.parametrize(
    ("tool", "arguments", "accepted"),
    [
        (
            "run_tasks",
            {"tasks": {"prompt": "x"}, "models": [{"providerID": "a", "modelID": "x"}, "b/y"]},
            {"tasks": [{"prompt": "x"}], "models": MODELS},
        ),
        ("run_tasks", {"tasks": ["x"], "models": "a/x"}, {"tasks": [{"prompt": "x"}], "models": ["a/x"]}),
        (
            "collect_changes",
            {"sessionIDs": '["ses_1", "ses_2"]', "discard": "true"},
            {"session_ids": ["ses_1", "ses_2"], "discard": True},
        ),
    ],
)
def test_natural_calls_are_understood(tool: str, arguments: dict[str, Any], accepted: dict[str, Any]) -> None:
    validated = validate_arguments(tool, TASK_TOOLS[tool].arguments, arguments, lenient=True)

    assert validated.model_dump(exclude_unset=True) == accepted


def test_models_for_a_prompt_outside_of_tasks_say_where_it_belongs() -> None:
    with pytest.raises(InvalidArguments, match=r"prompt: unknown; did you mean tasks\?\n- tasks: missing"):
        validate_arguments("run_tasks", RunTasks, {"prompt": "x", "models": MODELS}, lenient=True)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "session_id: missing"),
        ({"session_id": "ses_1", "session_ids": ["ses_2"]}, "session_id: not with"),
        ({"session_ids": ["ses_1"], "apply": True}, "apply: for one session"),
        ({"session_ids": ["ses_1"], "message_id": "msg_1"}, "message_id: for one session"),
    ],
)
def test_collect_changes_is_for_one_session_or_for_several(arguments: dict[str, Any], problem: str) -> None:
    """The example of each error can be called."""
    with pytest.raises(InvalidArguments, match=problem) as raised:
        refuse_contradictions(CollectChanges.model_validate(arguments))
    assert raised.value.example is not None
    refuse_contradictions(CollectChanges.model_validate(raised.value.example))


@pytest.mark.parametrize(
    ("state", "offset", "tool"),
    [
        ("completed", None, "collect_changes"),
        ("check_failed", None, "collect_changes"),
        ("failed", None, "collect_changes"),
        ("completed", 5, "report_task"),
        ("running", None, "wait_for_tasks"),
    ],
)
def test_answers_that_have_ended_are_compared(state: TaskState, offset: int | None, tool: str) -> None:
    """Also one that changed nothing: the others may have."""
    following = next_call("ses_1", TaskStatus(state), offset, answers=["ses_1", "ses_2"])

    assert following is not None
    assert following.tool == tool
    assert tool != "collect_changes" or following.arguments == {"session_ids": ["ses_1", "ses_2"]}


@pytest.mark.anyio
@pytest.mark.parametrize(("failure", "state"), [(None, "starting"), (WorkflowError("no space left"), "failed")])
async def test_an_answer_without_a_prompt_is_reported_as_such(failure: Exception | None, state: TaskState) -> None:
    """A worktree's setup may take minutes; OpenCode knows nothing of the task until then."""
    context = make_context(FakeOpenCode())
    start = PendingStart(session_id="ses_1", failure=failure, caller_returned=True)
    context.servers.pending_starts["ses_1"] = start

    compared = await compare(context, ["ses_1"], with_patch=False)

    [answer] = compared.answers
    assert answer.state == state
    assert answer.files is None and answer.unknown
    assert ("no space left" in (answer.error or "")) == (failure is not None)
    assert (compared.next is not None) == (state == "starting")


def read(contents: dict[str, str] | None, target: str | None = "/project") -> ReadAnswer:
    """Return an answer whose files have these contents."""
    return ReadAnswer(Answer(session_id="ses_1"), target if contents is not None else None, contents)


def test_a_file_differs_unless_all_answers_have_the_same() -> None:
    """A file that an answer has not changed differs from one that it has; unknown changes differ from nothing."""
    first = {"same": "1", "other": "1", "only": "1", "deleted": ""}
    second = {"same": "1", "other": "2", "deleted": "1"}

    assert find_differing_files([read(first), read(second)]) == ["deleted", "only", "other"]
    assert find_differing_files([read(first), read(first), read(None)]) == []
    assert find_differing_files([read(first), read({})]) == sorted(first)
    assert find_differing_files([]) == []


def test_answers_for_different_projects_are_not_compared() -> None:
    with pytest.raises(WorkflowError, match="different projects: /one, /two"):
        find_differing_files([read({}, "/one"), read({}, "/two")])
