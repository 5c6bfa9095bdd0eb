"""The async client: prepare (validate, split) -> authorize -> build_request -> send -> decode -> Answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from copy import copy
from dataclasses import replace
from functools import cache, partial
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack
from weakref import WeakValueDictionary

import anyio
import httpx2

from opencode_mcp.catalog import Catalog, Operation
from opencode_mcp.exceptions import APIError, InvalidArguments, RequestTimeout, ServerStalled, TLSError, TransportError
from opencode_mcp.opencode.process.liveness import mark_finished, mark_started

from .allowlist import DirectoryAllowlist
from .authorize import IdAuthorizer, filter_sessions
from .deadline import seconds_left
from .endpoint import Endpoint, OpenCodeServer, ProgressCallback, ignore_progress
from .event_readers import READERS
from .events import SILENCE_SECONDS, EventFeed
from .expected_generation import ExpectedGeneration
from .limiter import BridgeLimiters
from .load_guard import LoadGuard, LoadPolicy
from .models import parse_model
from .prepare import PreparedCall, RequestParts, is_on_route, require_project, split_arguments, validate
from .prompt_policy import PromptPolicy
from .request_body import encode_body
from .responses import Answer, decode_response
from .shared_reads import SharedReads
from .transport import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Observe,
    create_http_client,
    inject_trace_context,
    map_transport_errors,
    parse_url,
    unreachable_error,
)
from .version_check import VersionCheck

T = TypeVar("T")

QUICK_READ_SECONDS = 20.0
"""For read operations of task tools: they are quick, so a longer wait means a half-open connection."""
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0)
"""Pauses before a read is sent again."""
DEADLINE_MARGIN_SECONDS = 0.1
"""A request fails this long before the caller's deadline, so that the caller receives an error."""
RETRIED_STATUSES = frozenset({429, 502, 503, 504})
"""Statuses after which a read is sent again."""


class CallOptions(TypedDict, total=False):
    """The options of a client that `with_options` replaces.

    The limiter serves the `caller`s in turn while OpenCode is busy. `report_progress` is the default of requests.
    `directory` is the project. Requests to a server that is older than `min_version` fail, and are not sent.
    `retry_seconds` are the pauses before a read is sent again; empty for a single attempt.
    """

    caller: Hashable
    report_progress: ProgressCallback
    directory: str | None
    lacks_project: bool
    min_version: str | None
    retry_seconds: tuple[float, ...]


