"""Prompts: three built-in ones, and OpenCode's commands while OpenCode runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import EngineTraits, engine_of
from opencode_mcp.redaction import Redactor
from opencode_mcp.server.subscriptions.handlers import schedule_prompts_changed
from opencode_mcp.tools.truncate import abbreviate

from .if_running import call_if_running
from .lifespan import RequestContext

PLACEHOLDER = re.compile(r"\$(?:ARGUMENTS|\d+)")


class OpenCodeCommand(BaseModel):
    """A command of OpenCode; `source` is `command`, `skill` or `mcp`.

    `hints` are the placeholders of its template: `$ARGUMENTS` for all arguments, `$1` for the first. A skill's text may
    contain these literally: it has no hints.
    """

    name: str
    description: str | None = None
    source: str = ""
    template: Any = None
    hints: list[str] = []


@dataclass(frozen=True)
class BuiltInPrompt:
    """A built-in prompt; `render` builds the message from the arguments, for the tools of an OpenCode."""

    name: str
    title: str
    description: str
    arguments: tuple[types.PromptArgument, ...]
    render: Callable[[Mapping[str, str], EngineTraits], str]

    @property
    def prompt(self) -> types.Prompt:
        """The prompt as it is listed."""
        return types.Prompt(
            name=self.name, title=self.title, description=self.description, arguments=list(self.arguments)
        )


def make_argument(name: str, description: str, required: bool = False) -> types.PromptArgument:
    """Return an argument of a prompt."""
    return types.PromptArgument(name=name, description=description, required=required)


def delegate_task(arguments: Mapping[str, str], traits: EngineTraits) -> str:
    """Return the instructions for delegating a task."""
    options = {name: arguments[name] for name in ("directory", "agent", "model") if arguments.get(name)}
    call = json.dumps({"prompt": arguments["task"], **options}, ensure_ascii=False)
    return f"""\
Delegate this task to OpenCode: call run_task with {call}.
First add to the prompt what OpenCode needs to know from our conversation, which it cannot see.
Trust the report's `state`. While `next` names a call, make it: wait_for_tasks while the task runs, \
answer_permission or answer_question when it waits for a reply. Ask me before you allow anything harmful.
When the state is completed, review the changes with collect_changes, check that they do what I asked, and \
summarize them. If the task failed or was stopped, explain why and suggest the next step."""


def review_changes(arguments: Mapping[str, str], traits: EngineTraits) -> str:
    """Return the instructions for reviewing a session's changes."""
    session = json.dumps(arguments["session_id"])
    focus = f"\nFocus on: {arguments['focus']}" if arguments.get("focus") else ""
    return f"""\
Review what the OpenCode session {arguments["session_id"]} changed. Change nothing yourself.
1. read_transcript with session_id {session}: the request, and what the session reports.
2. collect_changes with session_id {session} and format "patch": the actual changes.
3. Where a change needs context, read the surrounding code with {traits.reading_tools}.{focus}
Report, most severe first: bugs, each with an input that shows it; requested work that is missing; changes that were \
not requested. Give file and line. If there are no problems, say so."""


def hand_over_session(arguments: Mapping[str, str], traits: EngineTraits) -> str:
    """Return the instructions for handing over a session."""
    session = json.dumps(arguments["session_id"])
    goal = f" The successor's goal: {arguments['goal']}" if arguments.get("goal") else ""
    return f"""\
Hand the OpenCode session {arguments["session_id"]} over to someone without any knowledge of it.{goal}
1. report_task with session_id {session}: its state and pending requests.
2. read_transcript with session_id {session}, and with `before` back to where the goal is clear.
3. collect_changes with session_id {session}: the changed files.
Then write the handover: the goal; what is done, with files; decisions and their reasons; failed attempts; open \
work, next step first; pending requests. Quote commands and paths exactly, and state only what you have read. \
End with how to continue: run_task with session_id {session} continues this session; run_task without a session_id, \
with the handover as its prompt, starts a new one."""


SESSION_ID_ARGUMENT = make_argument("session_id", "The session's id, such as ses_….", required=True)

BUILT_IN_PROMPTS: Mapping[str, BuiltInPrompt] = {
    prompt.name: prompt
    for prompt in (
        BuiltInPrompt(
            "delegate_task",
            "Delegate a task",
            "Delegate a task to OpenCode, follow it to completion, and check the result.",
            (
                make_argument("task", "The task.", required=True),
                make_argument("directory", "The project directory; default: this server's."),
                make_argument("agent", "The agent to use."),
                make_argument("model", "The model to use, as provider/model."),
            ),
            delegate_task,
        ),
        BuiltInPrompt(
            "review_changes",
            "Review a session's changes",
            "Compare a session's request, its report and its actual changes.",
            (SESSION_ID_ARGUMENT, make_argument("focus", "What to focus on.")),
            review_changes,
        ),
        BuiltInPrompt(
            "hand_over_session",
            "Hand over a session",
            "Write what is needed to continue a session.",
            (SESSION_ID_ARGUMENT, make_argument("goal", "What the successor should do.")),
            hand_over_session,
        ),
    )
}


