"""A scripted chat model for OpenCode: a stand-in for a language model that needs no network and no key.

It serves OpenAI's streaming chat completions on 127.0.0.1. The first `script:<name>` in the newest user message
selects a script; without one the model repeats the prompt. `{model}` in the prompt becomes the id of the model that was
asked, as OpenCode can have several of this server. When a script's tool calls have results, it ends with "done".
OpenCode's requests for a title or a summary get a fixed text (the scripts `title` and `compaction`).

    script:text [words]              a short text that repeats the words
    script:say TEXT                  exactly that text, percent-encoded
    script:reasoning                 reasoning, then text
    script:slow [chunks] [seconds]   a text in that many chunks (20), each after a pause (0.5)
    script:hold FILE                 "held", as soon as the file exists
    script:huge [bytes]              a text of that many bytes (1000000)
    script:hang                      a reply that never arrives (OpenCode retries after 300 s)
    script:drop                      half a reply, then a closed connection
    script:error [status]            an HTTP error (500)
    script:flaky [status]            that error for the first request with this prompt, then text
    script:overflow                  a 400 for a conversation that exceeds the context length
    script:bash|write|edit|read|question|todowrite   a prepared call (edit: README.md must have "hello")
    script:task [prompt]             a subagent, with "script:text from the child" or the given prompt
    script:tool NAME {arguments}     one call of any tool
    script:tools [{"name": NAME, "args": {arguments}}, ...]   several calls at once
    script:chain [{"name": NAME, "args": {arguments}}, ...]   those calls, each after the previous result
    script:loop NAME {arguments}     that call after every result, endlessly
    script:badargs, script:unknowntool   a call with arguments that are not JSON, or of an unknown tool

    python examples/scripted_model.py [--port 4719]
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


@dataclass(frozen=True)
class Request:
    """A request to the model. `finished` and `disconnected` are events: check them with `is_set()`."""

    script: str
    argument: str  # the text after the keyword; the whole prompt without a keyword
    turn: int  # the number of rounds of tool calls since the newest user message
    model: str
    tools: Mapping[str, frozenset[str]]  # the names of each tool's parameters
    messages: list[dict[str, Any]]
    is_repeated: bool  # an earlier request had the same script and argument
    finished: anyio.Event = field(default_factory=anyio.Event)  # the whole reply was sent
    disconnected: anyio.Event = field(default_factory=anyio.Event)  # the client disconnected before that


@dataclass(frozen=True)
class Piece:
    delta: dict[str, Any] | None  # the delta of a chunk; None closes the connection
    pause: float = 0  # seconds before it
    file: Path | None = None  # must exist first


def say(text: str, pause: float = 0) -> Piece:
    return Piece({"content": text}, pause)


def call(tool: str, arguments: str, index: int = 0) -> Piece:
    function = {"name": tool, "arguments": arguments}
    entry = {"index": index, "id": f"call_{uuid4().hex}", "type": "function", "function": function}
    return Piece({"tool_calls": [entry]})


def fail(status: float, message: str, code: str = "script_error") -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": code, "code": code}}, int(status))


def call_once(request: Request, *calls: Piece) -> list[Piece]:
    """Make the calls, and end with a text when they have results."""
    return [say(f"done: {request.script}")] if request.turn else [*calls]


def offered_name(request: Request, tool: str) -> str:
    renamed = RENAMED.get(tool, tool)
    return renamed if tool not in request.tools and renamed in request.tools else tool


def call_tool(request: Request, tool: str, values: Mapping[str, Any], index: int = 0) -> Piece:
    """Call a tool of OpenCode 1 by its name there, or by the one that OpenCode 2 offers it under."""
    offered = offered_name(request, tool)
    known = request.tools.get(offered, frozenset[str]())
    names = {name: RENAMED[name] if name not in known and RENAMED.get(name) in known else name for name in values}
    return call(offered, json.dumps({names[name]: value for name, value in values.items()}), index)


def prepared_call(request: Request) -> list[Piece]:
    prompt = {"prompt": request.argument} if request.script == "task" and request.argument else {}
    values = {**PREPARED_CALLS[request.script], **prompt}
    return call_once(request, call_tool(request, request.script, values))


def parse_named_call(request: Request) -> Piece:
    """Parse `NAME {arguments}`; the arguments are optional."""
    tool, _, values = request.argument.partition(" ")
    return call_tool(request, tool, first_json("{", values) if "{" in values else {})


def parse_listed_calls(request: Request) -> list[Piece]:
    """Parse `[{"name": NAME, "args": {arguments}}, ...]`."""
    calls = [(item["name"], item.get("args", {})) for item in first_json("[", request.argument)]
    return [call_tool(request, tool, values, index) for index, (tool, values) in enumerate(calls)]


def first_json(opening: str, text: str) -> Any:
    """Return the first JSON value with this opening bracket; text after it is ignored."""
    return json.JSONDecoder().raw_decode(opening + text.partition(opening)[2])[0]


def number_argument(request: Request, position: int, default: float) -> float:
    numbers = re.findall(r"\d+(?:\.\d+)?", request.argument)
    return float(numbers[position]) if position < len(numbers) else default


def huge_text(request: Request) -> list[Piece]:
    size, line = int(number_argument(request, 0, 1_000_000)), f"{'x' * 99}\n"
    return [say((line * 40)[: size - start]) for start in range(0, size, 4_000)]


RENAMED = {"bash": "shell", "task": "subagent", "filePath": "path", "subagent_type": "agent"}
"""Tools and arguments of OpenCode 1, and their names in OpenCode 2; 1.18.33's v2 engine has some of them."""

