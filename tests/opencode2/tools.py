"""The tools of the fake's model: shell, files, questions and subagents; they really run, in the session's directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from .rules import Declined, Refused
from .store import Json, Session

if TYPE_CHECKING:
    from .engine import Engine

SHELL = "/bin/sh"


@dataclass
class ToolRun:
    """A call that runs. `detached` is set when it goes on in the background."""

    engine: Engine
    session: Session
    message: Json
    item: Json
    input: Json
    metadata: Json = field(default_factory=dict[str, Any])
    detached: anyio.Event = field(default_factory=anyio.Event)

    @property
    def directory(self) -> Path:
        """Where the session works."""
        return Path(self.session.directory)

    async def ask(self, action: str, *resources: str, save: tuple[str, ...] = ("*",), **metadata: Any) -> None:
        """Ask for what the call needs. Facts, permissions: `source` names the message and the call."""
        source = {"type": "tool", "messageID": self.message["id"], "id": self.item["id"]}
        await self.engine.requests.ask(self.session, action, [*resources], [*save], metadata, source)

    async def resolve(self, path: str, action: str, **metadata: Any) -> Path:
        """Return a file that the call may use. Facts, permissions: what is outside is asked for first."""
        file = (self.directory / path).resolve()
        inside = file.is_relative_to(self.directory.resolve())
        if not inside:
            await self.ask("external_directory", f"{file.parent}/*", save=(f"{file.parent}/*",))
        await self.ask(action, str(file.relative_to(self.directory.resolve()) if inside else file), **metadata)
        return file

    def progress(self, **metadata: Any) -> None:
        """Publish what is known while the call runs. Facts, subagents: only this names the child of a running call."""
        self.metadata |= metadata
        self.item["state"]["metadata"] = dict(self.metadata)
        self.engine.events.publish(
            "session.tool.progress",
            self.session,
            assistantMessageID=self.message["id"],
            id=self.item["id"],
            metadata=dict(self.metadata),
        )


async def read(run: ToolRun) -> str:
    """Read a file; in the text each line has its number."""
    file = await run.resolve(run.input["path"], "read")
    if not file.is_file():
        raise Refused(f"File not found: {file}")
    lines = file.read_text().splitlines()
    return "\n".join(f"{number}: {line}" for number, line in enumerate(lines, 1))


async def write(run: ToolRun) -> str:
    """Write a file. Facts, permissions: the action is `edit`."""
    content: str = run.input["content"]
    file = await run.resolve(run.input["path"], "edit", files=[{"file": run.input["path"], "patch": content}])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    run.engine.events.publish("filesystem.changed", None, run.session.directory, file=str(file), event="change")
    return f"Wrote {file}"


async def edit(run: ToolRun) -> str:
    """Replace a text in a file."""
    old, new = run.input["oldString"], run.input["newString"]
    file = await run.resolve(run.input["path"], "edit", files=[{"file": run.input["path"], "patch": f"-{old}\n+{new}"}])
    text = file.read_text() if file.is_file() else ""
    if old not in text:
        raise Refused(f"oldString not found in {file}")
    file.write_text(text.replace(old, new, 1))
    return f"Edited {file}"


async def glob(run: ToolRun) -> str:
    """List the files that a pattern matches."""
    await run.ask("glob", run.input["pattern"])
    found = [str(path.relative_to(run.directory)) for path in sorted(run.directory.rglob(run.input["pattern"]))]
    return "\n".join(found) or "No files found"


async def grep(run: ToolRun) -> str:
    """List the lines that an expression matches."""
    await run.ask("grep", run.input["pattern"])
    expression = re.compile(run.input["pattern"])
    texts = run.engine.project(run.session).text_files()
    lines = [f"{path.name}: {line}" for path in texts for line in path.read_text().splitlines()]
    return "\n".join(line for line in lines if expression.search(line)) or "No matches found"


async def shell(run: ToolRun) -> str:
    """Run a command. Source: each command of the line is a resource. Recorded: always stores its first word."""
    command: str = run.input["command"]
    commands = split_commands(command)
    await run.ask("shell", *commands, save=tuple(f"{part.split()[0]} *" for part in commands))
    if run.input.get("background"):
        return run.engine.jobs.start_shell(run, command)
    return await run.engine.jobs.until_detached(run, partial(run_command, run, command))


def split_commands(line: str) -> list[str]:
    """Return the commands of a line; what stands in quotes is not split."""
    quoted = r"""'[^']*'|"(?:\\.|[^"\\])*"|\\."""
    parts = re.findall(rf"((?:{quoted}|[^;&|\n])+)", line)
    return [part.strip() for part in parts if part.strip()] or [line]


async def run_command(run: ToolRun, command: str) -> str:
    """Run a command to its end, and end it if the call is cancelled. Facts, messages: the exit code is metadata."""
    directory = run.directory / run.input.get("workdir", ".")
    exit_code, output = await run_process(command, str(directory), run.engine.environment(run.session))
    run.metadata |= {"status": "completed", "exit": exit_code, "truncated": False}
    return output or "(no output)"


