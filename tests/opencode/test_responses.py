"""Responses: each is an answer, or the one error that it is.

A real OpenCode cannot be made to give most of these, so a fake transport returns them.
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest
from anyio.abc import SocketAttribute, SocketStream

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import APIError, RequestTimeout, TransportError, UnexpectedResponse
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode import Answer, AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.tools.results import Limit, operation_result
from opencode_mcp.tools.truncate import NO_REDACTION
from tests.execute import prepare_and_execute

from .conftest import Wire

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


async def call_with_response(
    opencode: OpenCodeClient, wire: Wire, name: str, response: httpx2.Response, **arguments: Any
) -> Answer:
    """Call an operation that gets this response."""
    wire.answer = lambda _: response
    return await prepare_and_execute(opencode, opencode.catalog[name], arguments)


@pytest.mark.parametrize(
    ("response", "name", "message"),
    [
        (
            httpx2.Response(404, json={"name": "NotFoundError", "data": {"message": "Session not found: ses_1"}}),
            "NotFoundError",
            "Session not found: ses_1",
        ),
        (
            httpx2.Response(400, json={"_tag": "InvalidRequestError", "message": "Expected a string", "field": "id"}),
            "InvalidRequestError",
            "Expected a string",
        ),
        (
            httpx2.Response(404, json={"_tag": "McpServerNotFoundError", "name": "mine", "message": "No mine"}),
            "McpServerNotFoundError",
            "No mine",
        ),
        (httpx2.Response(400, json={"_tag": "BadRequest"}), "BadRequest", ""),
        (
            httpx2.Response(400, json={"success": False, "error": "Unknown installation method"}),
            "",
            "Unknown installation method",
        ),
        (httpx2.Response(500, text="Workspace not found: wrk_1"), "", "Workspace not found: wrk_1"),
        (httpx2.Response(431), "", ""),
        (
            httpx2.Response(500, json={"name": "UnknownError", "data": {"message": "Unexpected", "ref": "err_1"}}),
            "UnknownError",
            "Unexpected (err_1)",
        ),
        (httpx2.Response(400, json=["what", "is", "this"]), "", "['what', 'is', 'this']"),
    ],
)
async def test_every_family_of_error_body_becomes_one_error(
    opencode: OpenCodeClient, wire: Wire, response: httpx2.Response, name: str, message: str
) -> None:
    """Status, the server's name for the error, its words, and the body as it came."""
    with pytest.raises(APIError) as caught:
        await call_with_response(opencode, wire, "session_get", response, sessionID="ses_1")

    error = caught.value
    assert (error.operation, error.status, error.name, error.message) == (
        "session_get",
        response.status_code,
        name,
        message,
    )
    said = ": ".join(part for part in (name, message) if part) or "no details"
    assert str(error) == f"OpenCode answered session_get with HTTP {response.status_code}, {said}"


async def test_an_opaque_error_says_what_usually_causes_it(opencode: OpenCodeClient, wire: Wire) -> None:
    """A 500 of a search is most often a missing ripgrep, which OpenCode does not say."""
    opaque = httpx2.Response(500, json={"name": "UnknownError", "data": {"message": "Check server logs"}})

    with pytest.raises(APIError, match="ripgrep"):
        await call_with_response(opencode, wire, "find_text", opaque, pattern="x")


@pytest.mark.parametrize(
    "response",
    [httpx2.Response(401), httpx2.Response(401, json={"_tag": "UnauthorizedError", "message": "Unauthorized"})],
    ids=["empty", "json"],
)
async def test_a_wrong_password_is_named_as_such(
    opencode: OpenCodeClient, wire: Wire, response: httpx2.Response
) -> None:
    """v1 answers 401 without a word, v2 with JSON; either way the error names the variable to set."""
    with pytest.raises(APIError, match="OPENCODE_SERVER_PASSWORD") as caught:
        await call_with_response(opencode, wire, "global_health", response)
    assert caught.value.status == 401


async def test_a_web_page_is_an_error(opencode: OpenCodeClient, wire: Wire) -> None:
    """OpenCode answers every unknown route with 200 and its web UI."""
    page = httpx2.Response(200, html="<!doctype html>")

    with pytest.raises(UnexpectedResponse, match=r"does not have the operation \(GET /agent returned its web page"):
        await call_with_response(opencode, wire, "app_agents", page)


async def test_a_redirect_is_not_followed_with_credentials(opencode: OpenCodeClient, wire: Wire) -> None:
    """The password goes to the configured server, once, and to no other server."""
    elsewhere = httpx2.Response(307, headers={"location": "http://elsewhere.test/session"})

    with pytest.raises(UnexpectedResponse, match=r"redirected to 'http://elsewhere\.test/session'"):
        await call_with_response(opencode, wire, "session_list", elsewhere)
    [request] = wire.requests
    assert request.url.host == "opencode.test"
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"somebody:secret").decode()


