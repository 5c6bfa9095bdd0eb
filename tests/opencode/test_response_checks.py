"""Failures that OpenCode does not explain: the right cause is found, and what can be had is returned."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.exceptions import APIError
from opencode_mcp.opencode import Answer, OpenCodeClient
from opencode_mcp.tools.results import Limit, operation_result
from opencode_mcp.tools.truncate import NO_REDACTION
from tests.eventually import eventually
from tests.execute import prepare_and_execute
from tests.facts import facts

from .conftest import Wire

pytestmark = pytest.mark.anyio

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj<<>>endobj\n%%EOF"
OPAQUE = {"name": "UnknownError", "data": {"message": "Unexpected server error.", "ref": "err_1"}}


async def call_texts(client: Client, name: str, **arguments: Any) -> tuple[bool, str]:
    """Call a tool; return whether it failed, and its text."""
    answer = await client.call_tool(name, arguments)
    texts = [content.text for content in answer.content if isinstance(content, types.TextContent)]
    return bool(answer.is_error), "\n".join(texts)


async def test_a_search_skips_a_line_that_is_not_utf8(client: Client, project: Path) -> None:
    """OpenCode answers an opaque 500; one such file would make the whole project unsearchable."""
    (project / "latin.txt").write_bytes(b"caf\xe9 hello\n")

    failed, said = await call_texts(client, "find_text", pattern="hel+o")
    answer = json.loads(said)

    assert not failed
    assert [(match["path"]["text"], match["lines"]["text"]) for match in answer["result"]] == [
        ("README.md", "hello from the project\n")
    ]
    assert answer["result"][0]["submatches"] == []
    assert answer["note"].startswith("Incomplete: matching lines that are not UTF-8 are omitted")


@pytest.mark.unchanged_project
async def test_a_search_with_an_invalid_pattern_says_so(client: Client) -> None:
    """The same opaque 500, another cause."""
    failed, said = await call_texts(client, "find_text", pattern="[")

    assert failed
    assert said.endswith("The regular expression does not compile (Rust syntax): correct or escape `pattern`.")


@pytest.mark.parametrize(
    ("works", "words"),
    [
        (r"nothing", "ripgrep (rg) is missing"),
        (r"[^\s\S]", "does not compile"),
        (r"[^\s\S] (?:x)[^\s\S]", "not UTF-8, which OpenCode cannot return"),
    ],
)
async def test_a_failed_search_has_the_cause_that_further_searches_show(
    opencode: OpenCodeClient, wire: Wire, works: str, words: str
) -> None:
    """What still works distinguishes the causes."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        found = request.url.params["pattern"] in works.split(" ")
        return httpx2.Response(200, json=[]) if found else httpx2.Response(500, json=OPAQUE)

    wire.answer = answer
    with pytest.raises(APIError) as caught:
        await prepare_and_execute(opencode, opencode.catalog["find_text"], {"pattern": "x", "directory": "/elsewhere"})

    assert words in str(caught.value)
    assert {request.url.params["directory"] for request in wire.requests} == {"/elsewhere"}


@pytest.mark.unchanged_project
@pytest.mark.parametrize(("name", "arguments"), [("find_symbols", {"query": "main"}), ("file_status", {})])
async def test_a_list_that_is_always_empty_has_a_note(client: Client, name: str, arguments: dict[str, Any]) -> None:
    """1.18.33 has no code behind these routes: [] reads as a result and is none."""
    _, said = await call_texts(client, name, **arguments)

    assert json.loads(said)["result"] == []
    assert "always returns [] here" in json.loads(said)["note"]


async def test_an_image_that_is_read_as_a_file_is_an_image(client: Client, project: Path) -> None:
    """By its bytes: a wrong or unusual media type can end a client's conversation."""
    for name in ("dot.png", "dot.ico", "dot"):
        (project / name).write_bytes(PNG)
        answer = await client.call_tool("file_read", {"path": name})
        [image, _] = answer.content
        assert isinstance(image, types.ImageContent), name
        assert (image.mime_type, base64.b64decode(image.data)) == ("image/png", PNG)
        assert facts(answer) == {"media_type": "image/png", "bytes": len(PNG)}


@pytest.mark.parametrize("content", [PDF, PDF + b"\0"], ids=["without a NUL", "with a NUL"])
async def test_a_pdf_names_what_reads_it(client: Client, project: Path, content: bytes) -> None:
    """OpenCode takes one for a wrong text, and answers 500, and the other for a binary file."""
    (project / "paper.pdf").write_bytes(content)

    failed, said = await call_texts(client, "file_read", path="paper.pdf")

    assert not failed
    assert json.loads(said) == {
        "type": "binary",
        "mimeType": "application/pdf",
        "bytes": len(content),
        "note": "Not text. To let a model read this PDF, pass it to run_task in `files`; v2_fs_read returns its bytes.",
    }
    assert (
        base64.b64decode(json.loads((await call_texts(client, "v2_fs_read", path="paper.pdf"))[1])["base64"]) == content
    )


