"""Results: within the limit, sent once, and every part can be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import Client

from opencode_mcp.catalog.minimal_lists import MinimalForm
from opencode_mcp.opencode import Answer
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.managed import managed_server
from opencode_mcp.redaction import MARKER, Position, Redactor, count_replaced
from opencode_mcp.settings import Settings
from opencode_mcp.tools.results import Limit, add_note, facts_of, operation_result
from opencode_mcp.tools.truncate import LINE_CHARS, NO_REDACTION, dump, dump_line, part_at, take_page, truncate
from tests.conftest import Connect
from tests.facts import facts

pytestmark = pytest.mark.anyio

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=8), inner, max_size=30),
    max_leaves=200,
)


def result_text(answer: types.CallToolResult) -> str:
    """Return the text of a result with a single text."""
    (content,) = answer.content
    assert isinstance(content, types.TextContent)
    return content.text


@settings(max_examples=40, deadline=None)
@given(value=st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=20), limit=st.integers(1_000, 5_000))
def test_a_truncated_answer_is_valid_and_within_the_limit(value: dict[str, Any], limit: int) -> None:
    """A value of any shape is cut to the limit; one within it is unchanged."""
    shown, whole = truncate(value, limit, "how"), NO_REDACTION.redact(value)

    if len(dump(whole)) <= limit:
        assert shown == whole
    else:
        assert shown["_omitted"]["of_chars"] == len(dump_line(value))
        assert len(dump(shown)) <= limit + 4_000


@given(value=JSON_VALUES)
def test_json_is_compact_and_only_a_single_text_makes_a_line_long(value: Any) -> None:
    """A short value is one line; a client can page a long one by lines, none of which ends within a text."""
    text = dump(value)

    assert json.loads(text) == value
    assert text.replace(",\n", ",") == dump_line(value)
    assert all(len(line) <= LINE_CHARS + 320 for line in text.split("\n"))


def test_a_long_list_has_a_line_for_each_item() -> None:
    """Sessions, messages, matches: each on its own line, however deep the list is."""
    items = [{"id": number, "title": "x" * 50} for number in range(100)]

    assert dump(items).split("\n") == [
        f"{'[' if number == 0 else ''}{dump_line(item)}{']' if number == 99 else ','}"
        for number, item in enumerate(items)
    ]
    assert dump({"result": items}).count("\n") == 99
    assert dump({"result": items[:5]}).count("\n") == 0


def test_every_omitted_part_can_be_read_by_its_pointer() -> None:
    """The pointers in `_omitted` lead to the whole parts, page by page."""
    value = {"list": list(range(5_000)), "nested": {"a/b~c": "x" * 90_000}}
    omitted = {one["pointer"]: one for one in truncate(value, 10_000, "how")["_omitted"]["parts"]}

    assert omitted.keys() == {"/list", "/nested/a~1b~0c"}
    assert part_at(value, "/nested/a~1b~0c", "read_operation") == "x" * 90_000
    got: list[int] = []
    offset: int | None = 0
    while offset is not None:
        taken = take_page(part_at(value, "/list", "read_operation"), offset, 999)
        got += taken["result"]
        offset = taken["next_offset"]
    assert got == value["list"]


async def test_a_file_of_twelve_megabytes_is_truncated_and_can_be_read(client: Client, project: Path) -> None:
    """file_read returns the whole file; the result is cut in the middle, and pointer and offset read any part."""
    (project / "big.txt").write_text("".join(f"line {number:07}\n" for number in range(900_000)))
    answer = await client.call_tool("file_read", {"path": "big.txt"})

    shown = json.loads(result_text(answer))
    assert answer.structured_content is None
    assert len(result_text(answer)) <= 40_000
    assert shown["content"].startswith("line 0000000\n")
    assert shown["_omitted"]["of_chars"] > 11_000_000
    (part,) = [one for one in shown["_omitted"]["parts"] if one["pointer"] == "/content"]
    read = {"operation": "file_read", "arguments": {"path": "big.txt"}, "pointer": "/content"}
    page = await client.call_tool("read_operation", {**read, "offset": 13 * 500_000, "limit": 13})
    assert facts(page)["result"] == "line 0500000\n"
    assert facts(page)["total"] == part["of"]


@pytest.mark.slow
async def test_six_megabytes_of_providers_are_truncated_and_can_be_read(
    connect: Connect, attached: Settings, environ: Mapping[str, str], program: Program, tmp_path: Path
) -> None:
    """provider_list of an OpenCode without enabled_providers is 6 MB; it fits, and one model of it can be read."""
    config = json.loads(environ["OPENCODE_CONFIG_CONTENT"])
    del config["enabled_providers"]
    everything = {**environ, "OPENCODE_CONFIG_CONTENT": json.dumps(config)}
    del everything["OPENCODE_MODELS_PATH"]
    async with managed_server(program.command, str(tmp_path), everything) as server:
        endpoint = await server.endpoint()
        bare = replace(attached, url=str(endpoint.url), password=endpoint.password)
        async with connect(bare) as client:
            answer = await client.call_tool("provider_list", {})
            read = {"operation": "provider_list", "pointer": "/all", "limit": 1}
            first = await client.call_tool("read_operation", read)

    assert len(result_text(answer)) <= 40_000
    assert answer.structured_content is None
    assert facts(answer)["_omitted"]["of_chars"] > 5_000_000
    assert facts(first)["total"] > 50


@pytest.mark.unchanged_project
async def test_a_smaller_limit_holds(connect: Connect, attached: Settings) -> None:
    """--max-result-chars bounds every result, those of the gateway too."""
    async with connect(replace(attached, max_result_chars=3000)) as client:
        listed = await client.call_tool("command_list", {})
        told = await client.call_tool(
            "describe_operation", {"operation": "config_update", "full": True, "response": True}
        )

    assert max(len(result_text(listed)), len(result_text(told))) <= 3_000 + 1_000
    assert "read_operation" in facts(listed)["_omitted"]["how"]


@pytest.mark.unchanged_project
async def test_a_wrong_pointer_is_an_error(client: Client) -> None:
    """The error names the first token that does not match."""
    answer = await client.call_tool("read_operation", {"operation": "path_get", "pointer": "/home/nowhere"})

    assert answer.is_error
    assert "/home/nowhere" in result_text(answer)


async def test_a_missing_file_is_an_error_and_an_empty_one_is_not(client: Client, project: Path) -> None:
    """OpenCode treats both as empty; the result distinguishes them."""
    (project / "empty.txt").touch()
    missing = await client.call_tool("file_read", {"path": "no/such.txt"})
    empty = await client.call_tool("file_read", {"path": "empty.txt"})

    assert missing.is_error
    assert "the file 'no/such.txt' does not exist" in result_text(missing)
    assert not empty.is_error


@pytest.mark.unchanged_project
async def test_aborting_an_unknown_session_is_an_error(client: Client) -> None:
    """OpenCode returns true for it."""
    answer = await client.call_tool("session_abort", {"sessionID": "ses_unknown"})

    assert answer.is_error
    assert "Session not found" in result_text(answer)


async def test_an_empty_list_of_requests_says_for_which_directory(client: Client, project: Path) -> None:
    """permission_list of the wrong directory is empty while a request waits in another."""
    answer = await client.call_tool("permission_list", {})

    assert facts(answer)["result"] == []
    assert str(project) in facts(answer)["note"]


@pytest.mark.unchanged_project
async def test_a_failed_model_reply_is_an_error(client: Client) -> None:
    """A prompt whose model fails is HTTP 200 with info.error; the result is marked as failed and keeps the facts."""
    session = facts(await client.call_tool("session_create", {}))
    prompt = {"sessionID": session["id"], "parts": [{"type": "text", "text": "script:error 400"}]}
    answer = await client.call_tool("session_prompt", prompt)

    assert answer.is_error
    assert facts(answer)["info"]["error"]["data"]["statusCode"] == 400


def test_a_note_keeps_a_note_of_the_response_that_is_no_text() -> None:
    content: Any = {"note": {"a": 1}}
    result = types.CallToolResult(
        content=[types.TextContent(type="text", text=dump(content))], structured_content=content
    )

    assert facts(add_note(result, "reinstalled")) == {"note": {"a": 1}, "_note": "reinstalled"}


SECRET = 'a1B2"c3D4é5e6F7'
FORMS = [SECRET, f"x{SECRET}y", json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False), f'{{"a": {SECRET!r}}}']
TEXTS = st.text(max_size=60) | st.sampled_from(
    [*FORMS, "hidden \u202e", "\0", "\b", "\x1b[0m", "\x7f", "\\n \r\n\t", "plain text" * 30]
)
KEYS = TEXTS | st.text(max_size=4) | st.just("id")


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose keys stay apart when secrets are replaced: those that become one count as one only afterwards."""
    redactor = Redactor([SECRET])
    fields = st.lists(st.tuples(KEYS, inner), max_size=10, unique_by=lambda field: redactor.redact_text(field[0]))
    return fields.map(dict)


CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=20) | objects(inner),
    max_leaves=30,
)


@settings(max_examples=25, deadline=None)
@given(value=st.lists(CONTENT, max_size=30), limit=st.integers(400, 3_000))
def test_redacting_what_is_shown_equals_redacting_everything(value: list[Any], limit: int) -> None:
    """Neither the quick test for what stays nor what attempts share changes a result."""
    redactor = Redactor([SECRET])
    shown = truncate({"result": value}, limit, "how", redactor)

    in_messages = truncate({"result": value}, limit, "how", redactor, Position.MESSAGES)  # has no quick test
    redacted_first = truncate(redactor.redact({"result": value}), limit, "how")

    assert shown == in_messages
    assert without_size(shown) == without_size(redacted_first)
    assert count_replaced(shown) == count_replaced(redacted_first)


def without_size(shown: dict[str, Any]) -> dict[str, Any]:
    """Return a result without the size of the whole value, which is of the redacted or of the original one."""
    omitted = {key: part for key, part in shown.get("_omitted", {}).items() if key != "of_chars"}
    return {**shown, "_omitted": omitted}


@given(value=CONTENT)
def test_the_quick_test_finds_every_secret(value: Any) -> None:
    """What it calls unchanged is unchanged."""
    redactor = Redactor([SECRET])

    assert redactor.redact(value) == value or not redactor.changes_nothing(value, Position.CONTENT)