COLOURS = [{"label": name, "description": f"Paint it {name}"} for name in ("Red", "Blue")]
PREPARED_CALLS: dict[str, dict[str, Any]] = {
    "bash": {"command": "echo hello-from-bash", "description": "Greet from the shell"},
    "write": {"filePath": "scripted.txt", "content": "written by the scripted model\n"},
    "edit": {"filePath": "README.md", "oldString": "hello", "newString": "goodbye"},
    "read": {"filePath": "README.md"},
    "question": {"questions": [{"header": "Colour", "question": "Which one is best?", "options": COLOURS}]},
    "task": {"description": "child", "prompt": "script:text from the child", "subagent_type": "general"},
    "todowrite": {"todos": [{"id": "1", "content": "try it", "status": "pending", "priority": "high"}]},
}
SCRIPTS: dict[str, Callable[[Request], list[Piece] | JSONResponse]] = {
    **dict.fromkeys(PREPARED_CALLS, prepared_call),
    "text": lambda request: [say("Hello from the scripted model. "), say(request.argument[:200])],
    "say": lambda request: [say(unquote(re.split(r'[\s"]', request.argument)[0]))],
    "reasoning": lambda _: [Piece({"reasoning_content": "Let me think."}), say("A reasoned answer.")],
    "slow": lambda request: [
        say(f"chunk{at} ", number_argument(request, 1, 0.5)) for at in range(int(number_argument(request, 0, 20)))
    ],
    "hold": lambda request: [Piece({"content": "held"}, file=Path(request.argument.split()[0]))],
    "huge": huge_text,
    "hang": lambda _: [say("never said", float("inf"))],
    "drop": lambda _: [say("The second half of this sen"), Piece(None)],
    "error": lambda request: fail(number_argument(request, 0, 500), "the error that the prompt asked for"),
    "flaky": lambda request: [say("done: flaky")] if request.is_repeated else SCRIPTS["error"](request),
    # OpenCode recognizes an overflow by this message.
    "overflow": lambda _: fail(400, "maximum context length is 1000 tokens", "context_length_exceeded"),
    "tool": lambda request: call_once(request, parse_named_call(request)),
    "tools": lambda request: call_once(request, *parse_listed_calls(request)),
    "chain": lambda request: parse_listed_calls(request)[request.turn :][:1] or call_once(request),
    "loop": lambda request: [parse_named_call(request)],
    "badargs": lambda request: call_once(request, call(offered_name(request, "bash"), '{"command": "ec')),
    "unknowntool": lambda request: call_once(request, call("no_such_tool", "{}")),
    "title": lambda _: [say("Scripted title")],
    "compaction": lambda _: [say("## Goal\nTry OpenCode without a language model.")],
}
# How OpenCode 1.18.33 begins the system prompts of requests that are not part of a conversation.
SYSTEM_PROMPTS = {"title generator": "script:title", "context summarization agent": "script:compaction"}
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def run_script(request: Request) -> list[Piece] | JSONResponse:
    script = SCRIPTS.get(request.script, lambda request: [say(f"no such script: {request.script}")])
    try:
        return script(request)
    except (AttributeError, LookupError, TypeError, ValueError) as reason:
        return fail(400, f"script:{request.script} cannot use its argument: {reason!r}")


