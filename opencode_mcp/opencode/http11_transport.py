"""The HTTP/1.1 transport under the HTTP client: h11 on an asyncio protocol, which reads each response whole.

httpx2's own transport polls every idle connection before each request, and takes a request through several locks and
streams; for a short request that costs more than everything else. It still carries what is long or rare: event streams,
WebSockets, request bodies of unknown length, and TLS.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from ipaddress import ip_address
from typing import cast

import anyio
import anyio.lowlevel
import h11
import httpx2

MAX_HEAD_BYTES = 100 * 1024
"""Of a response's head; httpx2's limit."""
IDLE_SECONDS = 5.0
"""A connection that was idle for longer is not used again; httpx2's default."""
MAX_IDLE_CONNECTIONS = 64
"""As many as the limiters of a client use at once."""
HAPPY_EYEBALLS_SECONDS = 0.25
"""The next address of a host is tried after this time (RFC 8305)."""
DISCONNECTED = "Server disconnected without sending a response."
EVENT_STREAM = b"text/event-stream"
STREAM_HEADERS = frozenset({b"upgrade", b"transfer-encoding"})
"""Of requests that open a WebSocket, or whose body is a stream."""

Origin = tuple[str, int]
"""Host and port."""


class Connection(asyncio.Protocol):
    """A connection, for one exchange at a time; it is closed unless an exchange has left it reusable.

    `poll_readable(0)` is true if the server has sent something or has closed it.
    """

    def __init__(self, origin: Origin, on_lost: Callable[[Connection], object]) -> None:
        self.origin = origin
        self.is_reusable = False
        self.idle_since = 0.0
        self.transport: asyncio.Transport
        self.poll_readable: Callable[[int], object]
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.CLIENT, MAX_HEAD_BYTES)
        self._outcome: asyncio.Future[httpx2.TransportError | None] | None = None
        self._head: h11.Response | None = None
        self._body: list[bytes] = []
        self._is_writing = False
        self._unsent_bytes = 0
        self._timeouts: Mapping[str, float | None] = {}
        self._progress_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def exchange(self, request: httpx2.Request, content: bytes) -> httpx2.Response:
        """Send a request, and return its response with the whole body.

        Raises:
            ReadTimeout, WriteTimeout, ReadError, WriteError, RemoteProtocolError
            DecodingError: the body is not what its Content-Encoding says.
            LocalProtocolError: the request is not valid HTTP, such as a header with a line break; nothing was sent.
        """
        self.is_reusable = False
        self._timeouts = request.extensions.get("timeout", {})
        self._outcome = self._loop.create_future()
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            data = b"".join(map(self._http.send, (head, h11.Data(content), h11.EndOfMessage())))
            if self.transport.is_closing():
                raise httpx2.RemoteProtocolError(DISCONNECTED)
            self.transport.write(data)
            self._progress_at = self._loop.time()
            seconds = self._timeouts.get("write" if self._is_writing else "read")
            if seconds is not None:
                self._timer = self._loop.call_later(seconds, self._check_timer)
            if error := await self._outcome:
                raise error
            return self._end_exchange()
        except h11.LocalProtocolError as error:
            raise httpx2.LocalProtocolError(str(error)) from error
        finally:
            self._outcome = None
            if self._timer is not None:
                self._timer.cancel()
            if not self.is_reusable:
                self.transport.abort()

    def _end_exchange(self) -> httpx2.Response:
        """Return the response, and decide whether the connection can carry another request."""
        head, content = self._head, b"".join(self._body)
        assert head is not None
        self._head, self._body = None, []
        response = httpx2.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            content=content,
            extensions={"http_version": b"HTTP/" + head.http_version, "reason_phrase": head.reason},
        )
        unexpected, _ = self._http.trailing_data
        is_unfinished = self._is_writing or unexpected or {*self._http.states.values()} != {h11.DONE}
        if not (is_unfinished or self.transport.is_closing()):
            self._http.start_next_cycle()
            self.is_reusable, self.idle_since = True, self._loop.time()
        return response

    def _check_timer(self) -> None:
        """End the exchange if nothing was written or received for too long, or look again.

        A write that has progressed since the last look may have done so just now.
        """
        name, kind = ("write", httpx2.WriteTimeout) if self._is_writing else ("read", httpx2.ReadTimeout)
        seconds = self._timeouts.get(name)
        if seconds is None:
            return
        if self._is_writing and (unsent := self.transport.get_write_buffer_size()) < self._unsent_bytes:
            self._unsent_bytes, self._progress_at = unsent, self._loop.time()
        remaining = self._progress_at + seconds - self._loop.time()
        if remaining > 0:
            self._timer = self._loop.call_later(remaining, self._check_timer)
        else:
            self._fail(kind(f"no progress for {seconds:g} s"))

    def _fail(self, error: httpx2.TransportError) -> None:
        """End the exchange with an error, if one is under way."""
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the transport, with `resume_writing` called once nothing remains to be written."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=0)
        descriptor = transport.get_extra_info("socket").fileno()
        if sys.platform == "win32":
            self.poll_readable = lambda timeout: select.select([descriptor], [], [], timeout)[0]
        else:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            self.poll_readable = poll.poll

    def pause_writing(self) -> None:
        """Note that a part of the request waits to be written."""
        self._is_writing = True
        self._unsent_bytes = self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """Begin to wait for the response: the request has been written."""
        self._is_writing = False
        self._progress_at = self._loop.time()
        if self._outcome is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._check_timer()

    def data_received(self, data: bytes) -> None:
        """Read the response (`data` is b"" at its end). An idle connection that receives anything is closed."""
        if self._outcome is None or self._outcome.done():
            self.transport.abort()
            return
        self._progress_at = self._loop.time()
        try:
            self._http.receive_data(data)
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body.append(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._outcome.set_result(None)
                    return
        except h11.RemoteProtocolError as error:
            self._fail(httpx2.RemoteProtocolError(str(error) if data or self._head else DISCONNECTED))

    def eof_received(self) -> None:
        """End the response, which may be complete without a length."""
        self.data_received(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail an exchange that has not ended."""
        if exc is None:
            self._fail(httpx2.RemoteProtocolError("the connection was closed"))
        else:
            self._fail((httpx2.WriteError if self._is_writing else httpx2.ReadError)(str(exc)))
        self._on_lost(self)


class Http11Transport(httpx2.AsyncBaseTransport):
    """Sends requests over kept connections, as many as are used at once; `create_stream_transport` is for streams.

    A connection that the server has closed is replaced before anything is sent. A request that has been sent, or a part
    of it, is not sent again: it may have taken effect.
    """

    def __init__(self, create_stream_transport: Callable[[], httpx2.AsyncBaseTransport]) -> None:
        self._create_stream_transport = create_stream_transport
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._is_closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to a request; its body has been read, except that of a stream.

        Raises:
            UnsupportedProtocol: the URL is not http.
            ConnectError, ConnectTimeout, and what `Connection.exchange` raises.
        """
        url, headers = request.url, {name.lower(): value for name, value in request.headers.raw}
        if url.scheme != "http":
            raise httpx2.UnsupportedProtocol(f"this transport has no TLS: {url.scheme}")
        if headers.get(b"accept") == EVENT_STREAM or not STREAM_HEADERS.isdisjoint(headers):
            return await self._stream_transport.handle_async_request(request)
        content = await request.aread()
        origin = url.raw_host.decode("ascii"), url.port or 80
        connection = self._take_idle(origin)
        if connection is None:
            connection = await self._connect(origin, request.extensions.get("timeout", {}).get("connect"))
        response = await connection.exchange(request, content)
        if connection.is_reusable:
            self._idle.append(connection)
            if len(self._idle) > MAX_IDLE_CONNECTIONS:
                self._idle.pop(0).transport.abort()
        return response

    def _take_idle(self, origin: Origin) -> Connection | None:
        """Return the idle connection to an origin that was used last, and close those that were idle for too long."""
        expired = asyncio.get_running_loop().time() - IDLE_SECONDS
        while self._idle and self._idle[0].idle_since < expired:
            self._idle.pop(0).transport.abort()
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].origin == origin:
                connection = self._idle.pop(index)
                # The event loop may not know yet that the server has closed it.
                if not connection.transport.is_closing() and not connection.poll_readable(0):
                    return connection
                connection.transport.abort()
        return None

    async def _connect(self, origin: Origin, seconds: float | None) -> Connection:
        """Connect to an origin.

        Raises:
            ConnectError: also if the transport has been closed meanwhile.
            ConnectTimeout
        """
        loop = asyncio.get_running_loop()
        try:
            with anyio.fail_after(seconds):
                _, connection = await loop.create_connection(
                    partial(Connection, origin, self._open.discard),
                    *origin,
                    happy_eyeballs_delay=None if is_local_or_literal(origin[0]) else HAPPY_EYEBALLS_SECONDS,
                )
        except TimeoutError as error:
            raise httpx2.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError, OverflowError) as error:  # the latter two: of a name or port that cannot exist
            raise httpx2.ConnectError(str(error)) from error
        if self._is_closed:
            connection.transport.abort()
            raise httpx2.ConnectError("the client has been closed")
        self._open.add(connection)
        return connection

    @cached_property
    def _stream_transport(self) -> httpx2.AsyncBaseTransport:
        """The transport of streams, created by the first one: its imports take 2 MB."""
        return self._create_stream_transport()

    async def aclose(self) -> None:
        """Close all connections, and those that are being made once they are."""
        self._is_closed = True
        self._idle.clear()
        for connection in self._open:
            connection.transport.abort()
        await anyio.lowlevel.cancel_shielded_checkpoint()  # sockets are closed in the event loop's next step
        if "_stream_transport" in vars(self):
            await self._stream_transport.aclose()


def is_local_or_literal(host: str) -> bool:
    """Whether a connection to a host is made or refused at once, or has one address, so that no addresses need to race.

    asyncio leaves the socket of a race that is cancelled at its end to the garbage collector.
    """
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
