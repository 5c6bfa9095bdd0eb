"""What a report says and leaves out: fields, their order, the next call, and whole requests."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from jsonschema_rs import Draft202012Validator

from opencode_mcp.opencode.models import AgentRequest, PermissionRequest, QuestionRequest, parse_model
from opencode_mcp.redaction import Redactor
from opencode_mcp.tasks.metadata import Limits, Rules, TaskMetadata, with_task_metadata
from opencode_mcp.tasks.next_call import next_call
from opencode_mcp.tasks.pending_requests import describe_request, describe_wish
from opencode_mcp.tasks.registry import TASK_TOOLS
from opencode_mcp.tasks.report import SO_FAR_CHARS, TaskReport
from opencode_mcp.tasks.session_state import TaskState, TaskStatus
from opencode_mcp.tasks.task_tools import ReportTask, report_task
from opencode_mcp.tasks.turn_changes import TurnChanges
from opencode_mcp.tools.definition import task_definition
from opencode_mcp.tools.results import Limit, report_result
from opencode_mcp.tools.truncate import NO_REDACTION, dump
from tests.facts import check_calls, facts

from .test_race_conditions import REPLY, FakeOpenCode, make_context

LIMIT = Limit(40_000, "request less")
SESSION = "ses_0741f5c2affeXwS1dGRPyjqZ0b"
KEY = "sk-the-key-of-the-provider"
COMPLETED = TaskReport(
    session_id=SESSION,
    state="completed",
    answer="I added the missing check to cart.py; all 12 tests pass.",
    changes=TurnChanges(files=1, additions=3, deletions=1, paths=["src/cart.py"]),
    directory="/home/me/shop",
    model="anthropic/claude-sonnet-5",
    elapsed_seconds=41.3,
    cost=0.0312,
    tokens=18_204,
)
PERMISSION = parse_model(
    "a test",
    PermissionRequest,
    {
        "id": "per_1",
        "sessionID": "ses_child",
        "permission": "bash",
        "patterns": ["git push"],
        "always": ["git *"],
        "metadata": {"command": "git push\norigin"},
    },
)
QUESTION = parse_model(
    "a test",
    QuestionRequest,
    {
        "id": "que_1",
        "sessionID": SESSION,
        "questions": [
            {
                "header": "Colour",
                "question": "Which one?",
                "options": [{"label": "Red", "description": "As before"}, {"label": "Blue"}],
                "multiple": True,
                "custom": False,
            },
            {"question": "Which name?"},
        ],
    },
)


def test_a_report_has_no_empty_fields_and_begins_with_the_most_important() -> None:
    """A typical one takes at most 120 tokens of four bytes."""
    report = facts(report_result(COMPLETED, NO_REDACTION, LIMIT))

    assert [*report] == [
        *("session_id", "state", "answer", "changes", "directory", "model", "elapsed_seconds", "cost", "tokens")
    ]
    assert report["changes"] == {"files": 1, "additions": 3, "deletions": 1, "paths": ["src/cart.py"]}
    assert len(dump(report).encode()) / 4 <= 120


def test_an_empty_answer_and_unknown_changes_are_information() -> None:
    """A completed task without an answer says so, and unknown changes are not none."""
    unknown = TurnChanges(paths=["a.txt"], unknown="no snapshot")
    report = facts(report_result(COMPLETED.model_copy(update={"answer": "", "changes": unknown}), NO_REDACTION, LIMIT))

    assert report["answer"] == ""
    assert report["changes"] == {"paths": ["a.txt"], "unknown": "no snapshot"}


@pytest.mark.parametrize(
    ("state", "offset", "to_collect", "call"),
    [
        ("starting", None, False, ("wait_for_tasks", {"session_ids": [SESSION]})),
        ("running", None, True, ("wait_for_tasks", {"session_ids": [SESSION]})),
        ("waiting_permission", None, False, None),
        ("waiting_question", None, True, None),
        ("completed", None, False, None),
        ("completed", 20_000, True, ("report_task", {"session_id": SESSION, "answer_offset": 20_000})),
        ("completed", None, True, ("collect_changes", {"session_id": SESSION})),
        ("failed", None, True, ("collect_changes", {"session_id": SESSION})),
        ("stopped", None, True, ("collect_changes", {"session_id": SESSION})),
        ("failed", None, False, ("read_transcript", {"session_id": SESSION})),
        ("stopped", None, False, ("read_transcript", {"session_id": SESSION})),
    ],
)
def test_the_next_call_can_be_made_as_it_stands(
    state: TaskState, offset: int | None, to_collect: bool, call: tuple[str, dict[str, Any]] | None
) -> None:
    """It waits, reads on, applies or looks; while a request waits there is none, as it takes a decision."""
    following = next_call(SESSION, TaskStatus(state), offset, to_collect)
    report = COMPLETED.model_copy(update={"state": state, "next": following})

    assert (following and (following.tool, following.arguments)) == call
    check_calls(report.model_dump(exclude_defaults=True))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("limits", "note"),
    [
        (Limits(cost=1), "The turn has ended by itself, but it passed its limit of $1: $1.2000."),
        (Limits(tokens=100), "The turn has ended by itself, but it passed its limit of 100 tokens: 120."),
        (Limits(cost=1.2, tokens=120, minutes=1), None),
    ],
    ids=["cost", "tokens", "not passed"],
)
async def test_a_turn_that_passes_a_limit_with_its_last_call_says_so(limits: Limits, note: str | None) -> None:
    """It has ended before a bridge could stop it. Minutes also pass after its end."""
    rules = Rules(prompt_id="msg_1", limits=limits)
    session = {"id": "ses_1", "directory": "/project", "time": {"created": 1}}
    metadata = with_task_metadata({}, TaskMetadata(rules=rules))
    used = {"cost": 1.2, "tokens": {"input": 100, "output": 20, "reasoning": 0}}
    reply: dict[str, Any] = {"info": {**REPLY, **used, "time": {"created": 1, "completed": 2}}, "parts": []}
    opencode = FakeOpenCode(answers={"session_get": {**session, "metadata": metadata}}, messages=[reply])

    report = await report_task(make_context(opencode), ReportTask(session_id="ses_1", answer_offset=0))

    assert (report.state, report.note) == ("completed", note)


@pytest.mark.anyio
async def test_a_running_task_reports_the_end_of_its_text_and_the_calls_that_failed() -> None:
    """The newest reply that has text: the one after it may be a tool call."""
    failed = {"status": "error", "input": {"command": "make"}, "error": "no rule"}
    told, called = (
        {"info": {**REPLY, "id": id, "time": {"created": 1}}, "parts": [part]}
        for id, part in (
            ("msg_2", {"type": "text", "text": "x" * SO_FAR_CHARS + " I build it first.\n"}),
            ("msg_3", {"type": "tool", "tool": "bash", "state": failed}),
        )
    )
    opencode = FakeOpenCode(status={"ses_1": {"type": "busy"}}, messages=[told, called])

    report = await report_task(make_context(opencode), ReportTask(session_id="ses_1", answer_offset=0))

    assert (report.state, report.answer) == ("running", None)
    assert report.answer_so_far is not None
    assert report.answer_so_far == "… I build it first."
    assert report.failed_calls == ["bash make: no rule"]


def test_a_permission_names_what_always_allows_and_the_call_that_answers_it() -> None:
    """A subagent's request names the subagent, and is answered for the task."""
    assert describe_request(PERMISSION, SESSION).model_dump(exclude_defaults=True) == {
        "id": "per_1",
        "kind": "permission",
        "session_id": "ses_child",
        "wants": "bash: git push ⏎ origin",
        "always": ["git *"],
        "answer_with": {"tool": "answer_permission", "arguments": {"request_id": "per_1", "session_id": SESSION}},
        "choices": {"reply": ["once", "always", "reject"]},
    }


