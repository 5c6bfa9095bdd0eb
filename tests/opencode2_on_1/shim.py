"""An HTTP server that a bridge takes for an OpenCode 2, in front of a real OpenCode 1.18.33."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf

import anyio
import httpx2
import uvicorn
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from examples.scripted_model import GuestServer
from opencode_mcp.openapi.snapshots import read_snapshot
from opencode_mcp.opencode import Endpoint
from tests.contract_server import ContractServer, Route, unquoted
from tests.opencode2.fake import STREAM_HEADERS, WEB_PAGE, frame
from tests.opencode2.store import Json

from .events import Executions, iter_upstream
from .operations import OPERATIONS, ShimCall
from .upstream import NotInVersion1, Upstream, UpstreamError

POLL_SECONDS, QUIET_POLL_SECONDS = 0.2, 1.0
"""How often it is looked which sessions run, while one does: after an event, and without one."""


@dataclass(eq=False)
class Shim:
    """Answers requests of the contract of OpenCode 2 with what 1.18.33 answers to its own.

    `contract` notes each request and its faults, `answer_faults` the answers and events that do not fit the document.
    `missing` is what was needed and 1.18.33 does not have; that is 501.
    """

    upstream: Upstream
    tasks: TaskGroup
    contract: ContractServer = field(default_factory=lambda: ContractServer(2))
    answer_faults: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])
    url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        received = Request(scope, receive)
        content = await received.body()
        headers = {name: value for name, value in received.headers.items() if name != "content-length"}
        request = httpx2.Request(received.method, str(received.url), headers=headers, content=content or None)
        response = await self.respond(request)
        await response(scope, receive, send)

    async def respond(self, request: httpx2.Request) -> Response:
        """Answer a request."""
        if request.url.path == "/openapi.json":
            return Response(read_snapshot(2), media_type="application/json")
        found = self.contract.find_route(request)
        if found is None:
            return HTMLResponse(WEB_PAGE)
        route, values = found
        if faults := self.contract.note_faults(route, values, request):
            return JSONResponse({"_tag": "InvalidRequestError", "message": "; ".join(faults)}, 400)
        if route.id == "event.subscribe":
            return StreamingResponse(self.iter_frames(), media_type="text/event-stream", headers=STREAM_HEADERS)
        try:
            return await self.play(route, self.make_call(values, request))
        except NotInVersion1 as reason:
            self.missing.append(f"{route.id}: {reason}")
            return JSONResponse({"_tag": "NotImplementedError", "message": f"1.18.33 lacks {reason}"}, 501)
        except UpstreamError as error:
            return JSONResponse(error.body, error.status)

    def make_call(self, values: Mapping[str, str], request: httpx2.Request) -> ShimCall:
        """Return a request as the operations take it; a location in the header becomes one in the query."""
        query = dict(request.url.params)
        header = request.headers.get("x-opencode-directory")
        directory = query.get("location[directory]", unquoted(header).removeprefix("/") if header else "")
        path = {name: unquoted(value) for name, value in values.items()}
        body: Json = json.loads(request.content) if request.content else {}
        raw_path = request.url.raw_path.partition(b"?")[0].decode()
        return ShimCall(self.upstream, raw_path, path, query, body, f"/{directory.removeprefix('/')}")

    async def play(self, route: Route, call: ShimCall) -> Response:
        """Ask 1.18.33, and hold the answer to the document.

        Raises:
            NotInVersion1: it has no such thing.
            UpstreamError: it refused.
        """
        if route.id not in OPERATIONS:
            raise NotInVersion1("it")
        result = await OPERATIONS[route.id](call)
        if isinstance(result, bytes):
            return Response(result, media_type="application/octet-stream")
        responses: Json = route.operation["responses"]
        if result is None:
            return Response(status_code=204) if "204" in responses else self.refuse(f"{route.id}: no answer")
        value = json.loads(json.dumps(result))
        schema: Json = responses["200"]["content"]["application/json"]["schema"]
        faults = [*self.contract.schema_faults(f"{route.id}: answer", value, schema)]
        return self.refuse(*faults) if faults else JSONResponse(value)

    def refuse(self, *faults: str) -> Response:
        """Note that an answer breaks the contract."""
        self.answer_faults += faults
        return JSONResponse({"_tag": "UnknownError", "message": "; ".join(faults)}, 500)

    async def iter_frames(self) -> AsyncIterator[str]:
        """Yield the frames of the event stream, until 1.18.33 ends its own."""
        sender, events = anyio.create_memory_object_stream[Json](1000)
        scope = anyio.CancelScope()
        self.tasks.start_soon(self.follow, sender, scope)
        schema = self.contract.contract.definitions["Event"]
        try:
            async for event in events:
                self.answer_faults += self.contract.schema_faults(event["type"], event, schema)
                yield frame(event)
        finally:
            scope.cancel()
            events.close()

    async def follow(self, sender: MemoryObjectSendStream[Json], scope: anyio.CancelScope) -> None:
        """Send the events of 1.18.33, and those of sessions that begin and end."""
        happened = [anyio.Event()]
        executions = Executions(self.upstream)

        async def watch() -> None:
            while True:
                with anyio.move_on_after(QUIET_POLL_SECONDS if executions.running else inf):
                    await happened[0].wait()
                happened[0] = anyio.Event()
                for event in await executions.changes():
                    await sender.send(event)
                await anyio.sleep(POLL_SECONDS)

        with scope:
            try:
                async with sender, anyio.create_task_group() as tasks:
                    tasks.start_soon(watch)
                    async for event in iter_upstream(self.upstream):
                        await sender.send(event)
                        happened[0].set()
                    tasks.cancel_scope.cancel()
            except* (httpx2.HTTPError, anyio.BrokenResourceError):
                pass  # the server or the client has gone
            except* Exception as errors:
                self.answer_faults += [f"event.subscribe: {error!r}" for error in errors.exceptions]


@asynccontextmanager
async def open_shim(endpoint: Endpoint) -> AsyncGenerator[Shim]:
    """Serve a shim for an OpenCode 1.18.33 on 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))
    async with (
        httpx2.AsyncClient(base_url=endpoint.base_url, auth=endpoint.auth, timeout=60) as http,
        anyio.create_task_group() as tasks,
    ):
        shim = Shim(Upstream(http), tasks)
        shim.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(shim, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = GuestServer(config)
        tasks.start_soon(server.serve, [listener])
        try:
            yield shim
        finally:
            server.should_exit = True
            tasks.cancel_scope.cancel()