async def test_without_a_password_no_credentials_are_sent(catalog: Catalog, wire: Wire) -> None:
    """Neither those of a URL or a netrc, nor an empty password."""
    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test"), version=SNAPSHOT_VERSION))
    async with OpenCodeClient(server, catalog, transport=httpx2.MockTransport(wire.handle)) as opencode:
        await opencode.call("global_health")

    assert "authorization" not in wire.requests[0].headers


@pytest.mark.parametrize("body", ["", '{"id": "ses', "not json"])
async def test_broken_json_is_an_error(opencode: OpenCodeClient, wire: Wire, body: str) -> None:
    """An answer cut off in the middle must not pass for an empty one."""
    broken = httpx2.Response(200, text=body, headers={"content-type": "application/json"})

    with pytest.raises(UnexpectedResponse, match=rf"not valid JSON \({len(body)} bytes\)"):
        await call_with_response(opencode, wire, "session_list", broken)


async def test_no_content_is_a_success(opencode: OpenCodeClient, wire: Wire) -> None:
    """A 204 has no body; the tool's result is no empty text."""
    answer = await call_with_response(
        opencode, wire, "session_prompt_async", httpx2.Response(204), sessionID="ses_1", parts=[]
    )

    assert (answer.value, answer.status) == (None, 204)
    assert result_content(answer).structured_content == {"result": None, "status": 204}
    assert json.loads(result_text(result_content(answer))) == {"result": None, "status": 204}


async def test_a_diff_is_text(opencode: OpenCodeClient, wire: Wire) -> None:
    """text/x-diff comes back as it is, not wrapped in JSON."""
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+ü\n"
    response = httpx2.Response(200, text=diff, headers={"content-type": "text/x-diff; charset=utf-8"})
    answer = await call_with_response(opencode, wire, "vcs_diff_raw", response)

    assert answer.value == diff
    assert result_text(result_content(answer)) == diff
    assert result_content(answer).structured_content == {"result": diff}


def typed_response(media_type: str, content: bytes) -> httpx2.Response:
    """Return a success of a content type."""
    return httpx2.Response(200, content=content, headers={"content-type": media_type})


@pytest.mark.parametrize(
    ("media_type", "content", "value"),
    [
        ("application/octet-stream", b"a = 1\n", "a = 1\n"),
        ("application/octet-stream", b"\xff\x00", b"\xff\x00"),
        ("text/markdown", b"# Title", "# Title"),
        ("text/plain", b"", ""),
        ("text/plain", b"caf\xe9", b"caf\xe9"),
        ("text/html", b"<html>mine</html>", "<html>mine</html>"),
        ("application/json", b'{"a":', '{"a":'),
        ("application/json", b'{ "a": 1 }\n', '{ "a": 1 }\n'),
        ("image/svg+xml", b"<svg/>", "<svg/>"),
        ("image/png", PNG, PNG),
    ],
)
async def test_a_file_is_returned_as_it_is_whatever_its_type(
    opencode: OpenCodeClient, wire: Wire, media_type: str, content: bytes, value: str | bytes
) -> None:
    """A project's index.html is not OpenCode's web page, and its broken.json no broken answer."""
    answer = await call_with_response(opencode, wire, "v2_fs_read", typed_response(media_type, content), path="file")

    assert answer.value == value
    if isinstance(value, str):
        assert result_text(result_content(answer)) == value


async def test_the_web_page_in_place_of_a_file_is_still_an_error(opencode: OpenCodeClient, wire: Wire) -> None:
    """An OpenCode without this route answers with its web page, which has a content security policy."""
    page = httpx2.Response(200, html="<!doctype html>", headers={"content-security-policy": "default-src 'self'"})

    with pytest.raises(UnexpectedResponse, match="does not have the operation"):
        await call_with_response(opencode, wire, "v2_fs_read", page, path="file")


async def test_an_image_is_an_image_in_the_tool_result(opencode: OpenCodeClient, wire: Wire) -> None:
    """A model that sees gets the picture itself."""
    answer = await call_with_response(opencode, wire, "v2_fs_read", typed_response("image/png", PNG), path="dot.png")
    image, facts = result_content(answer).content

    assert isinstance(image, types.ImageContent)
    assert (image.mime_type, base64.b64decode(image.data)) == ("image/png", PNG)
    assert isinstance(facts, types.TextContent)
    assert (
        json.loads(facts.text)
        == result_content(answer).structured_content
        == {"media_type": "image/png", "bytes": len(PNG)}
    )


