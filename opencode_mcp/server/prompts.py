"""Prompts: three built-in ones, and OpenCode's commands while OpenCode runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp import MCPError
from pydantic import BaseModel

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.redaction import Redactor
from opencode_mcp.tools.shorten import abbreviate

from .lifespan import RequestContext
from .running import ask_running
from .subscriptions import announce_commands

PLACEHOLDER = re.compile(r"\$(?:ARGUMENTS|\d+)")


class Command(BaseModel):
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
class OwnPrompt:
    """A built-in prompt; `render` builds the message from the arguments."""

    name: str
    title: str
    description: str
    arguments: tuple[types.PromptArgument, ...]
    text: Callable[[Mapping[str, str]], str]

    @property
    def prompt(self) -> types.Prompt:
        """The prompt as it is listed."""
        return types.Prompt(
            name=self.name, title=self.title, description=self.description, arguments=list(self.arguments)
        )


def argument(name: str, description: str, required: bool = False) -> types.PromptArgument:
    """Return an argument of a prompt."""
    return types.PromptArgument(name=name, description=description, required=required)


def delegate_task(given: Mapping[str, str]) -> str:
    """Return the instructions for delegating a task."""
    chosen = {name: given[name] for name in ("directory", "agent", "model") if given.get(name)}
    call = json.dumps({"prompt": given["task"], **chosen}, ensure_ascii=False)
    return f"""\
Delegate this task to OpenCode: call run_task with {call}.
First add to the prompt what OpenCode needs to know from our conversation, which it cannot see.
Trust the report's `state`. While `next` names a call, make it: wait_for_tasks while the task runs, \
answer_permission or answer_question when it waits for a reply. Ask me before you allow anything harmful.
When the state is completed, review the changes with collect_changes, check that they do what I asked, and \
summarize them. If the task failed or was stopped, explain why and suggest the next step."""


def review_changes(given: Mapping[str, str]) -> str:
    """Return the instructions for reviewing a session's changes."""
    session = json.dumps(given["session_id"])
    focus = f"\nFocus on: {given['focus']}" if given.get("focus") else ""
    return f"""\
Review what the OpenCode session {given["session_id"]} changed. Change nothing yourself.
1. read_transcript with session_id {session}: the request, and what the session reports.
2. collect_changes with session_id {session} and format "patch": the actual changes.
3. Where a change needs context, read the surrounding code with file_read and find_text.{focus}
Report, most severe first: bugs, each with an input that shows it; requested work that is missing; changes that were \
not requested. Give file and line. If there are no problems, say so."""


def hand_over_session(given: Mapping[str, str]) -> str:
    """Return the instructions for handing over a session."""
    session = json.dumps(given["session_id"])
    goal = f" The successor's goal: {given['goal']}" if given.get("goal") else ""
    return f"""\
Hand the OpenCode session {given["session_id"]} over to someone without any knowledge of it.{goal}
1. report_task with session_id {session}: its state and pending requests.
2. read_transcript with session_id {session}, and with `before` back to where the goal is clear.
3. collect_changes with session_id {session}: the changed files.
Then write the handover: the goal; what is done, with files; decisions and their reasons; failed attempts; open \
work, next step first; pending requests. Quote commands and paths exactly, and state only what you have read. \
End with how to continue: run_task with session_id {session} continues this session; run_task without a session_id, \
with the handover as its prompt, starts a new one."""


SESSION_ID = argument("session_id", "The session's id, such as ses_….", required=True)

OWN_PROMPTS: Mapping[str, OwnPrompt] = {
    one.name: one
    for one in (
        OwnPrompt(
            "delegate_task",
            "Delegate a task",
            "Delegate a task to OpenCode, follow it to completion, and check the result.",
            (
                argument("task", "The task.", required=True),
                argument("directory", "The project directory; default: this server's."),
                argument("agent", "The agent to use."),
                argument("model", "The model to use, as provider/model."),
            ),
            delegate_task,
        ),
        OwnPrompt(
            "review_changes",
            "Review a session's changes",
            "Compare a session's request, its report and its actual changes.",
            (SESSION_ID, argument("focus", "What to focus on.")),
            review_changes,
        ),
        OwnPrompt(
            "hand_over_session",
            "Hand over a session",
            "Write what is needed to continue a session.",
            (SESSION_ID, argument("goal", "What the successor should do.")),
            hand_over_session,
        ),
    )
}


