"""How assistants speak with their models: the part of three HTTP APIs that one call, or one text, at a time needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, cast
from uuid import uuid4

from .assistant_script import CallOwnTool, CallTool, Result, Say, Step

Body = dict[str, Any]
SERVER = "opencode"
"""The name by which assistants know our server."""


class WireFormat(Protocol):
    """An API that streams server-sent events. Names of tools are ours, without what an assistant adds to them."""

    path: str

    def offered_tools(self, body: Body) -> frozenset[str]:
        """Our tools in a request."""
        ...

    def tool_results(self, body: Body) -> list[Result]:
        """The results in a request, oldest first."""
        ...

    def reply_events(self, step: Step, model: str) -> Iterator[Body | str]:
        """The data of each event; a text is sent as it is."""
        ...


class Messages:
    """Anthropic's Messages API: Claude Code."""

    path = "/v1/messages"
    prefix = f"mcp__{SERVER}__"

    def offered_tools(self, body: Body) -> frozenset[str]:
        """Our tools in a request."""
        return strip_prefix(self.prefix, (tool["name"] for tool in body.get("tools", [])))

    def tool_results(self, body: Body) -> list[Result]:
        """The results in a request, oldest first."""
        contents = [message["content"] for message in body["messages"]]
        blocks = [block for content in contents if isinstance(content, list) for block in cast("list[Body]", content)]
        names = {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
        return [
            Result(names[block["tool_use_id"]].removeprefix(self.prefix), content_text(block["content"]))
            for block in blocks
            if block["type"] == "tool_result"
        ]

    def reply_events(self, step: Step, model: str) -> Iterator[Body | str]:
        """The data of each event."""
        usage = {"input_tokens": 100, "output_tokens": 20}
        ending = {"stop_reason": None, "stop_sequence": None}
        message: Body = {"id": new_id("msg"), "type": "message", "role": "assistant", "model": model, "content": []}
        block: Body = {"type": "text", "text": ""}
        delta: Body = {"type": "text_delta", "text": step.text} if isinstance(step, Say) else {}
        if isinstance(step, CallTool):
            name = step.tool if isinstance(step, CallOwnTool) else self.prefix + step.tool
            block = {"type": "tool_use", "id": new_id("toolu"), "name": name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(step.arguments)}
        ended = {**ending, "stop_reason": "tool_use" if isinstance(step, CallTool) else "end_turn"}
        yield {"type": "message_start", "message": {**message, **ending, "usage": usage}}
        yield {"type": "content_block_start", "index": 0, "content_block": block}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        yield {"type": "message_delta", "delta": ended, "usage": usage}
        yield {"type": "message_stop"}


class Responses:
    """OpenAI's Responses API: Codex, which has a namespace for the tools of each server."""

    path = "/v1/responses"
    namespace = f"mcp__{SERVER}"

    def offered_tools(self, body: Body) -> frozenset[str]:
        """Our tools in a request."""
        spaces = [tool for tool in body["tools"] if tool.get("name") == self.namespace]
        return frozenset(tool["name"] for space in spaces for tool in space["tools"])

    def tool_results(self, body: Body) -> list[Result]:
        """The results in a request, oldest first."""
        names = {item["call_id"]: item["name"] for item in body["input"] if item["type"] == "function_call"}
        outputs = [item for item in body["input"] if item["type"] == "function_call_output"]
        return [Result(names[item["call_id"]], content_text(item["output"])) for item in outputs]

    def reply_events(self, step: Step, model: str) -> Iterator[Body | str]:
        """The data of each event."""
        response: Body = {"id": new_id("resp"), "model": model}
        usage: Body = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
        item: Body = {"type": "message", "role": "assistant", "id": new_id("msg")}
        if isinstance(step, CallTool):
            own = isinstance(step, CallOwnTool)
            space = {} if own else {"namespace": self.namespace}
            named = {**space, "name": step.tool, "arguments": json.dumps(step.arguments)}
            item = {"type": "function_call", "id": new_id("fc"), "call_id": new_id("call"), **named}
        else:
            item["content"] = [{"type": "output_text", "text": step.text}]
        yield {"type": "response.created", "response": response}
        yield {"type": "response.output_item.done", "output_index": 0, "item": item}
        yield {"type": "response.completed", "response": {**response, "usage": usage}}


class Completions:
    """OpenAI's chat completions: OpenCode."""

    path = "/v1/chat/completions"
    prefix = f"{SERVER}_"

    def offered_tools(self, body: Body) -> frozenset[str]:
        """Our tools in a request."""
        return strip_prefix(self.prefix, (tool["function"]["name"] for tool in body.get("tools", [])))

    def tool_results(self, body: Body) -> list[Result]:
        """The results in a request, oldest first."""
        messages = body["messages"]
        calls: list[Body] = [call for message in messages for call in message.get("tool_calls", ())]
        names = {call["id"]: self.called_name(call["function"]).removeprefix(self.prefix) for call in calls}
        tool_messages = [message for message in messages if message["role"] == "tool"]
        return [Result(names[message["tool_call_id"]], content_text(message["content"])) for message in tool_messages]

    def called_name(self, function: Body) -> str:
        """The tool that a call in a request names, with the prefix."""
        return function["name"]

    def called_function(self, step: CallTool) -> tuple[str, Body]:
        """The name and the arguments of the function that a call is made with."""
        return self.prefix + step.tool, step.arguments

    def reply_events(self, step: Step, model: str) -> Iterator[Body | str]:
        """The data of each event."""
        chunk: Body = {"id": new_id("chatcmpl"), "object": "chat.completion.chunk", "created": 0, "model": model}
        delta: Body = {"role": "assistant"}
        if isinstance(step, CallTool):
            name, arguments = self.called_function(step)
            function = {"name": name, "arguments": json.dumps(arguments)}
            delta["tool_calls"] = [{"index": 0, "id": new_id("call"), "type": "function", "function": function}]
        else:
            delta["content"] = step.text
        reason = "tool_calls" if isinstance(step, CallTool) else "stop"
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        yield {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}
        yield "[DONE]"


class CopilotCompletions(Completions):
    """Copilot CLI, with its names of tools."""

    prefix = f"{SERVER}-"


class ContinueCompletions(Completions):
    """Continue's CLI, which keeps the names of tools; those of its own begin with a capital."""

    prefix = ""

    def offered_tools(self, body: Body) -> frozenset[str]:
        """Our tools in a request."""
        return frozenset(name for name in super().offered_tools(body) if name.islower())

    def tool_results(self, body: Body) -> list[Result]:
        """The results in a request, oldest first; each is a list of parts, as JSON."""
        return [Result(result.tool, content_text(json.loads(result.text))) for result in super().tool_results(body)]


class QwenCompletions(Completions):
    """Qwen Code, which names our tools in a message, and has one tool of its own that calls them."""

    prefix = f"mcp__{SERVER}__"

    def offered_tools(self, body: Body) -> frozenset[str]:
        """Our tools that a request names, if they can be called."""
        can_call = any(tool["function"]["name"] == "tool_call" for tool in body.get("tools", []))
        named = re.findall(rf'"{self.prefix}(\w+)\\*": ', json.dumps(body["messages"])) if can_call else []
        return frozenset(named)

    def called_name(self, function: Body) -> str:
        """The tool that a call in a request names, with the prefix."""
        return json.loads(function["arguments"]).get("name", "")

    def called_function(self, step: CallTool) -> tuple[str, Body]:
        """The name and the arguments of the function that a call is made with."""
        return "tool_call", {"name": self.prefix + step.tool, "arguments": step.arguments}


class Contents:
    """Google's API: Gemini CLI."""

    path = "/v1beta/models/{model}:streamGenerateContent"
    prefix = f"mcp_{SERVER}_"

    def offered_tools(self, body: Body) -> frozenset[str]:
        """Our tools in a request."""
        declared = [one["name"] for tool in body.get("tools", []) for one in tool.get("functionDeclarations", [])]
        return strip_prefix(self.prefix, declared)

    def tool_results(self, body: Body) -> list[Result]:
        """The results in a request, oldest first."""
        parts: list[Body] = [part for content in body["contents"] for part in content.get("parts", [])]
        responses: list[Body] = [part["functionResponse"] for part in parts if "functionResponse" in part]
        return [Result(one["name"].removeprefix(self.prefix), one["response"].get("output", "")) for one in responses]

    def reply_events(self, step: Step, model: str) -> Iterator[Body | str]:
        """The data of each event."""
        part: Body = {"text": step.text} if isinstance(step, Say) else {}
        if isinstance(step, CallTool):
            part = {"functionCall": {"id": new_id("call"), "name": self.prefix + step.tool, "args": step.arguments}}
        candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120}
        yield {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}


def strip_prefix(prefix: str, names: Iterable[str]) -> frozenset[str]:
    """Return the names that have a prefix, without it."""
    return frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def content_text(content: str | list[Body]) -> str:
    """Return a text that may have come in parts."""
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def new_id(kind: str) -> str:
    """Return an id that was not used before."""
    return f"{kind}_{uuid4().hex}"