async def test_other_bytes_are_base64_in_the_tool_result(opencode: OpenCodeClient, wire: Wire) -> None:
    """Nothing of a file that is no text is lost."""
    answer = await call_with_response(
        opencode, wire, "v2_fs_read", typed_response("application/zip", b"PK\xff\x00"), path="a.zip"
    )
    facts = result_content(answer).structured_content

    assert facts == {"media_type": "application/zip", "bytes": 4, "base64": base64.b64encode(b"PK\xff\x00").decode()}
    assert json.loads(result_text(result_content(answer))) == facts


async def test_the_cursor_of_the_next_page_is_returned(opencode: OpenCodeClient, wire: Wire) -> None:
    """It comes in a response header that no tool's result would show otherwise."""
    page = httpx2.Response(200, json=[{"id": "msg_1"}], headers={"X-Next-Cursor": "abc"})
    answer = await call_with_response(opencode, wire, "session_messages", page, sessionID="ses_1", limit=1)

    assert result_content(answer).structured_content == {"result": [{"id": "msg_1"}], "next_cursor": "abc"}


async def test_without_a_next_page_there_is_no_cursor(opencode: OpenCodeClient, wire: Wire) -> None:
    """The last page looks like any other list."""
    answer = await call_with_response(
        opencode, wire, "session_messages", httpx2.Response(200, json=[]), sessionID="ses_1"
    )

    assert result_content(answer).structured_content == {"result": []}


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], True, None, 0, "text", {}])
async def test_text_and_structured_content_say_the_same(opencode: OpenCodeClient, wire: Wire, value: Any) -> None:
    """Some clients show the model the one, some the other."""
    tool_result = result_content(await call_with_response(opencode, wire, "path_get", httpx2.Response(200, json=value)))

    assert json.loads(result_text(tool_result)) == tool_result.structured_content
    assert tool_result.structured_content == (value if isinstance(value, dict) else {"result": value})


def result_content(answer: Answer) -> types.CallToolResult:
    """Return the tool result of an answer."""
    return operation_result(answer, Limit(40_000, "read_operation"), NO_REDACTION)


def result_text(tool_result: types.CallToolResult) -> str:
    """Return the text of a result that has nothing else."""
    [content] = tool_result.content
    assert isinstance(content, types.TextContent)
    return content.text


@asynccontextmanager
async def open_server(answer: Callable[[SocketStream], Any], catalog: Catalog) -> AsyncGenerator[OpenCodeClient]:
    """Provide a client of a server on loopback that does this with each connection."""

    async def handle(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await answer(stream)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        url = httpx2.URL(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}")
        async with OpenCodeClient(AttachedServer(Endpoint(url, version=SNAPSHOT_VERSION)), catalog) as opencode:
            yield opencode
        tasks.cancel_scope.cancel()


async def test_a_refused_connection_says_that_opencode_is_not_reachable(catalog: Catalog) -> None:
    """The address stands in the error, as it is most often the address that is wrong."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with OpenCodeClient(
            AttachedServer(Endpoint(httpx2.URL(address), version=SNAPSHOT_VERSION)), catalog
        ) as opencode:
            with pytest.raises(TransportError, match=f"OpenCode at {address} is not reachable"):
                await opencode.call("global_health")


async def reset_connection(stream: SocketStream) -> None:
    """Close a connection with a reset."""
    linger_no_time = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time)


async def close_connection(stream: SocketStream) -> None:
    """Close a connection without a word."""


async def send_half(stream: SocketStream) -> None:
    """Send the beginning of an answer."""
    await stream.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[")


@pytest.mark.parametrize("ending", [reset_connection, close_connection, send_half])
async def test_a_connection_that_breaks_says_that_the_outcome_is_unknown(
    catalog: Catalog, ending: Callable[[SocketStream], Any]
) -> None:
    """The request had been sent: whether a session was created is unknown."""
    async with open_server(ending, catalog) as opencode:
        with pytest.raises(
            TransportError, match=r"was lost during session_create .*; the request may have taken effect"
        ):
            await opencode.call("session_create")


async def test_a_timeout_says_that_the_operation_may_still_run(catalog: Catalog) -> None:
    """The time limit is the bridge's, not the server's."""
    async with open_server(lambda _: anyio.sleep_forever(), catalog) as opencode:
        with pytest.raises(RequestTimeout, match=r"tui_control_next: no response within 0\.1 s"):
            await prepare_and_execute(opencode, catalog["tui_control_next"], {"timeout_seconds": 0.1})


async def test_a_web_page_in_place_of_events_is_an_error_too(opencode: OpenCodeClient, wire: Wire) -> None:
    """A stream that is none must not be taken for one without events."""
    with pytest.raises(UnexpectedResponse, match="does not have the operation"):
        await call_with_response(opencode, wire, "event_subscribe", httpx2.Response(200, html="<!doctype html>"))
