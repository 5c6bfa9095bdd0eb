"""Results as people read them at a terminal."""

from __future__ import annotations

import argparse
import io
import shlex
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.commands import call
from opencode_mcp.cli.main import command_parser, settings_flags
from opencode_mcp.cli.output import print_lines
from opencode_mcp.cli.result_text import FORMATS, STATE_STYLES, Shell, format_result
from opencode_mcp.cli.tool_stats import full_schema
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tasks.session_state import ENDED_STATES

ATTACHED = Shell(("opencode-mcp", "call"), opencode_stays=True, width=80)
MANAGED = Shell(("opencode-mcp", "call"), opencode_stays=False, width=80)
REPORT: dict[str, Any] = {
    "session_id": "ses_1",
    "state": "completed",
    "answer": "Two lines:\n\tthe second",
    "directory": "/project",
    "changes": {"files": 2, "additions": 3, "deletions": 1, "paths": ["a.py", "b.py"]},
    "tokens": 12345,
    "cost": 0.126,
    "model": "provider/model",
    "elapsed_seconds": 16.74,
}
PERMISSION = {
    "id": "per_1",
    "wants": "bash: touch made",
    "answer_with": {"tool": "answer_permission", "arguments": {"request_id": "per_1", "session_id": "ses_1"}},
    "choices": {"reply": ["once", "always", "reject"]},
    "always": ["touch *"],
}
QUESTION = {
    "id": "que_1",
    "wants": "Which colour?",
    "answer_with": {"tool": "answer_question", "arguments": {"request_id": "que_1", "session_id": "ses_1"}},
    "choices": {"answers": "labels"},
    "questions": [
        {"question": "Which colour?", "options": [{"label": "Red", "description": "warm"}, {"label": "Blue"}]}
    ],
}
HIDDEN = "\x1b[2Jgone \u202etxt.exe\x07"
"""A text that clears a screen, reverses its direction and rings."""
HIDDEN_REQUEST = {
    "wants": HIDDEN,
    "answer_with": {"tool": HIDDEN, "arguments": {HIDDEN: HIDDEN}},
    "choices": {HIDDEN: [HIDDEN], "answers": HIDDEN},
    "always": [HIDDEN],
    "questions": [{"question": HIDDEN, "options": [{"label": HIDDEN, "description": HIDDEN}]}],
}