def test_a_permission_shows_the_whole_command() -> None:
    """A person approves all of it: its end may be what matters. What is left out of a very long one is counted."""
    command = f"  cat <<'END' > notes\n  {'word ' * 100}\nEND\nrm -r build"
    shown = describe_wish(asks_for(command))
    assert shown == f"bash: cat <<'END' > notes ⏎   {'word ' * 100} ⏎ END ⏎ rm -r build"

    long = describe_wish(asks_for("echo " + "word " * 2000 + "end"))
    assert len(long) < 8_100
    assert long.endswith("word … (2009 more characters)")
    assert describe_wish(asks_for("x" * 9000)) == "bash:  … (9000 more characters)"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (": <<'E' ⏎ $(rm a) ⏎ E", ": <<'E' <U+23CE> $(rm a) <U+23CE> E"),
        ("rm a\r\nrm b\r", "rm a<U+000D> ⏎ rm b<U+000D>"),
        (f"ls{' ' * 3000}; rm a", "ls <3000 spaces> ; rm a"),
        (f"ls{chr(0xA0) * 3000}; rm a", "ls <3000 characters that look like spaces> ; rm a"),
        (f"ls\n\n\n{' ' * 38}rm a", f"ls ⏎  ⏎  ⏎ {' ' * 38}rm a"),
        *((f"ls {end}# rm a", f"ls <U+{ord(end):04X}># rm a") for end in "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"),
    ],
)
def test_a_command_cannot_hide_where_its_lines_end(command: str, shown: str) -> None:
    """What only looks like the end of a line is escaped: for a shell no comment and no here-document ends there."""
    assert Redactor().redact_text(describe_wish(asks_for(command))) == f"bash: {shown}"


