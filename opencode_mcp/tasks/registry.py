"""The task tools as values: name, description, models of arguments and result, function, hints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any, Literal, cast

import anyio
from pydantic import BaseModel, Field, create_model

from opencode_mcp.catalog.annotations import READ_ONLY, Hints
from opencode_mcp.catalog.generations import DEFAULT_GENERATION
from opencode_mcp.openapi.document import Schema
from opencode_mcp.opencode.deadline import DEFAULT_LIMIT_SECONDS, time_limit
from opencode_mcp.opencode.engine import TRAITS, EngineTraits, engine_of

from .answers import answer_permission, answer_question
from .arguments import Arguments
from .changes import CollectChanges, ReadChanges
from .comparison import CollectResult, collect_or_compare
from .context import Context
from .list_tasks import ListTasks, TaskList, list_tasks
from .options import StartOneTask
from .replies import AnswerForm, AnswerPermission, AnswerQuestion
from .report import TaskReport
from .stop import StopTask, stop_task
from .task_tools import (
    ReportTask,
    RunTask,
    RunTasks,
    TaskReports,
    WaitedTasks,
    WaitForTasks,
    report_task,
    run_task,
    run_tasks,
    start_task,
    wait_for_tasks,
)
from .transcript import ReadTranscript, Transcript, read_transcript

WAIT_HINTS = Hints(read_only=False, destructive=True, idempotent=True, open_world=True)
"""Destructive: during the wait the task's policy may allow a command."""
RUN_HINTS = Hints(read_only=False, destructive=True, idempotent=False, open_world=True)
END_HINTS = Hints(read_only=False, destructive=True, idempotent=True, open_world=False)


@dataclass(frozen=True, slots=True)
class ReadingForm:
    """What is left of a tool where changes are forbidden: its arguments that change nothing."""

    description: str
    arguments: type[Arguments]


@dataclass(frozen=True)
class TaskTool:
    """A tool of several requests. `run` takes the context and an instance of `arguments`.

    Choosing the server takes until `timeout_seconds` at most, or until `least_seconds` if that is longer. With
    `becomes_task` a call continues as an MCP task if the client has MCP Tasks; with `owns_tasks`, cancelling that stops
    the work. Where a setting forbids the tool, its `reading` form stays. `for_forms` are the arguments where OpenCode
    asks with forms, `words` those of the descriptions to replace.
    """

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    output: type[BaseModel]
    run: Callable[[Context, Any], Awaitable[BaseModel]]
    hints: Hints
    least_seconds: float = 0.0
    becomes_task: bool = False
    owns_tasks: bool = True
    reading: ReadingForm | None = None
    for_forms: type[Arguments] | None = None
    words: Mapping[str, str] = field(default_factory=dict[str, str])

    async def execute(self, context: Context, arguments: Arguments) -> BaseModel:
        """Choose the server, and run the tool; `arguments` is an instance of the tool's model.

        Raises:
            OpenCodeError: what went wrong.
        """
        min_version = engine_of(context.opencode).traits.min_version
        supported = replace(context, servers=context.servers.with_options(min_version=min_version))
        supported = supported.holding(self.name) if self.becomes_task else replace(supported, hold_seconds=None)
        seconds: float = getattr(arguments, "timeout_seconds", DEFAULT_LIMIT_SECONDS)
        deadline = anyio.current_time() + seconds
        async with AsyncExitStack() as stack:
            with time_limit(max(seconds, self.least_seconds)):
                server_context = await stack.enter_async_context(supported.for_arguments(dict(arguments)))
            remaining = {"timeout_seconds": max(0.0, deadline - anyio.current_time())}
            if hasattr(arguments, "timeout_seconds"):
                arguments = arguments.model_copy(update=remaining)
            return await self.run(server_context, arguments)

    def for_servers(self, servers: Sequence[str]) -> TaskTool:
        """Return the tool for several servers: with an argument that chooses one, unless a session must do so."""
        if not servers or {"session_id", "session_ids"} & {*self.input_schema.get("required", ())}:
            return self
        name: Any = cast("Any", Literal)[tuple(servers)]
        description = f"default: {servers[0]}, or the server that has the session or request"
        field: Any = (name | None, Field(None, description=description))
        model = create_model(self.arguments.__name__, __base__=self.arguments, server=field)
        return replace(self, arguments=model)

    def for_traits(self, traits: EngineTraits) -> TaskTool:
        """Return the tool for an OpenCode with these traits."""
        arguments = self.for_forms if self.for_forms is not None and traits.has_forms else self.arguments
        return replace(self, arguments=arguments, words=traits.words)

    def only_reading(self) -> TaskTool:
        """Return the tool's reading form; the tool has one."""
        assert self.reading is not None
        return replace(
            self, description=self.reading.description, arguments=self.reading.arguments, hints=READ_ONLY, reading=None
        )

    @cached_property
    def input_schema(self) -> Schema:
        """The JSON Schema of the arguments."""
        return replace_words(self.arguments.model_json_schema(), self.words)

    @cached_property
    def output_schema(self) -> Schema:
        """The JSON Schema of the structured result."""
        return self.output.model_json_schema(mode="serialization")


