"""The fake OpenCode 2 as an HTTP server: passwords, states of the process, the contract, streams."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any

import anyio
import httpx2
import uvicorn
from anyio.abc import TaskGroup
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from examples.scripted_model import GuestServer
from opencode_mcp.openapi.snapshots import read_snapshot
from tests.contract_server import ContractServer, Route, unquoted

from .calls import OperationCall, OperationError
from .engine import Engine, Options
from .events import Events, connected_event, logged_items
from .operations import OPERATIONS, STREAMS
from .project import fault_of_directory
from .store import Json, Session, Store

USER = "opencode"
PASSWORD = "fake-password"
WEB_PAGE = "<!doctype html><title>OpenCode</title>"
UNAUTHORIZED: Json = {"_tag": "UnauthorizedError", "message": "Unauthorized"}
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
HEARTBEAT_SECONDS = 15.0
STATUS_OF_STATE = {"starting": 503, "stopping": 503, "failed": 500}


@dataclass(eq=False)
class FakeOpenCode2:
    """A process of OpenCode 2 and its database.

    `state` is `ready`, or what a request gets instead of an answer. `contract` notes each request and its faults.
    `not_played` are the operations that were requested and that the fake does not play. `answer_faults` are answers
    that did not fit the document, which the client got as 500.
    """

    options: Options
    store: Store
    tasks: TaskGroup
    password: str = PASSWORD
    state: str = "ready"
    default_directory: str = "/"
    contract: ContractServer = field(default_factory=lambda: ContractServer(2))
    not_played: list[str] = field(default_factory=list[str])
    answer_faults: list[str] = field(default_factory=list[str])
    url: str = ""

    def __post_init__(self) -> None:
        self.began, self.stopping, self.gone = anyio.Event(), anyio.Event(), anyio.Event()
        self.tasks.start_soon(self.run_process)

    async def run_process(self) -> None:
        """Run a process until it is stopped: all that it runs ends, without a record."""
        self.stopping, self.gone = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            self.engine = Engine(self.store, Events(self.contract.contract), tasks, self.options)
            self.began.set()
            await self.stopping.wait()
            self.engine.ended = True
            self.engine.events.cut_all()
            tasks.cancel_scope.cancel()
        self.gone.set()

    async def restart(self, state: str = "ready") -> None:
        """End the process at once, and start another one on the same database.

        Facts, process: a plain server resumes no turn. Facts, running: there is no idle message of the old turn.
        """
        self.stopping.set()
        await self.gone.wait()
        self.state, self.began = state, anyio.Event()
        self.tasks.start_soon(self.run_process)
        await self.began.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        received = Request(scope, receive)
        content = await received.body()
        headers = {name: value for name, value in received.headers.items() if name != "content-length"}
        request = httpx2.Request(received.method, str(received.url), headers=headers, content=content or None)
        response = await self.respond(request)
        await response(scope, receive, send)

    async def respond(self, request: httpx2.Request) -> Response:
        """Answer a request. Facts, ten lines: the web page for every path that is not the API's, without a password."""
        path = request.url.path
        found = self.contract.find_route(request)
        if found is None and path != "/openapi.json":
            return HTMLResponse(WEB_PAGE)
        if not self.is_authorized(request):
            return JSONResponse(UNAUTHORIZED, 401, {"www-authenticate": 'Basic realm="Secure Area"'})
        if self.state != "ready":
            return self.not_ready(path)
        if found is None:
            return Response(read_snapshot(2), media_type="application/json")
        route, values = found
        request = without_token(request)
        if faults := self.contract.note_faults(route, values, request):
            return JSONResponse({"_tag": "InvalidRequestError", "message": "; ".join(faults)}, 400)
        call = self.make_call(values, request)
        try:
            if route.id in STREAMS:
                return self.open_stream(route, call)
            return await self.play(route, call)
        except OperationError as error:
            return self.checked(route, error.status, error.body)

    def is_authorized(self, request: httpx2.Request) -> bool:
        """Whether a request has the password. Facts, process: the user name is fixed."""
        expected = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        token = request.url.params.get("auth_token")
        return expected == token or request.headers.get("authorization") == f"Basic {expected}"

    def not_ready(self, path: str) -> Response:
        """Answer while the process boots or stops. Facts, process: the same body, /api/info has a status of its own."""
        status = STATUS_OF_STATE[self.state] if path == "/api/info" else 503
        return JSONResponse({"code": f"service_{self.state}"}, status, {"retry-after": "1"})

    def make_call(self, values: Mapping[str, str], request: httpx2.Request) -> OperationCall:
        """Return a request as the operations take it. Facts, location: the query wins over the header."""
        query = dict(request.url.params)
        header = request.headers.get("x-opencode-directory")
        fallback = unquoted(header) if header else self.default_directory
        body: Json = json.loads(request.content) if request.content else {}
        directory = query.get("location[directory]", fallback if fallback.startswith("/") else f"/{fallback}")
        path = {name: unquoted(value) for name, value in values.items()}
        if request.url.path.startswith("/api/fs/read/"):
            path["path"] = request.url.path.removeprefix("/api/fs/read/")
        return OperationCall(self.engine, path, query, body, directory)

    async def play(self, route: Route, call: OperationCall) -> Response:
        """Do what a request wants, and hold the answer to the document."""
        handler = OPERATIONS.get(route.id)
        if handler is None:
            self.not_played.append(route.id)
            return JSONResponse({"_tag": "UnknownError", "message": f"the fake does not play {route.id}"}, 500)
        self.check_location(route, call)
        result = handler(call)
        if isawaitable(result):
            result = await self.unless_stopped(result)
            if self.stopping.is_set():
                return JSONResponse({"code": "service_stopping"}, 503, {"retry-after": "1"})
        if isinstance(result, bytes):
            return Response(result, media_type="application/octet-stream")
        return self.checked(route, 204 if result is None else 200, result)

    def check_location(self, route: Route, call: OperationCall) -> None:
        """Refuse a directory that is not there, where the document has an error for that.

        Raises:
            OperationError: the location of the request, or that of its session, does not exist.
        """
        declared = "LocationNotFoundError" in json.dumps(route.operation["responses"].get("404", {}))
        session = self.store.sessions.get(call.values.get("sessionID", ""))
        directory = session.directory if session else call.query.get("location[directory]")
        if declared and directory is not None and (fault := fault_of_directory(directory)):
            raise OperationError(404, "LocationNotFoundError", fault, location={"directory": directory})

    async def unless_stopped(self, work: Any) -> Any:
        """Return the result of work, or None when the process ends before that."""
        result: Any = None
        failure: OperationError | None = None
        async with anyio.create_task_group() as tasks:

            async def stop() -> None:
                await self.stopping.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(stop)
            try:
                result = await work
            except OperationError as error:
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return result

    def checked(self, route: Route, status: int, value: Any) -> Response:
        """Return an answer that the document allows."""
        responses: Json = route.operation["responses"]
        declared: Json | None = responses.get(str(status))
        if declared is None:
            return self.refuse_answer(f"{route.id}: {status} is not declared")
        if status == 204:
            return Response(status_code=204)
        value = json.loads(json.dumps(value))
        schema: Json = declared["content"]["application/json"]["schema"]
        faults = [*self.contract.schema_faults(f"{route.id}: answer", value, schema)]
        return self.refuse_answer(*faults) if faults else JSONResponse(value, status)

    def refuse_answer(self, *faults: str) -> Response:
        """Note that the fake's own answer breaks the contract."""
        self.answer_faults += faults
        return JSONResponse({"_tag": "UnknownError", "message": "; ".join(faults)}, 500)

    def open_stream(self, route: Route, call: OperationCall) -> Response:
        """Open the events of the process or the log of a session."""
        frames = self.iter_events() if route.id == "event.subscribe" else self.iter_log(call, call.session)
        return StreamingResponse(frames, media_type="text/event-stream", headers=STREAM_HEADERS)

    async def iter_events(self) -> AsyncIterator[str]:
        """Yield the frames of the event stream. Facts, events: first that it is connected, then what happens."""
        with self.engine.events.subscribe() as events:
            yield frame(connected_event())
            async for text in frames_with_heartbeat(events):
                yield text

    async def iter_log(self, call: OperationCall, session: Session) -> AsyncIterator[str]:
        """Yield the frames of a session's log. Facts, events: what is stored, `log.synced`, then live ones."""
        with self.engine.events.subscribe(session.id) as events:
            for item in [*logged_items(session, call.number("after", 0))]:
                yield frame(item)
            if call.query.get("follow") == "true":
                async for text in frames_with_heartbeat(events):
                    yield text


