"""Slips in arguments: one meaning is taken, two are refused, and none leads past a check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.openapi.example import make_example
from opencode_mcp.opencode.known_extras import KNOWN_EXTRAS
from opencode_mcp.opencode.prepare import split_arguments, validate
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tasks.arguments import validate_arguments
from opencode_mcp.tools.gateway import GATEWAY_TOOLS

pytestmark = pytest.mark.anyio

TEXT_PART = {"type": "text", "text": "hi"}


def accept(catalog: Catalog, name: str, arguments: dict[str, Any]) -> Any:
    """Return the arguments of a tool call as the tool takes them."""
    if name in catalog:
        return validate(catalog[name], arguments, lenient=True)
    tool = {**TASK_TOOLS, **GATEWAY_TOOLS}[name]
    return validate_arguments(name, tool.arguments, arguments, lenient=True).model_dump(exclude_unset=True)


@pytest.mark.parametrize(
    ("name", "given_arguments", "taken"),
    [
        # numbers, booleans, lists and objects as text
        ("session_list", {"limit": "5"}, {"limit": 5}),
        ("session_list", {"start": "1.5"}, {"start": 1.5}),
        ("run_task", {"prompt": "x", "worktree": "True"}, {"prompt": "x", "worktree": True}),
        ("run_task", {"prompt": "x", "files": '["a.py"]'}, {"prompt": "x", "files": ["a.py"]}),
        ("v2_location_get", {"location": '{"directory": "/p"}'}, {"location": {"directory": "/p"}}),
        ("read_operation", {"operation": "path_get", "arguments": "{}"}, {"operation": "path_get", "arguments": {}}),
        # one item for a list of one; a shell command is one, whatever it consists of
        ("run_task", {"prompt": "x", "check": "npm test"}, {"prompt": "x", "check": ["npm test"]}),
        ("run_task", {"prompt": "x", "check": "[ -f a ]; ls"}, {"prompt": "x", "check": ["[ -f a ]; ls"]}),
        ("run_task", {"prompt": "x", "setup": '["a b", "c"]'}, {"prompt": "x", "setup": ["a b", "c"]}),
        ("run_tasks", {"tasks": [{"prompt": "x", "check": "a, b"}]}, {"tasks": [{"prompt": "x", "check": ["a, b"]}]}),
        ("wait_for_tasks", {"session_ids": "ses_1"}, {"session_ids": ["ses_1"]}),
        ("wait_for_tasks", {"session_id": "ses_1"}, {"session_ids": ["ses_1"]}),
        (
            "answer_question",
            {"request_id": "que_1", "answers": "Yes, all"},
            {"request_id": "que_1", "answers": [["Yes, all"]]},
        ),
        (
            "answer_question",
            {"request_id": "que_1", "answers": ["A", "B"]},
            {"request_id": "que_1", "answers": [["A"], ["B"]]},
        ),
        ("session_prompt", {"sessionID": "ses_1", "parts": "hi"}, {"sessionID": "ses_1", "parts": [TEXT_PART]}),
        ("session_prompt", {"sessionID": "ses_1", "parts": TEXT_PART}, {"sessionID": "ses_1", "parts": [TEXT_PART]}),
        ("run_tasks", {"tasks": ["x", "y"]}, {"tasks": [{"prompt": "x"}, {"prompt": "y"}]}),
        # what is not given
        ("run_task", {"prompt": "x", "agent": "", "session_id": "", "worktree": None}, {"prompt": "x"}),
        ("path_get", {"directory": "", "workspace": ""}, {}),
        # names
        ("session_get", {"session_id": "ses_1"}, {"sessionID": "ses_1"}),
        ("session_get", {"sessionId": "ses_1", "sessionID": "ses_1"}, {"sessionID": "ses_1"}),
        (
            "session_message",
            {"session-id": "ses_1", "message_id": "msg_1"},
            {"sessionID": "ses_1", "messageID": "msg_1"},
        ),
        (
            "run_tasks",
            {"tasks": [{"prompt": "x", "sessionID": "ses_1"}]},
            {"tasks": [{"prompt": "x", "session_id": "ses_1"}]},
        ),
        # models
        ("session_create", {"model": "a/b/c"}, {"model": {"providerID": "a", "id": "b/c"}}),
        ("session_create", {"model": {"providerID": "a", "modelID": "b"}}, {"model": {"providerID": "a", "id": "b"}}),
        ("run_task", {"prompt": "x", "model": {"providerID": "a", "modelID": "b"}}, {"prompt": "x", "model": "a/b"}),
        ("run_task", {"prompt": "x", "providerID": "a", "modelID": "b"}, {"prompt": "x", "model": "a/b"}),
        (
            "session_summarize",
            {"sessionID": "ses_1", "model": "a/b"},
            {"sessionID": "ses_1", "providerID": "a", "modelID": "b"},
        ),
        # bodies
        (
            "auth_set",
            {"providerID": "a", "type": "api", "key": "k"},
            {"providerID": "a", "body": {"type": "api", "key": "k"}},
        ),
        ("session_update", {"sessionID": "ses_1", "body": {"title": "t"}}, {"sessionID": "ses_1", "title": "t"}),
        ("session_get", {"arguments": {"session_id": "ses_1"}}, {"sessionID": "ses_1"}),
        (
            "read_operation",
            {"operation": "session_get", "sessionID": "ses_1"},
            {"operation": "session_get", "arguments": {"sessionID": "ses_1"}},
        ),
        # spelling of a value
        ("permission_reply", {"requestID": "per_1", "reply": "Once"}, {"requestID": "per_1", "reply": "once"}),
        # what clients add
        ("path_get", {"random_string": "x", "task_progress": "- [ ] y"}, {}),
        (
            "report_task",
            {
                "session_id": "ses_1",
                "sessionId": "5f2",
                "action": "sendMessage",
                "chatInput": "hi",
                "tool": "report_task",
                "toolCallId": "c",
            },
            {"session_id": "ses_1"},
        ),
    ],
)
def test_a_slip_with_one_meaning_is_taken(
    catalog: Catalog, name: str, given_arguments: dict[str, Any], taken: dict[str, Any]
) -> None:
    """The tool gets what was meant."""
    assert accept(catalog, name, given_arguments) == taken


@pytest.mark.parametrize(
    ("name", "given_arguments", "words"),
    [
        ("session_list", {"limit": "5e3"}, 'limit: must be a number; got "5e3"'),
        ("session_list", {"limit": " 5"}, 'limit: must be a number; got " 5"'),
        ("session_list", {"limit": "007"}, 'limit: must be a number; got "007"'),
        ("find_files", {"query": "x", "limit": "1.5"}, 'limit: must be a whole number; got "1.5"'),
        ("run_task", {"prompt": "x", "worktree": "yes"}, 'worktree: must be true or false; got "yes"'),
        ("run_task", {"prompt": "x", "worktree": 1}, "worktree: must be true or false; got 1"),
        ("run_task", {"prompt": ""}, 'prompt: must not be empty; got ""'),
        ("run_task", {"prompt": None}, "prompt: must be text; got null"),
        ("run_task", {"prompt": "x", "files": "a.py, b.py"}, 'files: must be a list; got "a.py, b.py"'),
        ("run_task", {"prompt": "x", "files": '["a.py"'}, "files: must be a list"),
        ("run_task", {"prompt": "x", "timeout": 5}, "timeout: unknown; did you mean timeout_seconds?"),
        ("run_task", {"prompt": "x", "model": "smart"}, "model: must be provider/model, such as"),
        ("run_task", {"prompt": "x", "action": "sendMessage"}, "action: unknown; known: prompt"),
        ("session_get", {"sessionID": "ses_1", "session_id": "ses_2"}, "session_id: differs from sessionID; give one"),
        ("session_get", {"session_id": "chat"}, "sessionID: must be a session's id, which starts with ses"),
        ("session_get", {"sessionID": "ses_1", "body": {"sessionID": "ses_2"}}, "body: unknown"),
        ("worktree_remove", {"directory": "/p"}, "body: missing"),
        ("answer_permission", {"request_id": "per_1", "reply": "allow"}, "reply: must be once, always or reject"),
        ("answer_question", {"request_id": "que_1"}, "give answers, or reject: true to reject the questions"),
        (
            "answer_question",
            {"request_id": "que_1", "answers": [["A"]], "reject": True},
            "give either answers or reject",
        ),
        ("answer_question", {"request_id": "que_1", "answers": None, "reject": False}, "give answers, or reject"),
        ("answer_question", {"request_id": "que_1", "answers": None, "reject": None}, "give answers, or reject"),
        ("answer_question", {"request_id": "que_1", "answers": []}, "give answers, or reject"),
        ("wait_for_tasks", {"session_ids": "ses_1 ses_2"}, "session_ids: must be a list"),
        ("run_task", {"prompt": "x", "files": "None"}, "files: must be a list"),
        ("run_task", {"prompt": "x", "check": '{"run": "a"}'}, "check: must be a list"),
        ("path_get", {"path": "x"}, "path: unknown; known: directory, workspace"),
        ("v2_location_get", {"location": '{"directory": NaN}'}, "not valid JSON: Out of range"),
        ("v2_location_get", {"location": '{"directory": "\\ud800"}'}, "not valid JSON: 'utf-8' codec"),
        ("v2_location_get", {"location": "[" * 100_000}, "location: must be an object"),
        ("v2_location_get", {"location": '{"a":' * 100_000}, "location: must be an object"),
        ("session_list", {"limit": "9" * 5_000}, "limit: must be a number"),
    ],
)
def test_anything_else_is_refused_in_words(
    catalog: Catalog, name: str, given_arguments: dict[str, Any], words: str
) -> None:
    """One line for each fault, and an example of the same tool that is valid."""
    with pytest.raises(InvalidArguments) as caught:
        accept(catalog, name, given_arguments)

    assert words in str(caught.value)
    assert len(str(caught.value)) < 2000
    if "not valid JSON" not in words:
        *_, last = str(caught.value).splitlines()
        accept(catalog, name, json.loads(last.removeprefix("Example: ")))


@pytest.mark.parametrize(
    "given_arguments", [{"path": ".", "Directory": ""}, {"body": {"path": ".", "directory": ""}}, {"path": "."}]
)
def test_an_empty_directory_is_the_default_one_however_it_is_spelt(
    catalog: Catalog, given_arguments: dict[str, Any]
) -> None:
    operation = catalog["file_list"]
    arguments = validate(operation, given_arguments, lenient=True)

    assert dict(split_arguments(operation, arguments, "/project").query) == {"path": ".", "directory": "/project"}


def test_an_empty_location_is_the_default_one(catalog: Catalog) -> None:
    parts = split_arguments(catalog["v2_location_get"], {"location": {"directory": ""}}, "/project")

    assert ("location[directory]", "/project") in parts.query


def test_a_boolean_that_may_be_text_has_one_meaning(catalog: Catalog) -> None:
    """The document takes `true` and "true" for it, which mean the same."""
    assert str(validate(catalog["session_list"], {"roots": "True"}, lenient=True)["roots"]).lower() == "true"


def test_valid_arguments_are_returned_as_they_are(catalog: Catalog) -> None:
    """Of every operation, required ones alone and all of them: nothing is copied."""
    for name, operation in catalog.items():
        for optional in ((), tuple(operation.input_schema["properties"])):
            arguments = make_example(operation.input_schema, optional)
            assert validate(operation, arguments, lenient=True) is arguments, name


def test_text_that_looks_like_something_else_stays_text(catalog: Catalog) -> None:
    """Where text is wanted, JSON, numbers and nothing are text."""
    for text in ('{"a": 1}', "[1]", "5", "true", "null", ""):
        assert accept(catalog, "find_text", {"pattern": text}) == {"pattern": text}
    command = {"sessionID": "ses_1", "command": "init", "arguments": ""}
    assert accept(catalog, "session_command", command) == command
    assert accept(catalog, "run_task", {"prompt": '{"prompt": "y"}'}) == {"prompt": '{"prompt": "y"}'}


def test_python_callers_are_not_corrected(catalog: Catalog) -> None:
    """The library refuses what a tool call may have."""
    with pytest.raises(InvalidArguments, match="session_id: unknown; did you mean sessionID"):
        validate(catalog["session_get"], {"session_id": "ses_1"})
    with pytest.raises(InvalidArguments, match="files: must be a list"):
        validate_arguments("run_task", TASK_TOOLS["run_task"].arguments, {"prompt": "x", "files": "a.py"})


def test_what_is_taken_is_valid_and_taken_again_as_it_is(catalog: Catalog) -> None:
    """Whatever comes: coercion ends in arguments that fit the schema, or in a refusal."""
    scalars = (
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["5", "true", "a/b", "[1]"])
    )
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    )
    operations = st.sampled_from(sorted(catalog))

    @given(operations, st.data())
    def check(name: str, data: st.DataObject) -> None:
        operation = catalog[name]
        properties = [*operation.input_schema["properties"], "session_id", "body", "arguments", "model", "toolCallId"]
        arguments = data.draw(st.dictionaries(st.sampled_from(properties), values, max_size=5))
        try:
            taken = validate(operation, arguments, lenient=True)
        except InvalidArguments:
            return
        assert operation.validator.is_valid(dict(taken))
        assert validate(operation, taken, lenient=True) is taken

    check()


def test_the_page_about_results_has_the_words_of_a_refusal_and_every_known_extra(catalog: Catalog) -> None:
    """docs/results.md shows a refusal as it is, and what clients add."""
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    with pytest.raises(InvalidArguments) as caught:
        accept(catalog, "run_task", {"prompt": "x", "timeout": 5, "model": "smart"})
    assert {*str(caught.value).splitlines()} <= {*page.splitlines()}

    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for extra in KNOWN_EXTRAS.values():
        assert any(f"`{extra.argument}`" in row and row.endswith(f"| {extra.client} |") for row in rows), extra
