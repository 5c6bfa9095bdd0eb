"""Calls of tools that may go on in the background, and what their session receives when they end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import anyio

from .rules import Declined, Refused
from .tools import ToolRun, child_result, in_background, run_process

if TYPE_CHECKING:
    from .engine import Engine
    from .store import Session


Work = Callable[[], Awaitable[str]]


@dataclass(eq=False)
class Job:
    """A call's work, in a task of its own: it ends with a text or an error."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    text: str = ""
    error: Exception | None = None

    async def run(self, work: Work) -> None:
        """Do the work."""
        try:
            with self.scope:
                self.text = await work()
        except (Declined, Refused) as error:
            self.error = error
        finally:
            self.done.set()


@dataclass(eq=False)
class Jobs:
    """The background work of a process. Facts, subagents: a parent that is idle wakes when its child has ended."""

    engine: Engine

    async def until_detached(self, run: ToolRun, work: Work, child: Session | None = None) -> str:
        """Return the work's text, or at once what the model reads when the call goes on in the background."""
        job = Job()
        self.engine.tasks.start_soon(job.run, work)
        try:
            await first_of(job.done, run.detached)
        except anyio.get_cancelled_exc_class():
            job.scope.cancel()
            with anyio.CancelScope(shield=True):
                await job.done.wait()
            raise
        if run.detached.is_set() and not job.done.is_set():
            return self.detach(run, job, child)
        if job.error is not None:
            raise job.error
        return job.text

    def detach(self, run: ToolRun, job: Job, child: Session | None) -> str:
        """Let a call go on in the background. Facts, interrupt: `session.background` does that."""
        if child is not None:
            job.scope.cancel()
            self.start_subagent(run.session, child, run.input.get("description", ""))
            return in_background(child.id)
        self.engine.tasks.start_soon(self.report_shell, run, job)
        return "Command moved to the background. You will be notified automatically when the command finishes."

    def start_shell(self, run: ToolRun, command: str) -> str:
        """Run a command in the background from its start."""
        job = Job()
        self.engine.tasks.start_soon(job.run, partial(self.run_shell, run, command))
        return self.detach(run, job, None)

    async def run_shell(self, run: ToolRun, command: str) -> str:
        """Run a command whose call has ended already."""
        _, output = await run_process(command, run.session.directory, self.engine.environment(run.session))
        return output

    async def report_shell(self, run: ToolRun, job: Job) -> None:
        """Tell the session that a command has ended."""
        await job.done.wait()
        text = f"<shell command={run.input['command']!r}>\n{job.text}\n</shell>"
        self.engine.admit_synthetic(run.session, text, {"source": "shell"}, "shell")

    def start_subagent(self, parent: Session, child: Session, description: str) -> None:
        """Report a child to its parent when it has ended."""
        self.engine.tasks.start_soon(self.report_subagent, parent, child, description)

    async def report_subagent(self, parent: Session, child: Session, description: str) -> None:
        """Steer a synthetic message into the parent. Source: its text and metadata."""
        await self.engine.executions.wait_until_idle(child)
        if parent.id not in self.engine.store.sessions:
            return
        state, answer = child_result(child)
        attributes = f'sessionID="{child.id}" state="{state}" description="{description}"'
        text = f"<subagent {attributes}>\n{answer}\n</subagent>"
        agent = child.info.get("agent", "general")
        metadata = {"source": "subagent", "childID": child.id, "agent": agent, "state": state}
        self.engine.admit_synthetic(parent, text, metadata, description)


async def first_of(*events: anyio.Event) -> None:
    """Wait for the first of several events."""
    async with anyio.create_task_group() as tasks:

        async def wait(event: anyio.Event) -> None:
            await event.wait()
            tasks.cancel_scope.cancel()

        for event in events:
            tasks.start_soon(wait, event)
