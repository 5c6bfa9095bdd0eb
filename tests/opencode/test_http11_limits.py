"""The HTTP/1.1 transport where requests do not end well: time limits, cancellation, refusal; and what it hands on."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from functools import partial
from time import sleep
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint

from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.http11_transport import Connection, Http11Transport
from opencode_mcp.opencode.transport import create_http_transport
from tests.eventually import eventually
from tests.raw_http_server import OK, RawServer, send_and_close, send_and_wait

pytestmark = pytest.mark.anyio

SHORT_SECONDS = 0.05
"""A time limit that is exceeded."""
LARGE = b"x" * 16 * 1024 * 1024
"""More than the sockets of a connection hold that is not read from."""
STEP = 2 * 1024 * 1024
"""What a slow server reads of it at once; the sockets of a connection hold about twice as much."""
PART = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"


@pytest.fixture
def full_port() -> Generator[int]:
    """A port whose queue of connections is full, so that another connection is neither accepted nor refused."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture
def deaf_server() -> Generator[socket.socket]:
    """A server that reads nothing: the system accepts its connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def url_of(listener: socket.socket) -> str:
    """Return the address of a server."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def accept(listener: socket.socket) -> socket.socket | None:
    """Return a connection that has been made, None if there is none yet."""
    try:
        return listener.accept()[0]
    except BlockingIOError:
        return None


def has_ended(connection: socket.socket) -> bool:
    """Read what has arrived; whether the client has closed the connection."""
    try:
        while connection.recv(1024 * 1024):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


async def assert_works(http: httpx2.AsyncClient, server: RawServer) -> None:
    """Check that the connection has ended, and that another request is answered on a new one."""
    await eventually(lambda: server.ended == 1)
    assert (await http.get(f"{server.url}/again")).text == "ok"
    assert server.connections == 2


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\n", PART], ids=["no head", "half a head", "half a body"])
async def test_a_read_that_takes_too_long(http: httpx2.AsyncClient, server: RawServer, part: bytes) -> None:
    """The limit holds for the head and for each part of the body."""
    server.set_answers(send_and_wait(part))

    with pytest.raises(httpx2.ReadTimeout):
        await http.get(server.url, timeout=httpx2.Timeout(60, read=SHORT_SECONDS))
    await assert_works(http, server)


async def test_a_slow_response_is_within_the_limit(http: httpx2.AsyncClient, server: RawServer) -> None:
    """The limit is that between two parts, not that of the whole."""

    async def send_slowly(stream: SocketStream) -> None:
        for part in (PART[:10], PART[10:], b"and", b" all"):
            await anyio.sleep(0.6)
            await stream.send(part)

    server.set_answers(send_slowly)
    response = await http.get(server.url, timeout=httpx2.Timeout(60, read=2))
    assert response.text == "okand all"


async def test_without_a_limit_a_request_waits(http: httpx2.AsyncClient, server: RawServer) -> None:
    """As a prompt does."""
    server.set_answers(send_and_wait(b""))

    with anyio.move_on_after(SHORT_SECONDS) as scope:
        await http.get(server.url, timeout=None)
    assert scope.cancelled_caught


async def test_a_write_that_takes_too_long(http: httpx2.AsyncClient, deaf_server: socket.socket) -> None:
    """The server accepts the connection, and does not read the request."""
    with pytest.raises(httpx2.WriteTimeout):
        await http.post(url_of(deaf_server), content=LARGE, timeout=httpx2.Timeout(60, write=SHORT_SECONDS))


async def test_a_slow_write_is_within_the_limit(http: httpx2.AsyncClient, deaf_server: socket.socket) -> None:
    """The limit is that without any progress, not that of the whole request."""
    deaf_server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)

    def read_slowly() -> None:
        with deaf_server.accept()[0] as connection:
            for _ in range(len(LARGE) // STEP):
                sleep(0.5)
                connection.recv(STEP, socket.MSG_WAITALL)
            connection.recv(STEP)  # the request is longer than LARGE by its head
            connection.send(OK)

    deaf_server.setblocking(True)
    async with background_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, read_slowly)
        response = await http.post(url_of(deaf_server), content=LARGE, timeout=httpx2.Timeout(60, write=2))
    assert response.text == "ok"


async def test_the_read_limit_holds_once_the_request_is_written(http: httpx2.AsyncClient, server: RawServer) -> None:
    """Also for a request that was not written at once."""
    server.set_answers(send_and_wait(b""))

    with pytest.raises(httpx2.ReadTimeout), anyio.fail_after(60):
        await http.post(server.url, content=LARGE, timeout=httpx2.Timeout(None, read=SHORT_SECONDS))


