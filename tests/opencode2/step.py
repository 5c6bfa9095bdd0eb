"""A step: one call of the model, and the tools that it calls."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from .model_call import RETRIED, ModelCall, ModelError, Reply, ToolCall, to_chat
from .rules import Declined, Refused, effect_of
from .store import NO_TOKENS, Json, Session, new_id, now
from .tools import TOOLS, ToolRun

if TYPE_CHECKING:
    from .engine import Engine
    from .executions import Execution

STEP_INTERRUPTED: Json = {"type": "aborted", "message": "Step interrupted"}
TOOLS_INTERRUPTED: Json = {"type": "aborted", "message": "Tool execution interrupted"}
"""Recorded and source: the errors of what was interrupted."""

GO_ON = "The response was cut off. Go on where it ended."


@dataclass(eq=False)
class Step:
    """A step of a turn. Facts, messages: each is one assistant message, of which a turn has several."""

    engine: Engine
    session: Session
    execution: Execution
    model: Json
    message: Json = field(default_factory=dict[str, Any])

    @property
    def agent(self) -> str:
        """The agent that answers."""
        return self.session.info.get("agent", "build")

    @property
    def reference(self) -> Json:
        """The model that answers, as messages name it."""
        variant: Json = self.session.info.get("model", {})
        ref = {"id": self.model["id"], "providerID": self.model["providerID"]}
        return {**ref, "variant": variant["variant"]} if "variant" in variant else ref

    def publish(self, event: str, /, **data: Any) -> None:
        """Publish an event of the step."""
        self.engine.events.publish(f"session.{event}", self.session, assistantMessageID=self.message["id"], **data)

    async def run(self) -> bool:
        """Run the step; return whether the model has called tools, so that another step follows.

        Raises:
            ModelError: the model failed, after all retries.
            Declined: the user rejected a call.
        """
        try:
            reply = await self.call_model()
            declined = await self.run_tools(reply)
        except ModelError as error:
            if not (error.is_overflow and not self.message and self.engine.may_compact(self.session, self.execution)):
                self.start()
                self.fail(error.error)
            raise
        except anyio.get_cancelled_exc_class():
            if self.execution.scope.cancel_called and self.message:
                self.fail(STEP_INTERRUPTED)
            raise
        if declined:
            self.fail(STEP_INTERRUPTED)
            raise Declined
        self.end(reply)
        return bool(reply.calls)

    def start(self) -> None:
        """Add the assistant message when the model begins to answer."""
        if self.message:
            return
        self.message = {
            "id": new_id("msg"),
            "type": "assistant",
            "agent": self.agent,
            "model": self.reference,
            "content": [],
            "time": {"created": now()},
        }
        snapshot = self.engine.take_snapshot(self.session)
        if snapshot is not None:
            self.message["snapshot"] = {"start": snapshot}
        self.session.messages.append(self.message)
        more = {"snapshot": snapshot} if snapshot else {}
        self.publish("step.started", agent=self.agent, model=self.reference, started=now(), **more)

    async def call_model(self) -> Reply:
        """Call the model, again after an error that may pass.

        Source: a message that is empty is used again; one that has begun has failed, and the next one goes on.
        """
        for attempt, seconds in enumerate([*self.engine.options.retry_seconds, None], 1):
            reply = Reply()
            try:
                await self.read_reply(reply)
                return reply
            except ModelError as error:
                if seconds is None or error.error["type"] not in RETRIED:
                    raise
                await self.retry(attempt, seconds, error.error)
        raise AssertionError("the last attempt returns or raises")

    async def retry(self, attempt: int, seconds: float, error: Json) -> None:
        """Show that a retry follows, and wait for it."""
        self.start()
        has_begun = bool(self.message["content"])
        if has_begun:
            self.fail(error)
        at = now() + int(seconds * 1000)
        self.message["retry"] = {"attempt": attempt, "at": at, "error": error}
        self.publish("retry.scheduled", attempt=attempt, at=at, error=error)
        await anyio.sleep(seconds)
        del self.message["retry"]
        if has_begun:
            self.session.messages.append(
                {"id": new_id("msg"), "type": "synthetic", "text": GO_ON, "time": {"created": now()}}
            )
            self.engine.events.publish("session.synthetic", self.session, text=GO_ON)
            self.message = {}

    async def read_reply(self, reply: Reply) -> None:
        """Read what the model says into the message, as it says it."""
        system = f"You are {self.agent}, a coding agent. {json.dumps(self.session.instructions)}"
        call = ModelCall(
            self.engine.model_url(self.session, self.model),
            self.model["id"],
            to_chat(self.session.messages, system),
            self.tools(),
        )
        async for kind, text in call.stream(reply):
            self.start()
            if text:
                self.add_text(kind, text)
        for kind in ("text", "reasoning"):
            for ordinal, item in enumerate(self.contents(kind)):
                self.publish(f"{kind}.ended", ordinal=ordinal, text=item["text"])
        self.message["time"]["streamed"] = now()
        self.publish("step.streamed")

    def add_text(self, kind: str, text: str) -> None:
        """Add a delta to the message. Facts, events: `ended` has the whole text."""
        content: list[Json] = self.message["content"]
        if not content or content[-1]["type"] != kind:
            content.append({"type": kind, "text": ""})
            self.publish(f"{kind}.started", ordinal=len(self.contents(kind)) - 1)
        content[-1]["text"] += text
        self.publish(f"{kind}.delta", ordinal=len(self.contents(kind)) - 1, delta=text)

    def contents(self, kind: str) -> list[Json]:
        """Return the texts or the reasonings. Source: the ordinal of one counts those of its kind."""
        return [item for item in self.message["content"] if item["type"] == kind]

    def tools(self) -> list[Json]:
        """Return the tools that the model is offered."""
        rules = self.engine.requests.rules(self.session)
        offered = {name: tool for name, tool in TOOLS.items() if effect_of(rules, tool.action, "*") != "deny"}
        return [tool.describe(name) for name, tool in offered.items()]

    async def run_tools(self, reply: Reply) -> list[Declined]:
        """Run the calls of a reply at the same time; return the rejections, which end the others."""
        declined: list[Declined] = []
        known = {tool["function"]["name"] for tool in self.tools()}
        async with anyio.create_task_group() as tasks:

            async def run(call: ToolCall, item: Json) -> None:
                try:
                    await self.run_tool(call, item, known)
                except Declined as reason:
                    declined.append(reason)
                    tasks.cancel_scope.cancel()

            for call in reply.calls:
                tasks.start_soon(run, call, self.add_call(call))
        return declined

    def add_call(self, call: ToolCall) -> Json:
        """Add a call to the message."""
        item: Json = {"type": "tool", "id": call.id, "name": call.name, "time": {"created": now()}}
        item["state"] = {"status": "streaming", "input": call.arguments}
        self.message["content"].append(item)
        self.publish("tool.input.started", id=call.id, name=call.name)
        self.publish("tool.input.delta", id=call.id, delta=call.arguments)
        self.publish("tool.input.ended", id=call.id, text=call.arguments)
        return item

    async def run_tool(self, call: ToolCall, item: Json, known: set[str]) -> None:
        """Run a call to its end."""
        try:
            run = self.prepare(call, item, known)
        except Refused as reason:
            item["state"] = {"status": "running", "input": {}, "metadata": {}}
            self.fail_tool(item, {"type": reason.kind, "message": str(reason)})
            return
        self.execution.runs.append(run)
        try:
            text = await TOOLS[call.name].run(run)
        except Refused as reason:
            self.fail_tool(item, {"type": reason.kind, "message": str(reason)}, run.metadata)
        except Declined as reason:
            self.fail_tool(item, {"type": "aborted", "message": str(reason)})
            raise
        except anyio.get_cancelled_exc_class():
            if not self.engine.ended:
                self.fail_tool(item, TOOLS_INTERRUPTED, run.metadata)
            raise
        else:
            self.complete_tool(item, text, run.metadata)
        finally:
            self.execution.runs.remove(run)

    def prepare(self, call: ToolCall, item: Json, known: set[str]) -> ToolRun:
        """Return a call that can run.

        Raises:
            Refused: there is no such tool, or the arguments do not fit.
        """
        if call.name not in known:
            raise Refused(f"Unknown tool: {call.name}", "tool.unknown")
        try:
            values = json.loads(call.arguments)
        except ValueError as reason:
            raise Refused(f"Invalid JSON: {reason}", "tool.input-json") from reason
        tool = TOOLS[call.name]
        if missing := [name for name in tool.parameters[: tool.required] if name not in values]:
            raise Refused(f"Missing {', '.join(missing)}", "tool.input-json")
        item["state"] = {"status": "running", "input": values, "metadata": {}}
        item["time"]["ran"] = now()
        self.publish("tool.called", id=call.id, input=values, executed=False)
        return ToolRun(self.engine, self.session, self.message, item, values)

    def complete_tool(self, item: Json, text: str, metadata: Json) -> None:
        """Record the result of a call."""
        content = [{"type": "text", "text": text}]
        item["state"] = {
            "status": "completed",
            "input": item["state"]["input"],
            "content": content,
            "metadata": metadata,
        }
        item["time"]["completed"] = now()
        self.publish("tool.success", id=item["id"], content=content, metadata=metadata, executed=False)

    def fail_tool(self, item: Json, error: Json, metadata: Json | None = None) -> None:
        """Record that a call failed."""
        item["state"] = {"status": "error", "input": item["state"]["input"], "error": error, "metadata": metadata or {}}
        item["time"]["completed"] = now()
        self.publish("tool.failed", id=item["id"], error=error, metadata=metadata or {}, executed=False)

    def usage(self, reply: Reply) -> tuple[float, Json]:
        """Return what the call cost, in US dollars, and its tokens."""
        sent, received = reply.usage.get("prompt_tokens", 0), reply.usage.get("completion_tokens", 0)
        return self.engine.cost(self.model, sent, received), {**NO_TOKENS, "input": sent, "output": received}

    def close_snapshot(self) -> Json:
        """Record the state of the files after the step; return the fields of its event."""
        start: str | None = self.message.get("snapshot", {}).get("start")
        end = self.engine.take_snapshot(self.session)
        if start is None or end is None:
            return {}
        files = [change["file"] for change in self.engine.compare(start, end)]
        self.message["snapshot"] = {"start": start, "end": end, "files": files}
        return {"snapshot": end, "files": files}

    def end(self, reply: Reply) -> None:
        """Record a step that was not cut short, with its cost."""
        cost, tokens = self.usage(reply)
        self.session.add_usage(cost, tokens)
        self.message |= {"finish": reply.finish, "cost": cost, "tokens": tokens}
        self.message["time"]["completed"] = now()
        self.publish("step.ended", finish=reply.finish, cost=cost, tokens=tokens, **self.close_snapshot())
        info = self.session.info
        self.engine.events.publish("session.usage.updated", self.session, cost=info["cost"], tokens=info["tokens"])

    def fail(self, error: Json) -> None:
        """Record a step that failed. Recorded: `finish` is `error`, what was said so far stays."""
        self.message.pop("retry", None)
        self.message |= {"finish": "error", "error": error}
        self.message["time"]["completed"] = now()
        self.publish("step.failed", error=error, **self.close_snapshot())
