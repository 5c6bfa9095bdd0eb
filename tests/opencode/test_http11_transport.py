"""The HTTP/1.1 transport against a server of raw bytes: HTTP/1.1, pooled connections, time limits, cancellation."""

from __future__ import annotations

import gzip
import socket

import anyio
import httpx2
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint

from opencode_mcp.opencode import http11_transport
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.http11_transport import MAX_HEAD_BYTES
from tests.eventually import eventually
from tests.raw_http_server import OK, Answer, RawServer, raw_server, send_and_close

pytestmark = pytest.mark.anyio


async def assert_works(http: httpx2.AsyncClient, server: RawServer, connections: int) -> None:
    """Check that another request is answered, and how many connections there have been then."""
    assert (await http.get(f"{server.url}/again")).text == "ok"
    assert server.connections == connections


RESPONSES: dict[str, tuple[bytes, int, bytes]] = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
    "chunks": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n\r\n",
        200,
        b"hello",
    ),
    "trailers": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\nx-sum: 1\r\n\r\n", 200, b"he"),
    "empty": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b""),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK, 200, b"ok"),
    "error": (b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno", 500, b"no"),
}


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("piecewise", [False, True], ids=["at once", "byte by byte"])
async def test_a_response_is_read_whole(
    http: httpx2.AsyncClient, server: RawServer, name: str, piecewise: bool
) -> None:
    """However it arrives, it ends where it ends, and the next request takes the same connection."""
    data, status, body = RESPONSES[name]

    async def send_bytes(stream: SocketStream) -> None:
        for number in range(len(data)):
            await stream.send(data[number : number + 1])
            await checkpoint()
        await server.serve_requests(stream)

    server.set_answers(send_bytes if piecewise else data)
    response = await http.get(server.url)
    again = await http.get(server.url)

    assert (response.status_code, response.content) == (status, body)
    assert (again.text, server.connections) == ("ok", 1)


async def test_the_request_and_the_response_arrive_as_they_are(http: httpx2.AsyncClient, server: RawServer) -> None:
    """The target is not decoded, header names keep their case, and a header may come twice."""
    body = gzip.compress(b"hello")
    cookies = b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    head = b"HTTP/1.1 200 Fine\r\n%bContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    server.set_answers(head % (cookies, len(body)) + body)
    response = await http.post(f"{server.url}/a%2Fb?x=%20y", headers={"X-Some-Name": "Value"}, content=b"{}")

    assert server.requests[0].startswith(b"POST /a%2Fb?x=%20y HTTP/1.1\r\n")
    assert b"\r\nX-Some-Name: Value\r\n" in server.requests[0]
    assert server.requests[0].endswith(b"\r\nContent-Length: 2\r\n\r\n{}")
    assert (response.text, response.reason_phrase, response.http_version) == ("hello", "Fine", "HTTP/1.1")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_a_head_request_has_no_body(http: httpx2.AsyncClient, server: RawServer) -> None:
    """Its response has the length of the body that GET would return."""
    server.set_answers(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")

    assert (await http.head(server.url)).headers["content-length"] == "500"
    await assert_works(http, server, connections=1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        OK + b"garbage",
        send_and_close(b"HTTP/1.1 200 OK\r\n\r\nok"),
    ],
    ids=["close", "HTTP/1.0", "a second response", "garbage after it", "until the end"],
)
async def test_a_connection_that_cannot_be_used_again_is_closed(
    http: httpx2.AsyncClient, server: RawServer, answer: Answer
) -> None:
    """What a server sends too much never becomes the response to another request."""
    server.set_answers(answer)

    assert (await http.get(server.url)).text == "ok"
    await assert_works(http, server, connections=2)
    await eventually(lambda: server.ended == 1)


async def test_a_response_to_no_request_closes_the_connection(http: httpx2.AsyncClient, server: RawServer) -> None:
    """It may be sent at any time, as here by a server that waits for nothing."""

    async def answer_twice(stream: SocketStream) -> None:
        await stream.send(OK)
        await responded.wait()
        await stream.send(OK.replace(b"ok", b"no"))
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()

    responded = anyio.Event()
    server.set_answers(answer_twice)
    await http.get(server.url)
    responded.set()
    await eventually(lambda: server.ended == 1)

    await assert_works(http, server, connections=2)


