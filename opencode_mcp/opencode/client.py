"""The async client: prepare (validate, split) -> authorize -> build_request -> send -> decode -> Answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
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
"""For an operation that does not wait for a model; `mcp.add` alone may take 30 s."""
QUICK_SECONDS = 20.0
"""For the reads of workflows, which are quick on any server that lives: the connection may be half open."""
AT_ONCE = 32
"""More at once make 1.18.33 no faster, and its memory grows with them."""
TURNS_AT_ONCE = 32
"""Turns of the model: 500 at once keep it from answering anything else for 17 s."""
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0)
"""Pauses before a read is sent again."""
LAST_SECONDS = 0.1
"""So long before the caller's time limit a request is given up: the caller then has an error, not just no time."""
BUSY = frozenset({429, 502, 503, 504})
"""Answers that may be others in a moment."""


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

    `directory` is sent with every operation that takes one and was given none; what lies outside of `allowlist`
    is refused, and directories are opened by `openers` only. One that `lacks_project` refuses operations that need
    a directory and were given none. `events` is the server's event stream, shared by all who listen. `caller` is
    whose calls wait for one another when there are more than OpenCode is asked at once. `observe` is entered for
    each exchange with OpenCode, from what is sent to the end of what comes, and sees the error that it ends with.
    `environ` is the environment of programs that the bridge runs itself, which is git alone.
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
        self.events = EventFeed(self, self._tasks)

    @property
    def http(self) -> httpx2.AsyncClient:
        """The HTTP client, made by the first request: what it imports would take a share of the start."""
        return self._http()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        try:
            # The block's error is not the task group's: handed in, it would come out in an exception group.
            await self._tasks.__aexit__(None, None, None)
        finally:
            if self._http.cache_info().currsize:
                await self.http.aclose()

    @property
    def waiting(self) -> int:
        """How many requests wait until OpenCode has answered others."""
        return self._queue.waiting + self._turns.waiting + self._known.waiting

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return this client with other options. Connections, queues and events are shared."""
        other = copy(self)
        vars(other).update(options)
        return other

    def alone(self, session_id: str) -> anyio.Lock:
        """Return the lock of a session, for what may be done with it by one caller at a time."""
        return self._locks.setdefault(session_id, anyio.Lock())

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Carry out one request-and-answer operation by its tool name and return the value of its answer.

        Raises:
            InvalidArguments, ServerStartError, TransportError, APIError, UnexpectedResponse
        """
        operation = self.catalog[name]
        call = self.prepare(operation, arguments)
        await self.authorize_ids(call)
        seconds = QUICK_SECONDS if operation.hints.read_only else READ_SECONDS
        return (await self.request(operation, call.parts, read_seconds=seconds)).value

    async def call_as(self, kind: type[T], name: str, /, **arguments: Any) -> T:
        """Carry out an operation as `call` does, and return its value as a model, or a list or dict of models.

        Raises:
            UnexpectedResponse: the value is another; and what `call` raises.
        """
        return as_model(f"the response of {name}", kind, await self.call(name, **arguments))

    def prepare(self, operation: Operation, arguments: Mapping[str, Any]) -> PreparedCall:
        """Validate arguments and split them into a request. Nothing is sent.

        Raises:
            InvalidArguments: they do not fit the schema, or name a place outside of the allowlist.
        """
        validate(operation, arguments)
        self.allowlist.check(operation, arguments)
        if self.lacks_project:
            require_project(operation, arguments)
        return PreparedCall(operation, arguments, split(operation, arguments, self.directory))

    async def authorize(self, call: PreparedCall) -> None:
        """Refuse a call that reaches outside of the allowlist, or that may not open the directory it names.

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
        """Carry out a read that a check needs, and return the value of its answer."""
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
        """Send one request and decode the answer; `read_seconds` None waits for ever.

        A read that found no connection, lost it, met a busy server, or was to be quick and was not, is sent
        again a few times, which the answer tells. Anything else is sent once. All of it ends within the caller's
        time limit (`limited`).

        Raises:
            RequestTimeout: no answer within `read_seconds`, or within the caller's time limit.
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
        """Return the address of the server, started if that is ours to do, once it is known to have an operation.

        Raises:
            UnsupportedServer: it is of another generation, or too old.
            ServerStartError, TransportError: it cannot be reached.
        """
        endpoint = await self.server.endpoint(report)
        get = partial(self.read_path, endpoint)
        await self._known.check(operation, self.oldest, endpoint, get, self.server.describe)
        return endpoint

    async def read_path(self, endpoint: Endpoint, path: str) -> httpx2.Response:
        """Read what a path of the server gives, whatever that is.

        Raises:
            TransportError: it gives no answer.
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
            queue = self._turns if operation.exchange == "turn" else self._queue
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

    @asynccontextmanager
    async def stream(
        self, operation: Operation, parts: RequestParts, report: Report = silent
    ) -> AsyncGenerator[httpx2.Response]:
        """Open a response whose body is read by the caller, with no time limit on reading.

        Raises:
            APIError, UnexpectedResponse: it is no stream of events; the body has then been read.
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
            InvalidArguments: the final URL does not lie on the operation's own route.
        """
        query = f"?{httpx2.QueryParams(parts.query)}" if parts.query else ""
        url = httpx2.URL(f"{endpoint.base}{parts.path}{query}")
        sent = str(url).removeprefix(endpoint.base).partition("?")[0]
        if url.host != endpoint.url.host or not is_on_route(operation, sent):
            raise InvalidArguments(operation.name, [f"the path {sent!r} leaves the route {operation.path}"])
        # Not http.build_request, which takes a URL apart again and again: it takes longer than OpenCode does.
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
        """Map the transport's exceptions to ours, in one place, for whoever observes as well."""
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
    """Return the error for an OpenCode that there is no connection to, with the cause as far as it is known."""
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
    # trust_env would send a loopback server's traffic to a proxy, and look for credentials in ~/.netrc.
    # Where there is no TLS, what would verify it is not loaded: that takes longer than the rest.
    return httpx2.AsyncClient(
        transport=transport,
        verify=trusting(running.ca_file) if running is not None and secured else False,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        # An idle one costs: all of them are looked at before each request.
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=16),
    )