def render(tool: str, facts: Mapping[str, Any], shell: Shell = ATTACHED) -> str:
    """Return a result as a terminal without colours shows it, "" where JSON is printed."""
    out = io.StringIO()
    console = Console(file=out, width=shell.width, highlight=False, markup=False)
    for item in format_result(tool, facts, shell) or []:
        console.print(item, soft_wrap=isinstance(item, (str, Text)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_a_report_begins_with_the_state_and_ends_with_the_next_command() -> None:
    """In between: the answer as text, and what changed."""
    collect = {"tool": "collect_changes", "arguments": {"session_id": "ses_1", "apply": True}}

    assert render("run_task", REPORT | {"next": collect}) == (
        "completed  16.7 s, 12,345 tokens, $0.13, provider/model\n"
        "\n"
        "Two lines:\n"
        "    the second\n"
        "\n"
        "changes     2 files, +3 -1\n"
        "  a.py\n"
        "  b.py\n"
        "session     ses_1 in /project\n"
        "next        opencode-mcp call collect_changes session_id=ses_1 apply=true"
    )


def test_a_report_without_a_next_call_says_how_to_go_on() -> None:
    assert render("run_task", REPORT).endswith("next        opencode-mcp call run_task session_id=ses_1 prompt='…'")


def test_several_answers_are_shown_one_below_the_other() -> None:
    """Each with its state, its check, its files, and the command that applies it."""
    files = [{"path": "a.py", "status": "added", "additions": 2, "deletions": 0}]
    answer = {"model": "a/x", "cost": 0.5, "files": files, "additions": 2, "deletions": 0}
    failed, passed = ({"passed": passed, "command": "make test"} for passed in (False, True))
    apply = {"tool": "collect_changes", "arguments": {"session_id": "ses_2", "apply": True}}
    answers = [
        {"session_id": "ses_1", "state": "check_failed", "check": failed, **answer},
        {"session_id": "ses_2", "state": "completed", "check": passed, **answer, "apply_with": apply},
    ]

    assert render("collect_changes", {"answers": answers, "differing_files": ["a.py"]}) == (
        "check_failed  $0.50, a/x\n"
        "session     ses_1\n"
        "check       failed: make test\n"
        "1 file, +2 -0\n"
        "  added    a.py  +2 -0\n"
        "\n"
        "completed  $0.50, a/x\n"
        "session     ses_2\n"
        "check       passed: make test\n"
        "1 file, +2 -0\n"
        "  added    a.py  +2 -0\n"
        "apply       opencode-mcp call collect_changes session_id=ses_2 apply=true\n"
        "\n"
        "different   a.py"
    )


def test_each_task_tool_has_a_form_for_people() -> None:
    assert {tool.name for tool in TASK_TOOLS.values() if tool.output not in FORMATS} == set()


def test_a_list_of_tasks_shows_what_each_waits_for() -> None:
    """With the session of each, and the servers that did not answer."""
    waiting = {**REPORT, "state": "waiting_permission", "title": "tidy\nup", "pending": [PERMISSION], "cost": 0.5}
    ended = {"session_id": "ses_2", "state": "idle", "directory": "/p", "title": "new", "note": "it exited"}
    tasks = {"tasks": [waiting, ended], "total": 7, "project": "/p", "problems": ["server b: gone"]}

    lines = render("list_tasks", tasks).splitlines()

    assert lines[0].startswith("waiting_permission  ")
    assert lines[1:3] == ["  tidy up", "waits for   bash: touch made"]
    assert lines[-7:] == [
        "session     ses_1 in /project",
        "idle",
        "  new",
        "note        it exited",
        "session     ses_2 in /p",
        "2 of 7 tasks in /p",
        "problem     server b: gone",
    ]


def test_changes_that_the_project_lacks_are_named() -> None:
    """Once the worktree is gone, they are lost."""
    changes = {"files": [], "additions": 0, "deletions": 0, "discarded": False, "missing": ["a.py", "b.py"]}

    assert "not applied a.py, b.py" in render("collect_changes", changes)
    assert "lost        a.py, b.py" in render("collect_changes", {**changes, "discarded": True})


def test_a_failed_task_shows_its_error_note_and_failed_calls() -> None:
    failed = {"state": "failed", "error": "no model", "failed_calls": ["bash: exit 1"], "note": "from a fork"}
    lines = render("run_task", REPORT | failed).splitlines()

    assert lines[0].startswith("failed  ")
    assert lines[2] == "no model"
    assert "failed call bash: exit 1" in lines
    assert "note        from a fork" in lines


def test_a_task_that_was_not_started_names_no_command() -> None:
    """Its session was removed with its worktree, as after a setup that failed."""
    failed = {"session_id": "ses_1", "state": "failed", "error": "the setup failed", "directory": "/worktree"}

    assert "run_task" not in render("run_task", failed)
    assert render("run_task", failed).endswith("session     ses_1 in /worktree")


def test_a_discarded_answer_shows_its_note() -> None:
    answer = {"session_id": "ses_1", "discarded": True, "note": "kept the branch mine"}

    assert "note        kept the branch mine" in render("collect_changes", {"answers": [answer]})


def test_an_answer_as_json_is_shown() -> None:
    """Indented, with what a terminal would interpret escaped; an empty value is one too."""
    answered = {name: value for name, value in REPORT.items() if name != "answer"}

    assert '{\n  "hidden": "\\u001b[2Jgone' in render(
        "run_task", answered | {"structured": {"hidden": HIDDEN}}, MANAGED
    )
    assert "\n[]\n" in render("run_task", answered | {"structured": list[Any]()}, MANAGED)


def test_a_failed_check_is_shown_and_the_task_is_over() -> None:
    """Each state in which a task has ended has a style of its own, and the next command is printed."""
    check = {"command": "make test", "passed": False, "exit_code": 2, "output": "$ make test\n2 failed"}
    call = {"tool": "read_transcript", "arguments": {"session_id": "ses_1"}}
    lines = render("run_task", REPORT | {"state": "check_failed", "check": check, "next": call}, MANAGED)
    passed = render("run_task", REPORT | {"check": check | {"passed": True}}, MANAGED)

    assert "check       failed: make test" in lines
    assert "2 failed" in lines
    assert "next        opencode-mcp call read_transcript session_id=ses_1" in lines
    assert "check       passed: make test" in passed
    assert "2 failed" not in passed
    assert STATE_STYLES.keys() == ENDED_STATES


def test_a_waiting_task_shows_what_it_waits_for_and_the_command_that_answers() -> None:
    """Unless OpenCode has stopped with the call: then nothing waits any more, and the session can be continued."""
    waiting = REPORT | {"state": "waiting_permission", "answer": "", "pending": [PERMISSION]}
    attached, managed = render("run_task", waiting), render("run_task", waiting, MANAGED)

    assert "waits for   bash: touch made\n  once, always, reject\n  always allows touch *\n" in attached
    assert attached.endswith("opencode-mcp call answer_permission request_id=per_1 session_id=ses_1 reply='…'")
    assert "answer_permission" not in managed
    assert managed.endswith("next        opencode-mcp call run_task session_id=ses_1 prompt='…'")


def test_a_question_is_shown_with_its_options() -> None:
    text = render("run_task", REPORT | {"state": "waiting_question", "activity": "asking", "pending": [QUESTION]})

    assert "now         asking\nwaits for   Which colour?\n  labels\n  Which colour?\n    Red  warm\n    Blue\n" in text
    assert text.endswith("opencode-mcp call answer_question request_id=que_1 session_id=ses_1 answers='…'")


def test_each_of_several_reports_is_shown_and_what_failed_to_be_read() -> None:
    text = render("wait_for_tasks", {"tasks": [REPORT, REPORT | {"state": "stopped"}], "errors": {"ses_3": "no such"}})

    assert [line.split()[0] for line in text.splitlines() if "16.7 s" in line] == ["completed", "stopped"]
    assert text.endswith("ses_3       no such")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("collect_changes", {"session_id": "ses_1", "apply": True}),
        ("run_task", {"session_id": "ses_1", "prompt": 'it\'s\n$HOME "x" `y` ; z'}),
        ("run_task", {"session_id": "ses_1", "prompt": "@file", "files": ["a b", "c"]}),
        ("run_task", {"session_id": "ses_1", "prompt": "12", "timeout_seconds": 12}),
    ],
)
def test_a_printed_command_is_parsed_as_the_call_that_it_stands_for(
    catalog: Catalog, tool: str, arguments: Mapping[str, Any]
) -> None:
    """A shell splits it into the same arguments, with the flags of the settings."""
    typed = ["--url", "http://127.0.0.1:9", "--read-only", "--allow-directory", "/a b", "--allow-directory", "/c"]
    options = argparse.Namespace()
    command_parser("call", call).parse_all(["run_task", *typed], options)
    flags = settings_flags(vars(options))
    command = Shell(("opencode-mcp", "call", *flags), opencode_stays=True, width=80).command(tool, arguments)
    program, name, *words = shlex.split(command)
    parsed = argparse.Namespace()
    command_parser("call", call).parse_all(words, parsed)

    assert (program, name, parsed.tool) == ("opencode-mcp", "call", tool)
    assert sorted(flags) == sorted(typed)
    assert settings_flags(vars(parsed)) == flags
    assert call.parse_arguments(full_schema(catalog, tool), parsed.pairs, None) == arguments