async def run_process(command: str, directory: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a shell command; return its exit code and its output. The whole group of processes is ended with it."""
    async with await anyio.open_process(
        [SHELL, "-c", command],
        cwd=directory,
        env=environ,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            output = b"".join([chunk async for chunk in process.stdout])
            await process.wait()
        finally:
            end_group(process.pid)
    return process.returncode or 0, output.decode(errors="replace")


def end_group(pid: int) -> None:
    """End the processes of a command that was started as a group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


async def question(run: ToolRun) -> str:
    """Ask the user. Facts, forms: keys q0, q1, the question as description, labels as values, own words allowed."""
    await run.ask("question", "*")
    questions: list[Json] = run.input["questions"]
    fields = [question_field(f"q{number}", item) for number, item in enumerate(questions)]
    title = questions[0].get("header", "Question") if len(questions) == 1 else "Questions"
    state = await run.engine.requests.show_form(run.session, title, fields, {"kind": "question"})
    if state["status"] == "cancelled":
        if "message" not in state:
            raise Declined("The user dismissed this question")
        raise Refused(f"The user did not answer: {state['message']}")
    answers = [state["answer"].get(field["key"], "") for field in fields]
    pairs = [f'"{item["question"]}"="{answer}"' for item, answer in zip(questions, answers, strict=True)]
    run.metadata["answers"] = answers
    return f"User has answered your questions: {', '.join(pairs)}"


def question_field(key: str, item: Json) -> Json:
    """Return the field of a question."""
    options = [
        {"value": option["label"], "label": option["label"], "description": option.get("description", "")}
        for option in item.get("options", [])
    ]
    field: Json = {"key": key, "title": item.get("header", key), "description": item["question"], "custom": True}
    return {**field, "type": "multiselect" if item.get("multiple") else "string", "options": options}


async def subagent(run: ToolRun) -> str:
    """Give a child session a prompt. Facts, subagents: it inherits location, metadata and permissions."""
    agent: str = run.input["agent"]
    description: str = run.input.get("description", agent)
    check_subagent(run, agent)
    await run.ask("subagent", agent, save=(agent,))
    child = find_child(run) or run.engine.create_child(run.session, agent, description)
    run.progress(sessionID=child.id, status="running")
    run.engine.admit(child, "user", {"text": f"You are a subagent spawned by another session.\n{run.input['prompt']}"})
    if run.input.get("background"):
        run.engine.jobs.start_subagent(run.session, child, description)
        return in_background(child.id)
    return await run.engine.jobs.until_detached(run, partial(wait_for_child, run, child), child)


def check_subagent(run: ToolRun, agent: str) -> None:
    """Refuse what cannot be a subagent. Source: its words; a subagent is offered the tool, and has no subagents."""
    modes = {item["id"]: item["mode"] for item in run.engine.project(run.session).agents()}
    if run.session.parent_id is not None:
        raise Refused("Subagent depth limit reached (1)")
    if agent not in modes:
        raise Refused(f"Unknown agent: {agent}")
    if modes[agent] == "primary":
        raise Refused(f"Agent {agent} cannot run as a subagent")


def find_child(run: ToolRun) -> Session | None:
    """Return the child that goes on, None for a new one. Source: it must be the session's own."""
    if "sessionID" not in run.input:
        return None
    child = run.engine.store.sessions.get(run.input["sessionID"])
    if child is None or child.parent_id != run.session.id:
        raise Refused(f"Session {run.input['sessionID']} is not a child of the current session")
    return child


async def wait_for_child(run: ToolRun, child: Session) -> str:
    """Wait for a subagent in the foreground; the parent's cancellation is the child's.

    Source: a child that ended otherwise fails the call.
    """
    try:
        await run.engine.executions.wait_until_idle(child)
    except anyio.get_cancelled_exc_class():
        if not run.detached.is_set():
            run.engine.executions.interrupt(child)
        raise
    state, text = child_result(child)
    if state == "cancelled":
        raise Refused("Subagent cancelled")
    run.metadata |= {"sessionID": child.id, "status": state}
    if state == "error":
        raise Refused(text)
    return f'<subagent sessionID="{child.id}" state="completed">\n{text}\n</subagent>'


def child_result(child: Session) -> tuple[str, str]:
    """Return the state of a subagent that is idle, and its answer or error."""
    assistants = [message for message in child.messages if message["type"] == "assistant"]
    outcome = child.info.get("outcome", "interrupted")
    if outcome == "interrupted":
        return "cancelled", "Subagent cancelled"
    if outcome == "failed":
        return "error", assistants[-1]["error"]["message"] if assistants else "Subagent failed"
    texts = [item["text"] for message in assistants for item in message["content"] if item["type"] == "text"]
    return "completed", texts[-1] if texts else "Subagent completed without a text"


def in_background(session_id: str) -> str:
    """Return what the model reads at once of a subagent in the background. Facts, subagents: seen on 2.0.16."""
    return (
        f"The subagent is working in the background (sessionID: {session_id}). "
        "You will be notified automatically when it finishes."
    )


@dataclass(frozen=True)
class Tool:
    """A tool: its action in permission rules, the names of its parameters, and what it does."""

    action: str
    parameters: tuple[str, ...]
    run: Callable[[ToolRun], Awaitable[str]]
    required: int = 1

    def describe(self, name: str) -> Json:
        """Return the tool as the model receives it."""
        properties: Json = {parameter: {} for parameter in self.parameters}
        return {
            "type": "function",
            "function": {"name": name, "parameters": {"type": "object", "properties": properties}},
        }


TOOLS: Mapping[str, Tool] = {
    "read": Tool("read", ("path", "offset", "limit"), read),
    "write": Tool("edit", ("path", "content"), write, 2),
    "edit": Tool("edit", ("path", "oldString", "newString"), edit, 3),
    "glob": Tool("glob", ("pattern", "path"), glob),
    "grep": Tool("grep", ("pattern", "path"), grep),
    "shell": Tool("shell", ("command", "workdir", "timeout", "background"), shell),
    "question": Tool("question", ("questions",), question),
    "subagent": Tool("subagent", ("agent", "prompt", "description", "sessionID", "background"), subagent, 2),
}
"""Facts, messages: the names of tools. Web access, skills, MCP and code mode are left out."""