def without_token(request: httpx2.Request) -> httpx2.Request:
    """Return a request without the password in its query. Facts, process: every operation takes it there."""
    url = request.url.copy_remove_param("auth_token") if "auth_token" in request.url.params else request.url
    return httpx2.Request(request.method, url, headers=request.headers, content=request.content or None)


async def frames_with_heartbeat(events: Any) -> AsyncIterator[str]:
    """Yield a frame for each event, and a comment when there was none for long."""
    while True:
        event: Json | None = None
        with anyio.move_on_after(HEARTBEAT_SECONDS):
            try:
                event = await events.receive()
            except anyio.EndOfStream:
                return
        yield frame(event) if event is not None else ": heartbeat\n\n"


def frame(event: Json) -> str:
    """Return a frame. Facts, events: neither `event:` nor `id:`."""
    return f"data: {json.dumps(event)}\n\n"


@asynccontextmanager
async def open_opencode2(
    options: Options, store: Store | None = None, port: int = 0, **fields: Any
) -> AsyncGenerator[FakeOpenCode2]:
    """Serve a fake OpenCode 2 on 127.0.0.1; with the `store` of an earlier one it has that one's sessions."""
    listener = socket.create_server(("127.0.0.1", port))
    async with anyio.create_task_group() as tasks:
        fake = FakeOpenCode2(options, store or Store(), tasks, **fields)
        fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await fake.began.wait()
        config = uvicorn.Config(fake, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = GuestServer(config)
        tasks.start_soon(server.serve, [listener])
        try:
            yield fake
        finally:
            fake.stopping.set()
            server.should_exit = True