def test_the_flags_of_a_command_hold_no_password() -> None:
    options = {"url": "http://user:hidden@127.0.0.1:9", "token": "hidden", "redis": "redis://:hidden@x"}

    assert settings_flags(options) == ["--url", "http://127.0.0.1:9"]


@pytest.mark.parametrize(
    ("tool", "facts"),
    [
        pytest.param("run_task", REPORT | {"answer": HIDDEN, "error": HIDDEN, "note": HIDDEN}, id="report"),
        pytest.param("run_task", REPORT | {"session_id": HIDDEN, "directory": HIDDEN, "model": HIDDEN}, id="names"),
        pytest.param("run_task", REPORT | {"next": {"tool": HIDDEN, "arguments": {HIDDEN: HIDDEN}}}, id="next"),
        pytest.param("run_task", REPORT | {"changes": {"paths": [HIDDEN], "unknown": HIDDEN}}, id="changes"),
        pytest.param("run_task", REPORT | {"activity": HIDDEN, "failed_calls": [HIDDEN]}, id="lists"),
        pytest.param("run_task", REPORT | {"pending": [HIDDEN_REQUEST]}, id="request"),
        pytest.param("run_task", REPORT | {"check": {"command": HIDDEN, "output": HIDDEN}}, id="check"),
        pytest.param("wait_for_tasks", {"tasks": [REPORT], "errors": {HIDDEN: HIDDEN}}, id="errors"),
        pytest.param("collect_changes", {"patch": HIDDEN, "applied_to": HIDDEN, "note": HIDDEN}, id="patch"),
        pytest.param(
            "collect_changes",
            {"files": [{"path": HIDDEN, "status": HIDDEN, "additions": 1, "deletions": 0}]},
            id="files",
        ),
        pytest.param(
            "collect_changes",
            {
                "answers": [dict.fromkeys(("session_id", "state", "error", "unknown"), HIDDEN)],
                "differing_files": [HIDDEN],
                "next": {"tool": HIDDEN, "arguments": {HIDDEN: HIDDEN}},
            },
            id="answers",
        ),
        pytest.param("read_transcript", {"session_id": HIDDEN, "text": HIDDEN, "earlier": HIDDEN}, id="transcript"),
        pytest.param("find_files", {"result": [HIDDEN, HIDDEN]}, id="lines"),
        pytest.param("session_list", {"result": [{HIDDEN: HIDDEN}]}, id="table"),
        pytest.param("session_list", {"result": [{HIDDEN: {HIDDEN: HIDDEN}}]}, id="nested"),
        pytest.param("find_text", {"result": HIDDEN, "_note": HIDDEN, "_redacted": {HIDDEN: HIDDEN}}, id="text"),
        pytest.param("file_read", {"type": "text", "content": HIDDEN}, id="file"),
    ],
)
def test_no_result_can_move_the_cursor_or_hide_characters(tool: str, facts: Mapping[str, Any]) -> None:
    text = render(tool, facts)

    assert "gone" in text
    assert [character for character in text if not character.isprintable() and character != "\n"] == []


