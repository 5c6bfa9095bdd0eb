"""The async client: prepare (validate, split) -> authorize -> build_request -> send -> decode -> Answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from copy import copy
from dataclasses import replace
from functools import cache, partial
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack
from weakref import WeakValueDictionary

import anyio
import httpx2

from opencode_mcp.exceptions import APIError, InvalidArguments, RequestTimeout, ServerStalled, TLSError, TransportError
from opencode_mcp.openapi import Catalog, Operation

from .allowlist import Allowlist
from .arguments import PreparedCall, RequestParts, is_on_route, require_project, split, validate
from .authorize import Authorization, without_outside
from .bodies import encoded
from .deadline import seconds_left
from .events import EventFeed
from .generation import Known
from .models import as_model
from .opening import Openers, Opening
from .queue import FairQueue
from .responses import Answer, decode
from .server import Endpoint, OpenCodeServer, Report, silent
from .shortage import cause_of_error
from .tls import tls_problem, trusting
from .tracing import pass_on_trace
from .work import note_after, note_before

T = TypeVar("T")

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
"""For operations that do not wait for a model; `mcp.add` may take 30 s."""
QUICK_SECONDS = 20.0
"""For read operations of task tools: they are quick, so a longer wait means a half-open connection."""
AT_ONCE = 32
"""More concurrent requests do not make 1.18.33 faster, and use more of its memory."""
TURNS_AT_ONCE = 32
"""Prompts: 500 at once block every other response of 1.18.33 for 17 s."""
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0)
"""Pauses before a read is sent again."""
LAST_SECONDS = 0.1
"""A request fails this long before the caller's deadline, so that the caller receives an error."""
BUSY = frozenset({429, 502, 503, 504})
"""Statuses after which a read is sent again."""


Observe = Callable[[Operation], AbstractContextManager[object]]
"""Returns the context manager that surrounds one exchange with OpenCode."""


class CallOptions(TypedDict, total=False):
    """What may differ between two users of one client.

    Of several `caller`s each waits its turn when OpenCode is busy; `report` is for requests that have none;
    `directory` is the project; nothing is sent to a server that is older than the version `oldest`; `retry_seconds`
    are the pauses before a read is sent again, none for a single attempt.
    """

    caller: Hashable
    report: Report
    directory: str | None
    lacks_project: bool
    oldest: str | None
    retry_seconds: tuple[float, ...]