def text_of(message: dict[str, Any]) -> str:
    """Return a message's text, which is a string or a list of parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


@dataclass(frozen=True)
class ScriptedModel:
    """A model that is being served. `requests` has every request to it, oldest first."""

    url: str
    requests: list[Request] = field(default_factory=list[Request])
    closing: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a chat completion request (ASGI)."""
        body = await HTTPRequest(scope, receive).json()
        request = self.record(body)
        reply = run_script(request)
        if isinstance(reply, JSONResponse):
            request.finished.set()
        with suppress(EOFError):
            if isinstance(reply, list):
                reply = await format_reply(self.stream(request, reply), bool(body.get("stream")))
            await reply(scope, receive, send)
        if not request.finished.is_set():
            request.disconnected.set()

    def record(self, body: dict[str, Any]) -> Request:
        """Parse a request body, and append it to `requests`."""
        messages = body["messages"]
        newest = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=0)
        system = " ".join(text_of(message) for message in messages if message["role"] == "system")
        fixed_scripts = (script for words, script in SYSTEM_PROMPTS.items() if words in system)
        prompt = next(fixed_scripts, text_of(messages[newest])).replace("{model}", body["model"])
        keyword = re.search(r"script:([a-z]+)(.*)", prompt, re.DOTALL)
        script, argument = (keyword[1], keyword[2].strip()) if keyword else ("text", prompt)
        functions = [tool["function"] for tool in body.get("tools", [])]
        request = Request(
            script=script,
            argument=argument,
            turn=sum(bool(message.get("tool_calls")) for message in messages[newest:]),
            model=body["model"],
            tools={function["name"]: frozenset(function["parameters"].get("properties", ())) for function in functions},
            messages=messages,
            is_repeated=any((script, argument) == (earlier.script, earlier.argument) for earlier in self.requests),
        )
        self.requests.append(request)
        return request

    async def stream(self, request: Request, pieces: list[Piece]) -> AsyncGenerator[str]:
        """Yield the reply as server-sent events."""
        called = any(piece.delta and "tool_calls" in piece.delta for piece in pieces)
        ending = {"index": 0, "delta": dict[str, str](), "finish_reason": "tool_calls" if called else "stop"}
        chunk = {"id": f"reply-{uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time())}
        for piece in (Piece({"role": "assistant"}), *pieces):
            with anyio.move_on_after(piece.pause):
                await self.closing.wait()
            while piece.file is not None and not piece.file.exists() and not self.closing.is_set():
                await anyio.sleep(0.05)
            if piece.delta is None or self.closing.is_set():
                request.finished.set()
                raise EOFError  # uvicorn closes the connection of an incomplete response
            choice = {"index": 0, "delta": piece.delta, "finish_reason": None}
            yield f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n"
        yield f"data: {json.dumps({**chunk, 'choices': [ending], 'usage': USAGE})}\n\ndata: [DONE]\n\n"
        request.finished.set()


async def format_reply(chunks: AsyncGenerator[str], is_stream: bool) -> StreamingResponse | JSONResponse:
    """Return a reply as server-sent events or, for a client that asks for no stream, in one piece."""
    if is_stream:
        return StreamingResponse(chunks, media_type="text/event-stream")
    text, calls, last = "", list[dict[str, Any]](), dict[str, Any]()
    async for line in chunks:
        last = json.loads(line.removeprefix("data: ").partition("\n")[0])
        delta = last["choices"][0]["delta"]
        text += delta.get("content") or ""
        calls += [{key: value for key, value in one.items() if key != "index"} for one in delta.get("tool_calls", ())]
    message = {"role": "assistant", "content": text or None, **({"tool_calls": calls} if calls else {})}
    ending = {"index": 0, "message": message, "finish_reason": last["choices"][0]["finish_reason"]}
    return JSONResponse({**last, "object": "chat.completion", "model": "scripted", "choices": [ending]})


class GuestServer(uvicorn.Server):
    # The host program handles signals, and uvicorn leaves its sockets open when it is cancelled.
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        with anyio.CancelScope(shield=True):
            yield


@asynccontextmanager
async def scripted_model(port: int = 0) -> AsyncGenerator[ScriptedModel]:
    """Serve the model on 127.0.0.1 (port 0: a free one), and cut the open replies when the block ends."""
    listener = socket.create_server(("127.0.0.1", port))
    model = ScriptedModel(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
    app = Starlette(routes=[Route("/v1/chat/completions", model, methods=["POST"])])
    # The limit is for a client that does not read its response.
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = GuestServer(config)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        try:
            yield model
        except Exception as reason:
            failure = reason  # the task group would wrap it in an ExceptionGroup
        finally:
            model.closing.set()
            server.should_exit = True
    if failure is not None:
        raise failure


def provider_config(url: str) -> dict[str, object]:
    """Return the OpenCode configuration that uses the model and no other."""
    model = {"name": "Scripted", "tool_call": True, "limit": {"context": 128_000, "output": 16_000}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Scripted model",
        "options": {"baseURL": url, "apiKey": "scripted"},
        "models": {"scripted": model},
    }
    return {
        "$schema": "https://opencode.ai/config.json",
        "model": "scripted/scripted",
        "small_model": "scripted/scripted",
        "enabled_providers": ["scripted"],
        "provider": {"scripted": provider},
        "autoupdate": False,
        "share": "disabled",
    }


def environment(url: str, folder: Path) -> dict[str, str]:
    """Return variables with which OpenCode uses this model only, and write an empty list of models into a folder.

    OpenCode's default list of public models costs 1.5 s of CPU in every project.
    """
    models = folder / "models.json"
    models.write_text("{}")
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(provider_config(url)), "OPENCODE_MODELS_PATH": str(models)}


async def main(port: int) -> None:
    async with scripted_model(port) as model:
        print(f"{model.url} OPENCODE_CONFIG_CONTENT='{json.dumps(provider_config(model.url))}'", flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A scripted chat model for OpenCode.")
    parser.add_argument("--port", type=int, default=4719)
    with suppress(KeyboardInterrupt):
        anyio.run(main, parser.parse_args().port)
