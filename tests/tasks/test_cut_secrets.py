"""Texts that are cut before they are redacted: no part of a secret is left at either side of a cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opencode_mcp.exceptions import UnexpectedResponse
from opencode_mcp.opencode.models import VALUE_CHARS, Message, Part, parse_model
from opencode_mcp.opencode.responses import SHOWN_CHARS as ERROR_CHARS
from opencode_mcp.opencode.responses import describe_error
from opencode_mcp.redaction import MARKER, NO_REDACTION, KnownSecrets, Redactor, beginning_of, end_of, to_one_line
from opencode_mcp.tasks.report import SO_FAR_CHARS
from opencode_mcp.tasks.task_tools import ReportTask, report_task
from opencode_mcp.tasks.transcript import PART_CHARS, format_message
from opencode_mcp.tools.results import Limit, report_result
from tests.facts import facts

from .test_race_conditions import DONE, FakeOpenCode, make_context

SECRET = "q7Zp-2xVd_9TkLm4Rw8s"
REDACTOR = Redactor([SECRET])
PAGE_CHARS = 40
LIMIT = Limit(40_000, "request less")


def has_part_of_secret(text: str) -> bool:
    """Whether four characters in a row are the secret's."""
    return any(SECRET[start : start + 4] in text for start in range(len(SECRET) - 3))


async def read_answer_page(answer: str, offset: int, redactor: Redactor = REDACTOR) -> dict[str, Any]:
    """Return the report of a task with this answer, as report_task returns it from an offset on."""
    opencode = FakeOpenCode(messages=[{**DONE, "parts": [{"type": "text", "text": answer}]}])
    context = replace(make_context(opencode), answer_chars=PAGE_CHARS, redactor=redactor)
    report = await report_task(context, ReportTask(session_id="ses_1", answer_offset=offset))
    return facts(report_result(report, redactor, LIMIT))


@pytest.mark.anyio
@pytest.mark.parametrize("before", [*range(PAGE_CHARS - len(SECRET) - 1, PAGE_CHARS + 2)])
async def test_the_pages_of_an_answer_have_its_secret_whole_or_not_at_all(before: int) -> None:
    """Read by the calls that the reports name, they are the whole answer, and each says what it replaced."""
    answer = f"{'x' * before}{SECRET}{'y' * 60}"
    pages = [await read_answer_page(answer, 0)]
    while (call := pages[-1].get("next")) is not None:
        assert call["tool"] == "report_task"
        pages.append(await read_answer_page(answer, call["arguments"]["answer_offset"]))

    assert "".join(page["answer"] for page in pages) == answer.replace(SECRET, MARKER)
    assert ["_redacted" in page for page in pages] == [MARKER in page["answer"] for page in pages]


@pytest.mark.anyio
@pytest.mark.parametrize("offset", range(len(SECRET) + 2))
async def test_an_offset_inside_a_secret_is_that_of_its_end(offset: int) -> None:
    """Clients choose it freely; an offset behind the answer's end is no error."""
    page = await read_answer_page(f"x{SECRET}y{SECRET}", offset)

    assert not has_part_of_secret(page["answer"])
    assert (await read_answer_page("short", 1_000))["answer"] == ""


def test_a_cut_avoids_secrets_that_overlap() -> None:
    """The end of one may lie inside another; secrets that are shown need no care."""
    redactor = Redactor(["ab-cdefgh12", "gh12-ijkl34"])
    text = "-ab-cdefgh12-ijkl34-"

    assert [redactor.cut_position(text, index) for index in (1, 2, 12, 19)] == [1, 19, 19, 19]
    assert NO_REDACTION.cut_position(text, 5) == 5


@pytest.mark.parametrize("cut", range(295, 306))
def test_an_excerpt_is_cut_between_words(cut: int) -> None:
    """At its end, at its beginning, and on one line."""
    end = f"{'y' * 600} {SECRET} {'x' * (SO_FAR_CHARS - cut + 289)}"
    begun = f"{'x' * (cut - 12)} {SECRET} {'y' * 600}"

    for shown in (to_one_line(begun), beginning_of(begun, 300), end_of(end, SO_FAR_CHARS)):
        assert shown is not None
        assert SECRET in shown or not has_part_of_secret(shown)


@pytest.mark.parametrize("left", range(-2, len(SECRET) + 2))
def test_a_transcript_is_cut_between_words(left: int) -> None:
    """A long text, the subject of a tool call, and its error."""
    line = f"{'x' * (199 - left)} {SECRET}"
    state = {"status": "error", "input": {"command": line}, "error": line}
    parts = [
        {"type": "text", "text": f"{'x' * (PART_CHARS - 1 - left)} {SECRET} {'y' * 300}"},
        {"type": "tool", "tool": "bash", "state": state},
    ]
    text = format_message(parse_model("a test", Message, {**DONE, "parts": parts}))

    assert not has_part_of_secret(text.replace(SECRET, MARKER))


@pytest.mark.parametrize("left", range(-2, len(SECRET) + 2))
def test_an_error_of_opencode_is_cut_between_words(left: int) -> None:
    """Its message, and the value of a response that is not as documented."""
    message = describe_error("UnknownError", {"message": f"{'x' * (ERROR_CHARS - 1 - left)} {SECRET} y"}).message
    with pytest.raises(UnexpectedResponse) as caught:
        parse_model("a test", Part, [f"{'x' * (VALUE_CHARS - 3 - left)} {SECRET} y"])

    for shown in (message, str(caught.value)):
        assert not has_part_of_secret(shown.replace(SECRET, MARKER))


def test_the_lines_of_a_private_key_are_secrets() -> None:
    """A diff, an indented quote or a line of a report does not have the key as it is."""
    lines = ["Xk9vQ2mZr8LwTb4PhJ6d", "Gy3nRs7VcKq5WfDz1uMx"]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    redactor = Redactor(KnownSecrets((), {"DEPLOY_PRIVATE_KEY": key}))

    assert redactor.redact_text(f"+{lines[0]}\n+{lines[1]}") == f"+{MARKER}\n+{MARKER}"
    assert not any(line in redactor.redact_text(to_one_line(key)) for line in lines)
    assert redactor.redact_text(key) == MARKER


@pytest.mark.parametrize("script", ["修复登录页面的错误并运行测试", "แก้ไขข้อผิดพลาดในหน้าเข้าสู่ระบบ"])
def test_a_text_of_a_script_without_spaces_is_cut_between_letters(script: str) -> None:
    """Beside one a secret is still not cut."""
    text = f"{script * 9}{SECRET}{script * 9}"
    for limit in range(40, 60):
        for cut in (beginning_of(text, limit), end_of(text, limit), to_one_line(text, limit)):
            assert cut is not None
            assert len(cut) > limit / 2
    for limit in range(len(script) * 9, len(script) * 9 + len(SECRET) + 1):
        for cut in (beginning_of(text, limit), end_of(text, limit) or "", to_one_line(text, limit)):
            assert SECRET in cut or not has_part_of_secret(cut)