async def list_prompts(context: RequestContext, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    """List the built-in prompts, and the commands of an OpenCode that is already running."""
    opencode = context.lifespan_context.servers.default
    commands_by_name = await call_if_running(opencode, list_commands)
    if commands_by_name is None:
        schedule_prompts_changed(context)
    built_in = (prompt.prompt for prompt in BUILT_IN_PROMPTS.values())
    redactor = context.lifespan_context.redactor
    from_commands = (command_prompt(command, redactor) for command in (commands_by_name or {}).values())
    return types.ListPromptsResult(prompts=[*built_in, *from_commands])


async def get_prompt(context: RequestContext, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """Return a prompt with its arguments filled in.

    Raises:
        MCPError: it is unknown, or a required argument is missing.
    """
    arguments = params.arguments or {}
    redactor = context.lifespan_context.redactor
    built_in = BUILT_IN_PROMPTS.get(params.name)
    if built_in is not None:
        missing = [
            prompt_argument.name
            for prompt_argument in built_in.arguments
            if prompt_argument.required and not arguments.get(prompt_argument.name)
        ]
        if missing:
            raise MCPError(types.INVALID_PARAMS, f"The prompt {params.name} needs: {', '.join(missing)}")
        traits = engine_of(context.lifespan_context.servers.default).traits
        return prompt_result(built_in.description, built_in.render(arguments, traits))
    command = (await fetch_commands(context.lifespan_context.servers.default, redactor)).get(params.name)
    if command is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {abbreviate(redactor.redact_text(params.name))}")
    return prompt_result(
        redactor.redact_text(command.description or "") or None, redactor.redact_text(fill_template(command, arguments))
    )


def prompt_result(description: str | None, text: str) -> types.GetPromptResult:
    """Return a prompt of one message."""
    content = types.TextContent(type="text", text=text)
    return types.GetPromptResult(description=description, messages=[types.PromptMessage(role="user", content=content)])


async def fetch_commands(opencode: OpenCodeClient, redactor: Redactor) -> dict[str, OpenCodeCommand]:
    """Return the commands of a running OpenCode, without a time limit of its own.

    Raises:
        MCPError: OpenCode is not running, or does not answer.
    """
    if opencode.server.current_endpoint() is None:
        raise MCPError(
            types.INVALID_PARAMS, "Unknown prompt: OpenCode is not running, so its commands are not known yet"
        )
    try:
        return await list_commands(opencode)
    except OpenCodeError as error:
        raise MCPError(types.INTERNAL_ERROR, redactor.redact_error(error)) from error


async def list_commands(opencode: OpenCodeClient) -> dict[str, OpenCodeCommand]:
    """Return OpenCode's own commands by name, without those that have the name of a built-in prompt.

    A prompt is what a command sends to the model: without its template there is none.
    """
    if not engine_of(opencode).traits.has_command_templates:
        return {}
    listed = await opencode.call_as(list[OpenCodeCommand], "command_list")
    usable = (command for command in listed if command.source != "mcp" and isinstance(command.template, str))
    return {command.name: command for command in usable if command.name not in BUILT_IN_PROMPTS}


def command_prompt(command: OpenCodeCommand, redactor: Redactor) -> types.Prompt:
    """Return a command as a prompt; all arguments are optional, as in OpenCode."""
    return types.Prompt(
        name=command.name,
        description=redactor.redact_text(command.description or "") or None,
        arguments=[make_argument(argument_name(hint), f"The value of {hint}.") for hint in command.hints],
    )


def argument_name(placeholder: str) -> str:
    """Return the name of the argument that fills a placeholder: `arguments`, `argument_1`."""
    name = placeholder.removeprefix("$")
    return f"argument_{name}" if name.isdigit() else name.lower()


def fill_template(command: OpenCodeCommand, arguments: Mapping[str, str]) -> str:
    """Fill in a command's template in one pass: placeholders within a value are not replaced.

    `$ARGUMENTS` stands for all arguments: if it has no value of its own, it gets the numbered ones.
    """
    values = {hint: arguments.get(argument_name(hint), "") for hint in command.hints}
    if not values.get("$ARGUMENTS"):
        values["$ARGUMENTS"] = " ".join(value for value in values.values() if value)
    return PLACEHOLDER.sub(lambda match: values[match[0]] if match[0] in command.hints else match[0], command.template)