def replace_words(value: Any, words: Mapping[str, str]) -> Any:
    """Return a JSON value whose texts have other words."""
    if isinstance(value, str):
        return reduce(lambda text, word: text.replace(word, words[word]), words, value)
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {name: replace_words(member, words) for name, member in members.items()}
    return [replace_words(item, words) for item in cast("list[Any]", value)] if isinstance(value, list) else value


TASK_TOOL_LIST: tuple[TaskTool, ...] = (
    TaskTool(
        "run_task",
        "Run a task",
        "Give OpenCode, which sees nothing of this conversation, a coding task that is complete in itself. Waits for "
        "the report: `state` says how the task stands, `next` which call to make; answer what is in `pending`. After "
        "timeout_seconds the task runs on: call wait_for_tasks.",
        RunTask,
        TaskReport,
        run_task,
        RUN_HINTS,
        becomes_task=True,
    ),
    TaskTool(
        "start_task",
        "Start a task",
        "As run_task, but returns once the task runs (40 s at most); wait_for_tasks brings the result.",
        StartOneTask,
        TaskReport,
        start_task,
        RUN_HINTS,
    ),
    TaskTool(
        "run_tasks",
        "Run several tasks",
        "Run several tasks at once, each in its own git worktree, and wait for all reports. Their changes reach the "
        "project only through collect_changes with apply, one task after the other.",
        RunTasks,
        TaskReports,
        run_tasks,
        RUN_HINTS,
        becomes_task=True,
    ),
    TaskTool(
        "wait_for_tasks",
        "Wait for tasks",
        "Wait until one (or all) of the tasks is done or needs an answer, and report all of them. They may be of "
        "any client. Neither the time limit nor cancelling stops a task.",
        WaitForTasks,
        WaitedTasks,
        wait_for_tasks,
        WAIT_HINTS,
        becomes_task=True,
        owns_tasks=False,
    ),
    TaskTool(
        "report_task",
        "Report a task",
        "Report a task or any other session now, within 20 s. cost and tokens are the session's, turn_… its last "
        "turn's, family_… with subagents.",
        ReportTask,
        TaskReport,
        report_task,
        READ_ONLY,
    ),
    TaskTool(
        "list_tasks",
        "List tasks",
        "The project's tasks, newest first.",
        ListTasks,
        TaskList,
        list_tasks,
        READ_ONLY,
    ),
    TaskTool(
        "answer_permission",
        "Answer a permission",
        "Allow or reject the tool call that a task wants permission for, then wait for the task and report it.",
        AnswerPermission,
        TaskReport,
        answer_permission,
        RUN_HINTS,
        least_seconds=DEFAULT_LIMIT_SECONDS,
    ),
    TaskTool(
        "answer_question",
        "Answer a question",
        "Answer a task's question, then wait for the task and report it.",
        AnswerQuestion,
        TaskReport,
        answer_question,
        RUN_HINTS,
        least_seconds=DEFAULT_LIMIT_SECONDS,
        for_forms=AnswerForm,
    ),
    TaskTool(
        "stop_task",
        "Stop a task",
        "Abort a task and its subagents; returns once they have stopped. What it has written stays.",
        StopTask,
        TaskReport,
        stop_task,
        END_HINTS,
    ),
    TaskTool(
        "collect_changes",
        "Collect a task's changes",
        "What a session changed in files. After a task in a worktree nothing is in the project until you `apply` it.",
        CollectChanges,
        CollectResult,
        collect_or_compare,
        END_HINTS,
        reading=ReadingForm(
            "What a session changed in files, or a comparison of several that worked in worktrees.", ReadChanges
        ),
    ),
    TaskTool(
        "read_transcript",
        "Read a transcript",
        "A session's conversation as text, newest last, one line for each tool call; with message ids.",
        ReadTranscript,
        Transcript,
        read_transcript,
        READ_ONLY,
    ),
)

TASK_TOOLS = {tool.name: tool for tool in TASK_TOOL_LIST}
"""The task tools by name."""


def task_tools_for(
    servers: Sequence[str] = (), only_reading: Collection[str] = (), generation: int = DEFAULT_GENERATION
) -> Mapping[str, TaskTool]:
    """Return the task tools by name, for a generation of OpenCode, and for several servers or for one.

    Those that are `only_reading` have that form.
    """
    known = {name: tool.for_traits(TRAITS[generation]) for name, tool in TASK_TOOLS.items()}
    tools = {name: tool.only_reading() if name in only_reading else tool for name, tool in known.items()}
    return {name: tool.for_servers(servers) for name, tool in tools.items()}
