"""A call of the scripted model, over HTTP as OpenCode makes it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from .store import Json

TIMEOUT = httpx2.Timeout(10, read=None)
ERROR_TYPES = {
    400: "provider.invalid-request",
    401: "provider.auth",
    402: "provider.quota",
    403: "provider.auth",
    429: "provider.rate-limit",
}
"""Facts, messages: the types of errors."""

RETRIED = ("provider.rate-limit", "provider.internal", "provider.transport")
OVERFLOW = "maximum context length"


class ModelError(Exception):
    """A failed call: `error` is as a message has it."""

    def __init__(self, error: Json) -> None:
        super().__init__(error["message"])
        self.error = error

    @property
    def is_overflow(self) -> bool:
        """Whether the conversation was too long for the model."""
        return OVERFLOW in self.error["message"]


@dataclass
class ToolCall:
    """A call of a tool; `arguments` are JSON, if the model is right."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Reply:
    """What the model has said so far."""

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    finish: str = "unknown"
    usage: Mapping[str, int] = field(default_factory=dict[str, int])

    def read(self, chunk: Json) -> Iterator[tuple[str, str]]:
        """Read a chunk; yield the kind and the words of each delta."""
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk["choices"]:
            delta: Json = choice["delta"]
            if text := delta.get("content"):
                self.text += text
                yield "text", text
            if text := delta.get("reasoning_content"):
                self.reasoning += text
                yield "reasoning", text
            for entry in delta.get("tool_calls", []):
                function: Json = entry["function"]
                self.calls.append(ToolCall(entry["id"], function["name"], function["arguments"]))
            self.finish = (choice["finish_reason"] or self.finish).replace("_", "-")


@dataclass(frozen=True)
class ModelCall:
    """A request to a model: `messages` and `tools` as in OpenAI's chat completions."""

    url: str
    model: str
    messages: list[Json]
    tools: list[Json] = field(default_factory=list[Json])

    async def stream(self, reply: Reply) -> AsyncGenerator[tuple[str, str]]:
        """Read the whole reply; yield its deltas, the first of which is empty.

        Raises:
            ModelError: the model failed, or the connection was lost.
        """
        body: dict[str, Any] = {"model": self.model, "messages": self.messages, "stream": True}
        if self.tools:
            body["tools"] = self.tools
        try:
            async with (
                httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=False) as client,
                client.stream("POST", f"{self.url}/chat/completions", json=body) as response,
            ):
                if response.status_code != 200:
                    raise ModelError(http_error(response.status_code, (await response.aread()).decode()))
                yield "start", ""
                async for line in response.aiter_lines():
                    data = line.removeprefix("data: ")
                    if line.startswith("data: ") and data != "[DONE]":
                        for delta in reply.read(json.loads(data)):
                            yield delta
        except httpx2.TransportError as reason:
            raise ModelError({"type": "provider.transport", "message": str(reason) or repr(reason)}) from reason


def http_error(status: int, body: str) -> Json:
    """Return an error of a provider. Recorded: type, message, status and the response's body."""
    try:
        message: str = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        message = body
    type_ = ERROR_TYPES.get(status, "provider.internal" if status >= 500 else "provider.unknown")
    return {"type": type_, "message": message, "status": status, "response": {"body": body}}


def to_chat(messages: list[Json], system: str) -> list[Json]:
    """Return a session's messages as the model receives them: what is before the newest summary is left out."""
    start = max((at for at, message in enumerate(messages) if is_summary(message)), default=0)
    chat: list[Json] = [{"role": "system", "content": system}]
    for message in messages[start:]:
        kind = message["type"]
        if kind in ("user", "synthetic"):
            chat.append({"role": "user", "content": message["text"]})
        elif is_summary(message):
            chat.append({"role": "user", "content": f"Summary so far:\n{message['summary']}"})
        elif kind == "assistant":
            chat += assistant_chat(message)
    return chat


def is_summary(message: Json) -> bool:
    """Whether a message stands for those before it."""
    return message["type"] == "compaction" and message["status"] == "completed"


def assistant_chat(message: Json) -> Iterator[Json]:
    """Yield an assistant's message and the results of its calls."""
    text = "".join(item["text"] for item in message["content"] if item["type"] == "text")
    tools = [item for item in message["content"] if item["type"] == "tool"]
    chat: Json = {"role": "assistant", "content": text}
    if tools:
        chat["tool_calls"] = [
            {
                "id": item["id"],
                "type": "function",
                "function": {"name": item["name"], "arguments": json.dumps(item["state"]["input"])},
            }
            for item in tools
        ]
    if text or tools:
        yield chat
    for item in tools:
        yield {"role": "tool", "tool_call_id": item["id"], "content": tool_result(item["state"])}


def tool_result(state: Json) -> str:
    """Return what the model reads of a call."""
    if state["status"] == "error":
        return state["error"]["message"]
    return "".join(part.get("text", "") for part in state.get("content", []))