async def list_prompts(context: RequestContext, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    """List the built-in prompts, and the commands of an OpenCode that is already running."""
    opencode = context.lifespan_context.servers.default
    known = await ask_running(opencode, commands)
    if known is None:
        announce_commands(context)
    own = (one.prompt for one in OWN_PROMPTS.values())
    redactor = context.lifespan_context.redactor
    commanded = (command_prompt(command, redactor) for command in (known or {}).values())
    return types.ListPromptsResult(prompts=[*own, *commanded])


async def get_prompt(context: RequestContext, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """Return a prompt with its arguments filled in.

    Raises:
        MCPError: it is unknown, or a required argument is missing.
    """
    given = params.arguments or {}
    redactor = context.lifespan_context.redactor
    own = OWN_PROMPTS.get(params.name)
    if own is not None:
        missing = [one.name for one in own.arguments if one.required and not given.get(one.name)]
        if missing:
            raise MCPError(types.INVALID_PARAMS, f"The prompt {params.name} needs: {', '.join(missing)}")
        return message(own.description, own.text(given))
    command = (await known_commands(context.lifespan_context.servers.default, redactor)).get(params.name)
    if command is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {redactor.redact_text(abbreviate(params.name))}")
    return message(
        redactor.redact_text(command.description or "") or None, redactor.redact_text(filled(command, given))
    )


def message(description: str | None, text: str) -> types.GetPromptResult:
    """Return a prompt of one message."""
    content = types.TextContent(type="text", text=text)
    return types.GetPromptResult(description=description, messages=[types.PromptMessage(role="user", content=content)])


async def known_commands(opencode: OpenCodeClient, redactor: Redactor) -> dict[str, Command]:
    """Return the commands of a running OpenCode, without a time limit of its own.

    Raises:
        MCPError: OpenCode is not running, or does not answer.
    """
    if opencode.server.current_endpoint() is None:
        raise MCPError(
            types.INVALID_PARAMS, "Unknown prompt: OpenCode is not running, so its commands are not known yet"
        )
    try:
        return await commands(opencode)
    except OpenCodeError as error:
        raise MCPError(types.INTERNAL_ERROR, redactor.redact_error(error)) from error


async def commands(opencode: OpenCodeClient) -> dict[str, Command]:
    """Return OpenCode's own commands by name, without those that have the name of a built-in prompt."""
    known = await opencode.call_as(list[Command], "command_list")
    own = (one for one in known if one.source != "mcp" and isinstance(one.template, str))
    return {one.name: one for one in own if one.name not in OWN_PROMPTS}


def command_prompt(command: Command, redactor: Redactor) -> types.Prompt:
    """Return a command as a prompt; all arguments are optional, as in OpenCode."""
    return types.Prompt(
        name=command.name,
        description=redactor.redact_text(command.description or "") or None,
        arguments=[argument(argument_name(hint), f"The value of {hint}.") for hint in command.hints],
    )


def argument_name(placeholder: str) -> str:
    """Return the name of the argument that fills a placeholder: `arguments`, `argument_1`."""
    name = placeholder.removeprefix("$")
    return f"argument_{name}" if name.isdigit() else name.lower()


def filled(command: Command, given: Mapping[str, str]) -> str:
    """Fill in a command's template, in one pass: what an argument says is not filled in again.

    `$ARGUMENTS` is all that was given, so without an argument of its own it is the numbered ones.
    """
    values = {hint: given.get(argument_name(hint), "") for hint in command.hints}
    if not values.get("$ARGUMENTS"):
        values["$ARGUMENTS"] = " ".join(value for value in values.values() if value)
    return PLACEHOLDER.sub(lambda match: values[match[0]] if match[0] in command.hints else match[0], command.template)