async def test_a_text_in_another_encoding_and_a_path_outside_are_distinguished(client: Client, project: Path) -> None:
    """The same opaque 500."""
    (project / "latin.txt").write_bytes(b"caf\xe9")

    for path in ("latin.txt", str(project / "latin.txt")):
        failed, said = await call_texts(client, "file_read", path=path)
        assert failed
        assert said.endswith("The file is not UTF-8 text. v2_fs_read returns its bytes as base64."), said
    failed, said = await call_texts(client, "file_read", path="/etc/hostname")
    assert failed
    assert said.endswith("The path is outside the project, or a directory."), said


@pytest.mark.parametrize(
    "value",
    [
        {"type": "binary", "content": "no base64!", "encoding": "base64"},
        {"type": "binary", "content": 5, "encoding": "base64"},
        {"type": "binary", "encoding": "base64"},
        {"type": "text", "content": "binary"},
    ],
)
def test_what_only_looks_like_a_file_is_returned_as_it_is(value: dict[str, Any]) -> None:
    """Nothing is lost of an answer that is not a file."""
    assert operation_result(Answer(value), Limit(40_000, "not"), NO_REDACTION).structured_content == value


def test_a_binary_file_is_not_returned_as_an_image() -> None:
    """A model that gets a broken image refuses the whole conversation."""
    value = {"type": "binary", "content": "AAAA", "encoding": "base64", "mimeType": "image/png"}

    shown = operation_result(Answer(value), Limit(40_000, "not"), NO_REDACTION)

    assert [type(content) for content in shown.content] == [types.TextContent]
    assert facts(shown)["bytes"] == 3


@asynccontextmanager
async def create_terminal(client: Client, prefix: str, **arguments: Any) -> AsyncGenerator[str]:
    """Provide a terminal's id."""
    created = facts(await client.call_tool(f"{prefix}pty_create", arguments))
    yield created.get("data", created)["id"]


@pytest.mark.unchanged_project
@pytest.mark.parametrize("prefix", ["", "v2_"])
async def test_an_unknown_terminal_is_named(client: Client, prefix: str) -> None:
    """Unknown, and removed: at once, and by its id."""
    async with create_terminal(client, prefix) as removed:
        await client.call_tool(f"{prefix}pty_remove", {"ptyID": removed})
    for unknown in (removed, "pty_unknown"):
        failed, said = await call_texts(client, f"{prefix}pty_connect", ptyID=unknown)
        assert failed
        assert f"PtyNotFoundError: PTY session not found: {unknown}\nThe terminal has exited, was removed" in said
        assert f"{prefix}pty_list lists the existing ones" in said


@pytest.mark.unchanged_project
@pytest.mark.parametrize("prefix", ["", "v2_"])
async def test_a_terminal_whose_program_has_ended_is_named(client: Client, prefix: str) -> None:
    """v1 forgets it, v2 keeps it with its exit code and opens a WebSocket that says nothing."""
    async with create_terminal(client, prefix, command="/bin/sh", args=["-c", "exit 3"]) as ended:

        async def is_over() -> bool:
            return "running" not in (await call_texts(client, f"{prefix}pty_get", ptyID=ended))[1]

        await eventually(is_over)
        failed, said = await call_texts(client, f"{prefix}pty_connect", ptyID=ended, input="echo hi\n")
    assert failed
    assert ended in said
    assert ("exit code 3" if prefix else "The terminal has exited") in said


@pytest.mark.unchanged_project
async def test_a_terminal_of_another_directory_fails_at_once(client: Client, tmp_path: Path) -> None:
    """OpenCode opens no WebSocket and says nothing, until the time limit."""
    (tmp_path / "elsewhere").mkdir()
    async with create_terminal(client, "") as mine:
        failed, said = await call_texts(client, "pty_connect", ptyID=mine, directory=str(tmp_path / "elsewhere"))
        await client.call_tool("pty_remove", {"ptyID": mine})
    assert failed
    assert "belongs to another directory" in said


@pytest.mark.unchanged_project
async def test_a_terminal_that_gives_nothing_in_time_is_an_error(client: Client) -> None:
    """An empty output would read as that of a terminal that printed nothing."""
    async with create_terminal(client, "") as slow:
        failed, said = await call_texts(client, "pty_connect", ptyID=slow, timeout_seconds=0)
        await client.call_tool("pty_remove", {"ptyID": slow})
    assert failed
    assert f"/pty/{slow}/connect sent nothing within 0 s" in said


async def test_a_websocket_that_is_refused_says_so(opencode: OpenCodeClient, wire: Wire) -> None:
    """The terminal may end between the check and the connection."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/connect"):
            return httpx2.Response(404)
        return httpx2.Response(200, json={"id": "pty_1", "status": "running"})

    wire.answer = answer
    with pytest.raises(APIError, match=r"HTTP 404, the WebSocket upgrade failed.*\npty_list lists"):
        await prepare_and_execute(opencode, opencode.catalog["pty_connect"], {"ptyID": "pty_1"})