async def test_the_read_limit_does_not_hold_before(http: httpx2.AsyncClient, deaf_server: socket.socket) -> None:
    """While a request is written, the limit of writing holds, which is none here."""
    with anyio.move_on_after(10 * SHORT_SECONDS) as scope:
        await http.post(url_of(deaf_server), content=LARGE, timeout=httpx2.Timeout(None, read=SHORT_SECONDS))
    assert scope.cancelled_caught


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse a connection when the queue is full")
async def test_a_connection_that_takes_too_long(http: httpx2.AsyncClient, full_port: int) -> None:
    """The limit is that of connecting."""
    with pytest.raises(httpx2.ConnectTimeout):
        await http.get(f"http://127.0.0.1:{full_port}", timeout=httpx2.Timeout(60, connect=SHORT_SECONDS))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_a_refused_connection(http: httpx2.AsyncClient, host: str) -> None:
    """Also at each address of a name, and where there is no IPv6."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with pytest.raises(httpx2.ConnectError):
        await http.get(f"http://{host}:{port}")


@pytest.mark.parametrize("host", ["opencode.invalid", "a..b", f"{'a' * 64}.test", "127.0.0.1:65536"])
async def test_an_unknown_host(http: httpx2.AsyncClient, host: str) -> None:
    """The error of the resolver is one of connecting; so is that of a host or port that cannot exist."""
    with pytest.raises(httpx2.ConnectError):
        await http.get(f"http://{host}")


async def test_a_name_is_connected_to_at_the_address_that_listens(http: httpx2.AsyncClient, server: RawServer) -> None:
    """The name may have an IPv6 address as well, where nothing listens."""
    assert (await http.get(f"http://localhost:{server.port}")).text == "ok"


@pytest.mark.parametrize("part", [b"", PART], ids=["before the head", "within the body"])
async def test_a_cancelled_request_ends_its_connection(
    http: httpx2.AsyncClient, server: RawServer, part: bytes
) -> None:
    """The rest of its response would otherwise be taken for that of the next request."""
    async with background_task_group() as tasks:
        server.set_answers(send_and_wait(part))
        tasks.start_soon(http.get, server.url)
        await eventually(lambda: server.requests)
        tasks.cancel_scope.cancel()

    await assert_works(http, server)


async def test_a_request_cancelled_while_it_is_sent(http: httpx2.AsyncClient, deaf_server: socket.socket) -> None:
    """The server sees the end of the connection."""
    async with background_task_group() as tasks:
        tasks.start_soon(lambda: http.post(url_of(deaf_server), content=LARGE))
        connection = await eventually(lambda: accept(deaf_server))
        tasks.cancel_scope.cancel()

    assert connection is not None
    with connection:
        connection.setblocking(False)
        await eventually(lambda: has_ended(connection))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse a connection when the queue is full")
async def test_a_request_cancelled_while_it_connects(http: httpx2.AsyncClient, full_port: int) -> None:
    """Its socket is closed; one that is not makes the test fail with a ResourceWarning."""
    with anyio.move_on_after(SHORT_SECONDS) as scope:
        await http.get(f"http://127.0.0.1:{full_port}")
    assert scope.cancelled_caught


async def test_a_response_before_the_request_is_written(http: httpx2.AsyncClient) -> None:
    """As a server responds to a body that is too large; the rest of the body is not sent as the next request."""
    streams: list[SocketStream] = []

    async def refuse(stream: SocketStream) -> None:
        streams.append(stream)
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno")
            await anyio.sleep_forever()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, background_task_group() as tasks:
        tasks.start_soon(listener.serve, refuse)
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        responses = [await http.post(url, content=LARGE), await http.get(url)]
    assert [(response.status_code, response.text) for response in responses] == [(413, "no")] * 2
    assert len(streams) == 2


async def test_a_connection_that_is_closed_before_anything_is_sent(server: RawServer) -> None:
    """By a server that accepts it and closes it at once; without time limits the request would wait."""
    connected = partial(Connection, ("127.0.0.1", server.port), lambda _: None)
    _, connection = await asyncio.get_running_loop().create_connection(connected, "127.0.0.1", server.port)
    connection.transport.abort()
    await checkpoint()

    with pytest.raises(httpx2.RemoteProtocolError), anyio.fail_after(10):
        await connection.exchange(httpx2.Request("GET", server.url), b"")
    assert server.requests == []


@pytest.mark.parametrize(
    "headers", [{"x": "a\r\nx-admin: 1"}, {"x": "a\nb"}, {"x\r\ny": "a"}, {"x": "a\0"}, {"a b": "c"}]
)
async def test_a_request_that_is_not_valid_http_is_not_sent(
    http: httpx2.AsyncClient, server: RawServer, headers: dict[str, str]
) -> None:
    """A line break in a header would be a header of its own."""
    with pytest.raises(httpx2.LocalProtocolError):
        await http.get(server.url, headers=headers)
    assert server.requests == []


async def test_the_end_of_the_client_ends_its_connections(http: httpx2.AsyncClient, server: RawServer) -> None:
    """The idle ones, and those whose response is awaited."""

    async def expect_an_error() -> None:
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.get(server.url)

    server.answer = lambda request: OK if b"/idle" in request else send_and_wait(b"")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(expect_an_error)
        await eventually(lambda: server.requests)
        await http.get(f"{server.url}/idle")
        await http.aclose()
    await eventually(lambda: server.ended == 2)


async def test_the_end_of_the_client_ends_a_connection_that_is_being_made(
    http: httpx2.AsyncClient, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent on it, and it does not become an idle one."""
    loop = asyncio.get_running_loop()
    getaddrinfo, resolving, closed = loop.getaddrinfo, anyio.Event(), anyio.Event()

    async def resolve_late(*arguments: Any, **options: Any) -> Any:
        resolving.set()
        await closed.wait()
        return await getaddrinfo(*arguments, **options)

    async def expect_an_error() -> None:
        with pytest.raises(httpx2.ConnectError):
            await http.get(f"http://localhost:{server.port}")

    monkeypatch.setattr(loop, "getaddrinfo", resolve_late)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(expect_an_error)
        await resolving.wait()
        await http.aclose()
        closed.set()
    await eventually(lambda: server.ended == 1)
    assert server.requests == []