@pytest.mark.parametrize("text", FORMS)
def test_the_quick_test_finds_a_secret_in_every_form(text: str) -> None:
    """As it is, and as in JSON; in a text, and in a key."""
    redactor = Redactor([SECRET])

    assert not redactor.changes_nothing([{"text": f"a line\n{text}"}], Position.CONTENT)
    assert not redactor.changes_nothing([{text: "a line"}], Position.CONTENT)


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "naïve 你好", "\ttab\r\n", "C:\\path"])
def test_the_quick_test_knows_ordinary_texts(text: str) -> None:
    """They need not be read one by one."""
    assert Redactor([SECRET]).changes_nothing([{"text": text, text: 1}], Position.CONTENT)


class RecordingRedactor(Redactor):
    """Keeps what it has looked at, and the size of the JSON in which it has looked for secrets."""

    def __init__(self, show_secrets: bool = False) -> None:
        super().__init__([SECRET], show_secrets)
        self.seen: list[Any] = []
        self.tested_chars = 0

    def changes_nothing(self, value: Any, position: Position) -> bool:
        """Record an entry of a list."""
        self.seen.append(value)
        self.tested_chars += len(json.dumps(value))
        return super().changes_nothing(value, position)

    def redact_text(self, text: str, position: Position = Position.CONTENT) -> str:
        """Record a text."""
        self.seen.append(text)
        return super().redact_text(text, position)


@pytest.mark.parametrize("form", [None, "sessions"])
@pytest.mark.parametrize("title", ["Fix the login", f"Fix {SECRET}"])
def test_only_what_can_be_shown_of_a_long_list_is_redacted(form: MinimalForm | None, title: str) -> None:
    """What redaction looks at does not grow with the list, and each entry is looked at once."""
    looked_at: list[int] = []
    for count in (1_000, 4_000):
        redactor = RecordingRedactor()
        sessions = [
            {"id": f"ses_{number}", "title": title, "directory": "/project", "time": {"updated": number}}
            for number in range(count)
        ]
        result = operation_result(Answer(sessions), Limit(40_000, "how"), redactor, form=form)
        looked_at.append(len(redactor.seen))

        kept = facts_of(result)
        assert kept is not None
        assert 50 < len(kept["result"]) < count
        assert SECRET not in result_text(result)
        assert all(session["title"] == title.replace(SECRET, MARKER) for session in kept["result"])
    assert looked_at[0] == looked_at[1] < 10_000


@pytest.mark.parametrize("text", ["plain text ", "two\nlines ", f"a {SECRET} "])
@pytest.mark.parametrize("depth", [0, 1, 5])
@pytest.mark.parametrize("show_secrets", [False, True])
def test_the_quick_test_reads_nothing_twice(text: str, depth: int, show_secrets: bool) -> None:
    """However deep the lists are, and however often a value is shortened."""
    items: list[Any] = [{"parts": [{"text": text * 20, "size": size} for size in range(10)]} for _ in range(30)]
    for _ in range(depth):
        items = [items]
    redactor = RecordingRedactor(show_secrets)
    truncate({"result": items}, 4_000, "how", redactor)

    assert redactor.tested_chars <= len(json.dumps(items))


@pytest.mark.parametrize(
    "item",
    [{str(number): "two\nlines" for number in range(10_000)}, ["two\nlines"] * 10_000, [["x" * 200_000]]],
    ids=["fields", "items", "text"],
)
def test_the_quick_test_reads_no_item_that_is_too_large_to_be_shown(item: Any) -> None:
    """Its time depends on the limit and not on the size of the value."""
    redactor = RecordingRedactor()
    assert "_omitted" in truncate({"result": [item, "x"]}, 4_000, "how", redactor)
    assert redactor.tested_chars <= 8_000
