"""The model of an assistant: a server on 127.0.0.1 that plays a script, and keeps what the assistant told it."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from examples.scripted_model import GuestServer
from opencode_mcp.opencode.concurrency import background_task_group

from .assistant_script import Result, Say, Step
from .wire_formats import WireFormat


@dataclass(frozen=True)
class ModelTurn:
    """A request with our tools in it: which, the results so far, what was answered, and whether the file was there.

    `text` is the whole request, as JSON.
    """

    tools: frozenset[str]
    results: tuple[Result, ...]
    step: Step
    done: bool
    text: str


@dataclass(frozen=True)
class AssistantModel:
    """A model that is being served. `url` is its origin; `turns` has every request with tools, oldest first."""

    wire_format: WireFormat
    decide: Callable[[Sequence[Result]], Step]
    is_done: Callable[[], bool]
    url: str
    turns: list[ModelTurn] = field(default_factory=list[ModelTurn])

    async def answer(self, request: Request) -> StreamingResponse:
        """Answer a request. Without our tools it is for a title, or the like."""
        body = await request.json()
        offered = self.wire_format.offered_tools(body)
        step: Step = Say("A scripted title")
        if offered:
            results = self.wire_format.tool_results(body)
            step = self.decide(results)
            self.turns.append(ModelTurn(offered, tuple(results), step, self.is_done(), json.dumps(body)))
        return stream_reply(self.wire_format, step, body.get("model", ""))


def stream_reply(wire_format: WireFormat, step: Step, model: str) -> StreamingResponse:
    """Return the reply as server-sent events."""

    def events() -> Iterator[str]:
        for data in wire_format.reply_events(step, model):
            kind = "" if isinstance(data, str) or "type" not in data else f"event: {data['type']}\n"
            yield f"{kind}data: {data if isinstance(data, str) else json.dumps(data)}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@asynccontextmanager
async def serve_model(
    wire_format: WireFormat, decide: Callable[[Sequence[Result]], Step], is_done: Callable[[], bool]
) -> AsyncGenerator[AssistantModel]:
    """Serve a model at a free port."""
    model = AssistantModel(wire_format, decide, is_done, "")
    async with serve_answers(wire_format.path, model.answer) as url:
        yield replace(model, url=url)


@asynccontextmanager
async def serve_answers(path: str, answer: Callable[[Request], Awaitable[StreamingResponse]]) -> AsyncGenerator[str]:
    """Answer requests of this path at a free port; return the server's origin."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = Starlette(routes=[Route(path, answer, methods=["POST"])])
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = GuestServer(config)
        async with background_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