class OpenCode:
    """Calls the operations of an OpenCode server. An async context manager; safe for concurrent use.

    `directory` is the default for operations that take one; arguments outside of `allowlist` are refused; `load_policy`
    decides which operations may load a directory. With `lacks_project`, operations that need a directory and were given
    none are refused. `events` is the server's event stream, shared by all listeners. `caller` is the key by which the
    limiter is fair. `instrument` returns a context manager that is entered for each request, up to the end of the
    response, and receives its error. `environ` is the environment of git, which the bridge runs itself.
    """

    def __init__(
        self,
        server: OpenCodeServer,
        catalog: Catalog,
        directory: str | None = None,
        allowlist: Allowlist = Allowlist(),  # noqa: B008 - frozen
        transport: httpx2.AsyncBaseTransport | None = None,
        lacks_project: bool = False,
        openers: Openers = "all",
        environ: Mapping[str, str] = MappingProxyType({}),
        observe: Observe = nullcontext,
    ) -> None:
        self.server = server
        self.environ = environ
        self.catalog = catalog
        self.directory = directory
        self.lacks_project = lacks_project
        self.allowlist = allowlist
        self.opening = Opening(openers, allowlist, self._ask)
        self._http = cache(partial(http_client, server, transport))
        self.caller: Hashable = None
        self.report: Report = silent
        self._observe = observe
        self.retry_seconds: tuple[float, ...] = RETRY_SECONDS
        self.oldest: str | None = None
        self._known = Known()
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._queue, self._turns = FairQueue(AT_ONCE), FairQueue(TURNS_AT_ONCE)
        self._tasks = anyio.create_task_group()
        self.events = EventFeed(self.event_stream, self._tasks)

    @property
    def http(self) -> httpx2.AsyncClient:
        """The HTTP client, created by the first request: its imports would slow down the start."""
        return self._http()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        try:
            # Not the block's error: the task group would wrap it in an exception group.
            await self._tasks.__aexit__(None, None, None)
        finally:
            if self._http.cache_info().currsize:
                await self.http.aclose()

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a free slot."""
        return self._queue.waiting + self._turns.waiting + self._known.waiting

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return this client with other options. Connections, queues and events are shared."""
        other = copy(self)
        vars(other).update(options)
        return other

    def alone(self, session_id: str) -> anyio.Lock:
        """Return the lock that serializes changes to a session."""
        return self._locks.setdefault(session_id, anyio.Lock())

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Execute an operation that is a single request, by its tool name, and return the value of its response.

        Raises:
            InvalidArguments, ServerStartError, TransportError, APIError, UnexpectedResponse
        """
        operation = self.catalog[name]
        call = self.prepare(operation, arguments)
        await self.authorize_ids(call)
        seconds = QUICK_SECONDS if operation.hints.read_only else READ_SECONDS
        return (await self.request(operation, call.parts, read_seconds=seconds)).value

    async def call_as(self, kind: type[T], name: str, /, **arguments: Any) -> T:
        """Execute an operation as `call` does, and parse its value as a model, or a list or dict of models.

        Raises:
            UnexpectedResponse: the value is another; and what `call` raises.
        """
        return as_model(f"the response of {name}", kind, await self.call(name, **arguments))

    def prepare(self, operation: Operation, arguments: Mapping[str, Any]) -> PreparedCall:
        """Validate arguments and split them into a request. Nothing is sent.

        Raises:
            InvalidArguments: they do not match the schema, or name a location outside of the allowlist.
        """
        validate(operation, arguments)
        self.allowlist.check(operation, arguments)
        if self.lacks_project:
            require_project(operation, arguments)
        return PreparedCall(operation, arguments, split(operation, arguments, self.directory))

    async def authorize(self, call: PreparedCall) -> None:
        """Refuse a call outside of the allowlist, or one that must not load the directory it names.

        Raises:
            InvalidArguments: names the argument.
            APIError: there is an allowlist, and a session is unknown.
        """
        if self.allowlist.roots:
            self.allowlist.refuse_everywhere(call.operation)
            await self.authorize_ids(call)
        await self.opening.check(call.operation, call.arguments, self.directory)

    async def authorize_ids(self, call: PreparedCall) -> None:
        """Refuse a call with an id whose directory is outside of the allowlist, if there is one.

        Raises:
            What `authorize` raises.
        """
        if self.allowlist.roots:
            await Authorization(self.allowlist, self._ask, self.directory).check(call.operation, call.arguments)

    async def _ask(self, name: str, /, **arguments: Any) -> Any:
        """Execute a read operation for a check, without checks of its own, and return its value."""
        operation = self.catalog[name]
        parts = split(operation, arguments, self.directory)
        return (await self.request(operation, parts, read_seconds=QUICK_SECONDS)).value

    async def request(
        self,
        operation: Operation,
        parts: RequestParts,
        *,
        read_seconds: float | None = READ_SECONDS,
        report: Report = silent,
    ) -> Answer:
        """Send one request and decode the response; with `read_seconds` None there is no time limit.

        A read is retried a few times after a connection error, a busy server or a timeout of a quick read;
        `Answer.retried` has the reasons. Everything else is sent once. All attempts end within the caller's deadline
        (`cancel_after`).

        Raises:
            RequestTimeout: no response within `read_seconds`, or before the caller's deadline.
            ServerStalled, ServerStartError, TransportError, APIError, UnexpectedResponse
        """
        report = self.report if report is silent else report
        reasons: list[str] = []
        for pause in self.retry_seconds if operation.hints.read_only else ():
            try:
                return replace(await self._send(operation, parts, read_seconds, report), retried=tuple(reasons))
            except (TransportError, APIError) as error:
                slow = isinstance(error, RequestTimeout) and read_seconds != QUICK_SECONDS
                if slow or isinstance(error, TLSError) or (isinstance(error, APIError) and error.status not in BUSY):
                    raise
                if isinstance(error, ServerStalled) and self.server.running() is not None:
                    raise
                if seconds_left() - LAST_SECONDS <= pause:
                    raise
                reasons.append(str(error))
            await report(f"retrying in {pause:g} s: {reasons[-1]}")
            await anyio.sleep(pause)
        return replace(await self._send(operation, parts, read_seconds, report), retried=tuple(reasons))

    async def endpoint_for(self, operation: Operation, report: Report = silent) -> Endpoint:
        """Return the server's endpoint, starting a managed server, after checking that its version has the operation.

        Raises:
            UnsupportedServer: the server has another major version, or is too old.
            ServerStartError, TransportError: it cannot be reached.
        """
        endpoint = await self.server.endpoint(report)
        get = partial(self.read_path, endpoint)
        await self._known.check(operation, self.oldest, endpoint, get, self.server.describe)
        return endpoint

    async def read_path(self, endpoint: Endpoint, path: str) -> httpx2.Response:
        """GET a path of the server and return the response, whatever its status.

        Raises:
            TransportError: there was no response.
        """
        timeout = httpx2.Timeout(QUICK_SECONDS, connect=CONNECT_SECONDS).as_dict()
        request = httpx2.Request(
            "GET", f"{endpoint.base}{path}", headers=self.http.headers, extensions={"timeout": timeout}
        )
        pass_on_trace(request)
        where = self.server.describe
        try:
            async with self.server.expected(self.report):
                return await self.http.send(request, auth=endpoint.auth)
        except httpx2.ReadTimeout as error:
            raise RequestTimeout(
                f"{where()} did not report its version within {QUICK_SECONDS:g} s; nothing was sent"
            ) from error
        except (httpx2.RequestError, OSError) as error:
            raise unreachable(where(), error) from error

    async def _send(
        self, operation: Operation, parts: RequestParts, read_seconds: float | None, report: Report
    ) -> Answer:
        """Send one request once, when OpenCode has room for it, within the caller's time limit.

        A request that waits for something else than OpenCode's work takes no room.
        """
        with anyio.CancelScope(deadline=anyio.current_time() + seconds_left() - LAST_SECONDS):
            endpoint = await self.endpoint_for(operation, report)
            request = self.build_request(operation, parts, endpoint)
            request.extensions["timeout"] = httpx2.Timeout(read_seconds, connect=CONNECT_SECONDS).as_dict()
            queue = self._turns if operation.execution_mode == "turn" else self._queue
            waits = "timeout_seconds" in parts.controls
            async with (
                nullcontext() if waits else queue.slot(self.caller, report),
                self.translated_errors(operation, read_seconds),
            ):
                note_before(self.server, operation, parts)
                async with self.server.expected(report):
                    response = await self.http.send(request, auth=endpoint.auth)
                answer = decode(operation, response)
                note_after(self.server, operation, parts, answer.value)
            return without_outside(self.allowlist, operation, answer) if self.allowlist.roots else answer
        raise RequestTimeout(
            f"{operation.name}: no response in time from {self.server.describe()}; the request may still take effect"
        )

    def event_stream(self) -> AbstractAsyncContextManager[httpx2.Response]:
        """Open the stream of all events."""
        operation = self.catalog["global_event"]
        return self.stream(operation, self.prepare(operation, {}).parts)

    @asynccontextmanager
    async def stream(
        self, operation: Operation, parts: RequestParts, report: Report = silent
    ) -> AsyncGenerator[httpx2.Response]:
        """Open a streaming response, without a read timeout; the caller reads its body.

        Raises:
            APIError, UnexpectedResponse: the response is not an event stream; its body has been read.
        """
        endpoint = await self.endpoint_for(operation, report)
        request = self.build_request(operation, parts, endpoint)
        request.headers["accept"] = "text/event-stream"
        request.extensions["timeout"] = httpx2.Timeout(None, connect=CONNECT_SECONDS).as_dict()
        async with self.translated_errors(operation, None):
            response = await self.http.send(request, auth=endpoint.auth, stream=True)
            try:
                if response.headers.get("content-type", "").partition(";")[0] != "text/event-stream":
                    await response.aread()
                    decode(operation, response)
                yield response
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()

    def build_request(self, operation: Operation, parts: RequestParts, endpoint: Endpoint) -> httpx2.Request:
        """Build the HTTP request; with an OpenTelemetry SDK it carries the trace that the call belongs to.

        Raises:
            InvalidArguments: the final URL is not on the operation's route.
        """
        query = f"?{httpx2.QueryParams(parts.query)}" if parts.query else ""
        url = httpx2.URL(f"{endpoint.base}{parts.path}{query}")
        sent = str(url).removeprefix(endpoint.base).partition("?")[0]
        if url.host != endpoint.url.host or not is_on_route(operation, sent):
            raise InvalidArguments(operation.name, [f"the path {sent!r} leaves the route {operation.path}"])
        # Not http.build_request: it parses the URL several times, which takes longer than OpenCode's response.
        content, content_headers = encoded(operation, parts.body)
        request = httpx2.Request(
            operation.method,
            url,
            content=content,
            headers={**self.http.headers, **parts.headers, **operation.headers, **content_headers},
        )
        pass_on_trace(request)
        return request

    @asynccontextmanager
    async def translated_errors(self, operation: Operation, read_seconds: float | None) -> AsyncGenerator[None]:
        """Map transport exceptions to this package's, in one place; `instrument` sees the mapped ones."""
        where = self.server.describe
        with self._observe(operation):
            try:
                yield
            except APIError as error:
                if error.status < 500 or error.advice or not (lacking := self.server.shortage()):
                    raise
                raise error.advised(lacking) from error
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                raise unreachable(where(), error) from error
            except httpx2.TimeoutException as error:
                raise RequestTimeout(
                    f"{operation.name}: no response within {read_seconds:g} s from {where()}; the "
                    "request may still take effect"
                    if read_seconds is not None
                    else f"{operation.name}: no response in time from {where()} ({type(error).__name__})"
                ) from error
            except (httpx2.RequestError, OSError) as error:  # an error of TLS comes as it is
                reason = str(error) or type(error).__name__
                raise TransportError(
                    f"the connection to {where()} was lost during {operation.name} ({reason}); the "
                    "request may have taken effect"
                ) from error


def unreachable(where: str, error: Exception) -> TransportError:
    """Return the error for a failed connection, with its cause if known."""
    if problem := tls_problem(error):
        return TLSError(f"TLS with {where} failed: {problem}")
    lacking = cause_of_error(error)
    return TransportError(
        f"{where} is not reachable ({error or type(error).__name__})" + (f"\n{lacking}" if lacking else "")
    )


def http_client(server: OpenCodeServer, transport: httpx2.AsyncBaseTransport | None) -> httpx2.AsyncClient:
    """Return the HTTP client for a server."""
    running = server.running()
    secured = running is not None and running.url.scheme == "https"
    # trust_env would send loopback traffic to a proxy, and read credentials from ~/.netrc. Without TLS the certificates
    # are not loaded, which takes longer than the rest.
    return httpx2.AsyncClient(
        transport=transport,
        verify=trusting(running.ca_file) if running is not None and secured else False,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        # Idle connections cost time: each request checks all of them.
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=16),
    )