@pytest.mark.parametrize(
    "answer",
    [
        b"not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * MAX_HEAD_BYTES,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        send_and_close(b"HTTP/1.1 200 OK\r\ncontent-le"),
        send_and_close(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"),
        send_and_close(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"),
        send_and_close(b""),
    ],
    ids=["no HTTP", "header", "lengths", "chunk", "long head", "upgrade", "head", "body", "chunks", "nothing"],
)
@pytest.mark.parametrize("reused", [False, True], ids=["new connection", "reused connection"])
async def test_a_broken_response_is_an_error_and_nothing_is_sent_again(
    http: httpx2.AsyncClient, server: RawServer, answer: Answer, reused: bool
) -> None:
    """A prompt that was sent may run: a second copy would run as well."""
    server.set_answers(*([OK] if reused else []), answer)
    if reused:
        await http.get(server.url)

    with pytest.raises(httpx2.RemoteProtocolError):
        await http.post(server.url, content=b"prompt")
    await eventually(lambda: server.ended == 1)
    assert [request.endswith(b"prompt") for request in server.requests].count(True) == 1
    await assert_works(http, server, connections=2)


async def test_a_body_that_cannot_be_decoded_is_an_error(http: httpx2.AsyncClient, server: RawServer) -> None:
    """Its connection ends, and the next request has a new one."""
    server.set_answers(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 7\r\n\r\ngarbage")

    with pytest.raises(httpx2.DecodingError):
        await http.get(server.url)
    await eventually(lambda: server.ended == 1)
    await assert_works(http, server, connections=2)


async def test_a_reset_connection_is_an_error(http: httpx2.AsyncClient, server: RawServer) -> None:
    """The error is the one that httpx2 raises."""

    async def reset(stream: SocketStream) -> None:
        stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    server.set_answers(reset)
    with pytest.raises(httpx2.ReadError):
        await http.post(server.url, content=b"prompt")
    assert len(server.requests) == 1


@pytest.mark.parametrize("seen_by_the_loop", [True, False])
async def test_a_connection_that_the_server_has_closed_is_replaced(
    http: httpx2.AsyncClient, server: RawServer, seen_by_the_loop: bool
) -> None:
    """Also one that it closed while this process was busy, so that only the system knows. Nothing is sent to it."""
    peers: list[SocketStream] = []

    async def keep(stream: SocketStream) -> None:
        await stream.send(OK)
        peers.append(stream)
        await anyio.sleep_forever()

    server.set_answers(keep)
    await http.get(server.url)
    peers[0].extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_WR)
    for _ in range(5 * seen_by_the_loop):
        await checkpoint()
    first, second = socket.socketpair()  # one has the number of the descriptor that the loop has closed
    with first, second:
        response = await http.post(server.url, content=b"prompt")
    assert (response.text, server.connections, len(server.requests)) == ("ok", 2, 2)


async def test_each_server_has_its_own_connections(http: httpx2.AsyncClient, server: RawServer) -> None:
    """An idle connection to one does not carry a request to another."""
    async with raw_server() as other:
        for _ in range(2):
            await http.get(server.url)
            await http.get(other.url)
        assert (server.connections, len(server.requests)) == (1, 2)
        assert (other.connections, len(other.requests)) == (1, 2)


async def test_connections_are_shared_by_turns(http: httpx2.AsyncClient, server: RawServer) -> None:
    """Concurrent requests have one each, with their own responses; later requests use them again."""

    def echo(request: bytes) -> bytes:
        target = request.split(b" ")[1]
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(target), target)

    server.answer = echo
    for _ in range(3):
        targets = [f"/{number}" for number in range(20)]
        responses = await gather(*(lambda target=target: http.get(server.url + target) for target in targets))
        assert [response.text for response in responses] == targets
    assert server.connections <= 20
    assert len(server.requests) == 60


async def test_idle_connections_are_few_and_expire(
    http: httpx2.AsyncClient, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expired one is closed by the next request, a surplus one at once."""
    monkeypatch.setattr(http11_transport, "MAX_IDLE_CONNECTIONS", 1)
    arrived, released = 0, anyio.Event()

    async def answer_late(stream: SocketStream) -> None:
        nonlocal arrived
        arrived += 1
        await released.wait()
        await stream.send(OK)
        await server.serve_requests(stream)

    async def release() -> httpx2.Response:
        await eventually(lambda: arrived == 2)
        released.set()
        return await http.get(f"{server.url}/third")

    server.set_answers(answer_late, answer_late)
    await gather(lambda: http.get(server.url), lambda: http.get(server.url), release)
    await eventually(lambda: server.ended >= 2)

    monkeypatch.setattr(http11_transport, "IDLE_SECONDS", -1)
    before = server.connections
    await assert_works(http, server, connections=before + 1)


async def test_large_bodies_pass_both_ways(http: httpx2.AsyncClient, server: RawServer) -> None:
    """They are larger than what sockets hold."""
    content = bytes(range(256)) * 4 * 8 * 1024
    server.answer = lambda request: (
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(content), request[-len(content) :])
    )

    response = await http.post(server.url, content=content)
    assert response.content == content
    assert (await http.post(server.url, content=content)).content == content
    assert server.connections == 1