class OpenCodeClient:
    """Calls the operations of an OpenCode server. An async context manager; safe for concurrent use.

    `directory` is the default for operations that take one; arguments outside of `allowlist` are refused; `load_policy`
    decides which operations may load a directory. With `lacks_project`, operations that need a directory and were given
    none are refused. `events` is the server's event stream, shared by all listeners. `caller` is the key by which the
    limiter is fair. `observe` returns a context manager that is entered for each request, up to the end of the
    response, and receives its error. `environ` is the environment of git, which the bridge runs itself. `prompt_policy`
    bounds the prompts of tasks. `expected` says what becomes of a server of another generation than the catalog's.
    `shared_reads` has what many callers ask for.
    """

    def __init__(
        self,
        server: OpenCodeServer,
        catalog: Catalog,
        directory: str | None = None,
        allowlist: DirectoryAllowlist = DirectoryAllowlist(),  # noqa: B008 - frozen
        transport: httpx2.AsyncBaseTransport | None = None,
        lacks_project: bool = False,
        load_policy: LoadPolicy = "all",
        environ: Mapping[str, str] = MappingProxyType({}),
        observe: Observe = nullcontext,
        prompt_policy: PromptPolicy = PromptPolicy(),  # noqa: B008 - frozen
        expected: ExpectedGeneration | None = None,
    ) -> None:
        self.server = server
        self.prompt_policy = prompt_policy
        self.environ = environ
        self.catalog = catalog
        self.directory = directory
        self.lacks_project = lacks_project
        self.allowlist = allowlist
        self.load_guard = LoadGuard(load_policy, allowlist, self._call_unchecked)
        self._http = cache(partial(create_http_client, server, transport))
        self._default_headers = cache(lambda: dict(self._http().headers))
        self.caller: Hashable = None
        self.report_progress: ProgressCallback = ignore_progress
        self.observe = observe
        self.retry_seconds: tuple[float, ...] = RETRY_SECONDS
        self.min_version: str | None = None
        self.expected = expected or ExpectedGeneration(catalog.generation)
        self._version_check = VersionCheck(self.expected)
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self.shared_reads = SharedReads()
        self._limiters = BridgeLimiters(server)
        self._tasks = anyio.create_task_group()
        self.events = EventFeed(self.event_stream, self._tasks, READERS[catalog.generation.number])

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
    def waiting_count(self) -> int:
        """The number of requests that wait for a free slot."""
        return self._limiters.waiting_count + self._version_check.waiting_count

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return this client with other options. Connections, limiters and events are shared."""
        other = copy(self)
        vars(other).update(options)
        return other

    def session_lock(self, session_id: str) -> anyio.Lock:
        """Return the lock that serializes changes to a session."""
        return self._locks.setdefault(session_id, anyio.Lock())

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Execute an operation that is a single request, by its tool name, and return the value of its response.

        Raises:
            InvalidArguments, ServerStartError, TransportError, APIError, UnexpectedResponse
            UnsupportedServer: this generation of OpenCode does not have the operation.
        """
        operation = self.catalog.find_needed(name)
        call = self.prepare(operation, arguments)
        await self.authorize_ids(call)
        seconds = QUICK_READ_SECONDS if operation.hints.read_only else READ_SECONDS
        return (await self.request(operation, call.parts, read_seconds=seconds)).value

    async def call_as(self, kind: type[T], name: str, /, **arguments: Any) -> T:
        """Execute an operation as `call` does, and parse its value as a model, or a list or dict of models.

        Raises:
            UnexpectedResponse: the value is another; and what `call` raises.
        """
        return parse_model(f"the response of {name}", kind, await self.call(name, **arguments))

    def prepare(self, operation: Operation, arguments: Mapping[str, Any], lenient: bool = False) -> PreparedCall:
        """Validate arguments and split them into a request. Nothing is sent.

        Of a tool call (`lenient`), slips with only one meaning are coerced.

        Raises:
            InvalidArguments: they do not match the schema, or name a location outside of the allowlist.
        """
        arguments = validate(operation, arguments, lenient)
        self.allowlist.check_arguments(operation, arguments)
        if self.lacks_project:
            require_project(operation, arguments)
        return PreparedCall(operation, arguments, split_arguments(operation, arguments, self.directory))

    async def authorize(self, call: PreparedCall) -> None:
        """Refuse a call outside of the allowlist, or one that must not load the directory it names.

        Raises:
            InvalidArguments: names the argument.
            APIError: there is an allowlist, and a session is unknown.
        """
        if self.allowlist.roots:
            self.allowlist.check_scope(call.operation)
            await self.authorize_ids(call)
        await self.load_guard.check(call.operation, call.arguments, self.directory)

    async def authorize_ids(self, call: PreparedCall) -> None:
        """Refuse a call with an id whose directory is outside of the allowlist, if there is one.

        Raises:
            What `authorize` raises.
        """
        if self.allowlist.roots:
            await IdAuthorizer(self.allowlist, self._call_unchecked, self.directory).check(
                call.operation, call.arguments
            )

    async def _call_unchecked(self, name: str, /, **arguments: Any) -> Any:
        """Execute a read operation for a check, without checks of its own, and return its value."""
        operation = self.catalog[name]
        parts = split_arguments(operation, arguments, self.directory)
        return (await self.request(operation, parts, read_seconds=QUICK_READ_SECONDS)).value

    async def request(
        self,
        operation: Operation,
        parts: RequestParts,
        *,
        read_seconds: float | None = READ_SECONDS,
        report_progress: ProgressCallback = ignore_progress,
    ) -> Answer:
        """Send one request and decode the response; with `read_seconds` None there is no time limit.

        A read is retried a few times after a connection error, a busy server or a timeout of a quick read;
        `Answer.retried` has the reasons. Everything else is sent once. All attempts end within the caller's deadline
        (`cancel_after`).

        Raises:
            RequestTimeout: no response within `read_seconds`, or before the caller's deadline.
            ServerStalled, ServerStartError, TransportError, APIError, UnexpectedResponse
        """
        report_progress = self.report_progress if report_progress is ignore_progress else report_progress
        reasons: list[str] = []
        for pause in self.retry_seconds if operation.hints.read_only else ():
            try:
                answer = await self._send(operation, parts, read_seconds, report_progress)
                return replace(answer, retried=tuple(reasons)) if reasons else answer
            except (TransportError, APIError) as error:
                if not self._may_retry(error, read_seconds) or seconds_left() - DEADLINE_MARGIN_SECONDS <= pause:
                    raise
                reasons.append(str(error))
            await report_progress(f"retrying in {pause:g} s: {reasons[-1]}")
            await anyio.sleep(pause)
        return replace(await self._send(operation, parts, read_seconds, report_progress), retried=tuple(reasons))

    def _may_retry(self, error: TransportError | APIError, read_seconds: float | None) -> bool:
        """Whether a read that failed with this error is worth another attempt."""
        match error:
            case APIError():
                return error.status in RETRIED_STATUSES
            case RequestTimeout():
                return read_seconds == QUICK_READ_SECONDS
            case ServerStalled():
                return self.server.current_endpoint() is None  # it was killed: the next attempt starts another one
            case _:
                return not isinstance(error, TLSError)

    async def endpoint_for(self, operation: Operation, report_progress: ProgressCallback = ignore_progress) -> Endpoint:
        """Return the server's endpoint, starting a managed server, after checking that its version has the operation.

        Raises:
            UnsupportedServer: the server has another major version, or is too old.
            ServerStartError, TransportError: it cannot be reached.
        """
        endpoint = await self.server.endpoint(report_progress)
        get = partial(self.fetch_path, endpoint)
        await self._version_check.check(operation, self.min_version, endpoint, get, self.server.describe)
        return endpoint

    async def find_generation(self) -> None:
        """Note the generation of the server, which is started if it is a managed one.

        Raises:
            ServerStartError, TransportError: it cannot be reached.
        """
        endpoint = await self.server.endpoint()
        await self._version_check.find(endpoint, partial(self.fetch_path, endpoint))

    async def fetch_path(self, endpoint: Endpoint, path: str) -> httpx2.Response:
        """GET a path of the server and return the response, whatever its status.

        Raises:
            TransportError: there was no response.
        """
        timeout = httpx2.Timeout(QUICK_READ_SECONDS, connect=CONNECT_SECONDS).as_dict()
        request = httpx2.Request(
            "GET", f"{endpoint.base_url}{path}", headers=self.http.headers, extensions={"timeout": timeout}
        )
        inject_trace_context(request)
        describe = self.server.describe
        try:
            async with self.server.track_request(self.report_progress):
                return await self.http.send(request, auth=endpoint.auth)
        except httpx2.ReadTimeout as error:
            raise RequestTimeout(
                f"{describe()} did not report its version within {QUICK_READ_SECONDS:g} s; nothing was sent"
            ) from error
        except (httpx2.RequestError, OSError) as error:
            raise unreachable_error(describe(), error) from error

    async def _send(
        self, operation: Operation, parts: RequestParts, read_seconds: float | None, report_progress: ProgressCallback
    ) -> Answer:
        """Send one request once, when the limiter has a slot for it, within the caller's time limit.

        A long poll, which waits for an event or a person, takes no slot of the limiter.
        """
        with anyio.CancelScope(deadline=anyio.current_time() + seconds_left() - DEADLINE_MARGIN_SECONDS):
            endpoint = await self.endpoint_for(operation, report_progress)
            request = self.build_request(operation, parts, endpoint)
            request.extensions["timeout"] = httpx2.Timeout(read_seconds, connect=CONNECT_SECONDS).as_dict()
            is_prompt = operation.execution_mode == "blocking"
            limiter = self._limiters.prompts if is_prompt else self._limiters.requests
            is_long_poll = "timeout_seconds" in parts.controls
            async with nullcontext() if is_long_poll else limiter.slot(self.caller, report_progress):
                with map_transport_errors(operation, self.server, self.observe, read_seconds):
                    mark_started(self.server, operation, parts)
                    async with self.server.track_request(report_progress):
                        response = await self.http.send(request, auth=endpoint.auth)
                    answer = decode_response(operation, response)
                    mark_finished(self.server, operation, parts, answer.value)
            return filter_sessions(self.allowlist, operation, answer) if self.allowlist.roots else answer
        raise RequestTimeout(
            f"{operation.name}: no response in time from {self.server.describe()}; the request may still take effect"
        )

    def event_stream(self) -> AbstractAsyncContextManager[httpx2.Response]:
        """Open the stream of all events; a read fails after SILENCE_SECONDS without a byte."""
        operation = self.catalog[self.catalog.generation.event_stream]
        return self.stream(operation, self.prepare(operation, {}).parts, read_seconds=SILENCE_SECONDS)

    @asynccontextmanager
    async def stream(
        self,
        operation: Operation,
        parts: RequestParts,
        report_progress: ProgressCallback = ignore_progress,
        read_seconds: float | None = None,
    ) -> AsyncGenerator[httpx2.Response]:
        """Open a streaming response; the caller reads its body, each byte within `read_seconds` after the last one.

        Raises:
            APIError, UnexpectedResponse: the response is not an event stream; its body has been read.
            TransportError: the connection was lost, or silent for too long.
        """
        endpoint = await self.endpoint_for(operation, report_progress)
        request = self.build_request(operation, parts, endpoint)
        request.headers["accept"] = "text/event-stream"
        request.extensions["timeout"] = httpx2.Timeout(read_seconds, connect=CONNECT_SECONDS).as_dict()
        with map_transport_errors(operation, self.server, self.observe):
            response = await self.http.send(request, auth=endpoint.auth, stream=True)
            try:
                if response.headers.get("content-type", "").partition(";")[0] != "text/event-stream":
                    await response.aread()
                    decode_response(operation, response)
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
        url = parse_url(f"{endpoint.base_url}{parts.path}{query}")
        sent_path = str(url).removeprefix(endpoint.base_url).partition("?")[0]
        if url.host != endpoint.url.host or not is_on_route(operation, sent_path):
            raise InvalidArguments(operation.name, [f"the path {sent_path!r} leaves the route {operation.path}"])
        # Not http.build_request: it parses the URL several times, which takes longer than OpenCode's response.
        content, content_headers = encode_body(operation, parts.body)
        headers = {**self._default_headers(), **parts.headers, **operation.headers, **content_headers}
        request = httpx2.Request(operation.method, url, content=content, headers=headers)
        inject_trace_context(request)
        return request