async def test_no_proxy_of_the_environment_is_used(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would receive the password."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    transport = create_http_transport(Endpoint(httpx2.URL(server.url)))

    async with httpx2.AsyncClient(transport=transport, trust_env=False) as http:
        assert (await http.get(server.url)).text == "ok"


EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n"


async def chunks() -> AsyncGenerator[bytes]:
    """A body of unknown length."""
    yield b"he"
    yield b"llo"


async def test_streams_are_handed_on(http: httpx2.AsyncClient, server: RawServer) -> None:
    """An event stream is read while it arrives, and a body is sent as it comes."""
    server.set_answers(send_and_wait(EVENTS))
    async with http.stream("GET", server.url, headers={"Accept": "text/event-stream"}) as response:
        parts = response.aiter_bytes()
        assert await anext(parts) == b"data: 1\n"

    server.set_answers(send_and_close(OK))
    assert (await http.post(server.url, content=chunks())).text == "ok"
    assert b"\r\nTransfer-Encoding: chunked\r\n" in server.requests[-1]


class StreamTransport(httpx2.AsyncBaseTransport):
    """Counts the requests that are handed on to it; `is_closed` once it is."""

    def __init__(self) -> None:
        self.requests = 0
        self.is_closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        return httpx2.Response(200)

    async def aclose(self) -> None:
        self.is_closed = True


async def test_only_streams_need_another_transport(server: RawServer) -> None:
    """It is created by the first of them, as its imports take time and memory, and closed with the client."""
    created: list[StreamTransport] = []

    def create() -> StreamTransport:
        created.append(StreamTransport())
        return created[-1]

    async with httpx2.AsyncClient(transport=Http11Transport(create)) as http:
        await http.post(server.url, content=b"{}")
    assert created == []

    async with httpx2.AsyncClient(transport=Http11Transport(create)) as http:
        await http.get(server.url, headers={"Accept": "text/event-stream"})
        await http.get(server.url, headers={"Connection": "upgrade", "Upgrade": "websocket"})
        await http.post(server.url, content=chunks())
    assert [(transport.requests, transport.is_closed) for transport in created] == [(3, True)]
    assert server.connections == 1


async def test_tls_is_refused(http: httpx2.AsyncClient, server: RawServer) -> None:
    """A password must not leave unencrypted for an https URL."""
    with pytest.raises(httpx2.UnsupportedProtocol):
        await http.get(server.url.replace("http:", "https:"))
    assert server.connections == 0


def test_a_server_with_tls_has_the_transport_of_httpx2() -> None:
    """Its certificates are checked as before."""
    transport = create_http_transport(Endpoint(httpx2.URL("https://opencode.test")))
    assert isinstance(transport, httpx2.AsyncHTTPTransport)