def asks_for(command: str) -> PermissionRequest:
    """Return the request for a command."""
    return PERMISSION.model_copy(update={"metadata": {"command": command}})


def test_a_question_is_whole() -> None:
    """Headers, options with descriptions, and whether several options or free text are an answer."""
    request = describe_request(QUESTION, SESSION).model_dump(exclude_defaults=True)

    assert request["wants"] == "Which one? / Which name?"
    assert "session_id" not in request
    assert request["questions"] == [
        {
            "question": "Which one?",
            "header": "Colour",
            "options": [{"label": "Red", "description": "As before"}, {"label": "Blue"}],
            "multiple": True,
            "custom": False,
        },
        {"question": "Which name?", "options": [], "multiple": False, "custom": True},
    ]


@pytest.mark.parametrize("request_of_agent", [PERMISSION, QUESTION])
def test_a_report_with_requests_fits_the_published_schema(request_of_agent: AgentRequest) -> None:
    """Clients validate structured content; the calls that answer it are valid."""
    pending = [describe_request(request_of_agent, SESSION)]
    report = facts(report_result(COMPLETED.model_copy(update={"pending": pending}), NO_REDACTION, LIMIT))

    Draft202012Validator(task_definition(TASK_TOOLS["report_task"])["outputSchema"]).validate(report)
    assert report["pending"][0]["id"] == request_of_agent.id


def test_what_a_model_writes_into_a_request_is_redacted() -> None:
    """Secrets and invisible characters in a header, an option, a description and a pattern."""
    option = {"label": f"Use {KEY}", "description": f"It is {KEY}\u202e"}
    asked = {"header": KEY, "question": f"{KEY}?", "options": [option]}
    question = parse_model("a test", QuestionRequest, {"id": "que_1", "sessionID": SESSION, "questions": [asked]})
    permission = PERMISSION.model_copy(update={"always": (f"curl {KEY}\u200b *",), "metadata": {}})
    pending = [describe_request(one, SESSION) for one in (question, permission)]
    redactor = Redactor([KEY])
    report = report_result(COMPLETED.model_copy(update={"pending": pending}), redactor, LIMIT)

    text = dump(facts(report))
    assert KEY not in text and "\u202e" not in text and "\u200b" not in text
    assert "<U+202E>" in text and "<U+200B>" in text
    assert facts(report)["_redacted"].startswith("6 secrets")


@pytest.mark.parametrize("state", get_args(TaskState))
def test_the_report_of_a_task_that_has_failed_is_an_error(state: TaskState) -> None:
    """Also where only its check has failed: scripts that go on after `opencode-mcp call` read the exit code."""
    report = COMPLETED.model_copy(update={"state": state})

    assert report_result(report, Redactor([]), LIMIT).is_error == (state in {"failed", "check_failed"})