def test_a_list_of_objects_is_a_table_that_fits_the_terminal() -> None:
    """Its columns begin with those that identify an item; wide characters count as two columns."""
    items = [
        {"slug": "x", "time": {"created": 1}, "title": "日本語の題", "id": "ses_1", "directory": "/" + "d" * 90},
        {"slug": "y", "time": {"created": 2}, "title": "short", "id": "ses_2", "directory": "/d"},
    ]
    narrow = Shell(("opencode-mcp",), opencode_stays=True, width=30)

    assert render("session_list", {"result": items}, narrow) == (
        "id     title       slug\n"
        "ses_1  日本語の題  x\n"
        "ses_2  short       y\n"
        "--json shows every field"
    )  # fmt: skip
    assert "directory" in render("session_list", {"result": items}, Shell((), opencode_stays=True, width=200))


def test_the_text_of_a_found_line_is_shown_in_its_row() -> None:
    """OpenCode gives the path and the line as objects with one field."""
    found = {"path": {"text": "a.py"}, "lines": {"text": "# TODO\n"}, "line_number": 1, "submatches": [{"start": 2}]}

    assert render("find_text", {"result": [found]}) == (
        "path  lines   line_number\na.py  # TODO  1\n--json shows every field"
    )


@pytest.mark.parametrize("width", [1, 10, 40, 500])
def test_every_width_shows_the_whole_answer(width: int) -> None:
    """A terminal wraps lines itself, so that what is copied has no line breaks of this program."""
    shell = Shell((), opencode_stays=True, width=width)

    assert "word " * 100 in render("run_task", REPORT | {"answer": "word " * 100 + "end"}, shell)
    assert "ses_1" in render("session_list", {"result": [{"id": "ses_1"}]}, shell).replace("\n", "")


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"result": "plain\r\ntext\n"}, "plain\ntext\n"),
        ({"result": ["a", "b"]}, "a\nb"),
        ({"result": []}, "none"),
        ({"result": "text", "_note": "OpenCode was restarted"}, "text\nnote        OpenCode was restarted"),
        ({"result": True}, ""),
        ({"result": [1, {"a": 2}]}, ""),
        ({"id": "ses_1", "title": "an object stays JSON"}, ""),
    ],
)
def test_a_response_is_text_lines_or_json(facts: Mapping[str, Any], text: str) -> None:
    assert render("find_files", facts) == text


def test_a_text_of_ten_megabytes_is_printed_within_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    text = ("x" * 99 + "\n") * 100_000
    started = time.process_time()
    print_lines(format_result("find_files", {"result": text}, ATTACHED) or [])

    assert time.process_time() - started < 30
    assert capsys.readouterr().out == text + "\n"


def test_what_the_encoding_of_stdout_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    print_lines(format_result("find_files", {"result": "né"}, ATTACHED) or [])

    assert raw.getvalue() == b"n\\xe9\n"
