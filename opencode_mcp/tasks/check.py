"""A task's check: the script that runs its commands in OpenCode's shell, and the result that its output has.

OpenCode reports no exit code of a command that it runs for a client (1.18.33): the script prints it last, after a mark.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from pydantic import BaseModel

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Agent, Config, Part, PermissionRule
from opencode_mcp.redaction import end_of

from .model_selection import DEFAULT_AGENT
from .workspace import directory_argument

OUTPUT_CHARS = 2_000
"""How much of a check's output is reported, and sent back to the model: its end."""

ABORTED = "User aborted the command"
"""What OpenCode writes below the output of a command that was aborted (1.18.33)."""

RUN = 'run() { if command -v bash >/dev/null; then bash -c "$1"; else sh -c "$1"; fi; }'
PRINTF_ESCAPES = str.maketrans({"%": "%%", **{special: f"\\{ord(special):03o}" for special in "\n\r\t\\'\"$`!"}})

SEPARATORS = re.compile(r"[;&|\n(){}`]+|\$\(")
"""What separates the commands of a script, about as OpenCode takes it apart to ask for permissions."""


class CheckResult(BaseModel):
    """How a check ended. `exit_code` is None if it did not end by itself; `output` is the end of its output."""

    command: str
    passed: bool
    exit_code: int | None = None
    seconds: float
    output: str
    attempt: int

    @property
    def was_aborted(self) -> bool:
        """Whether a client aborted the check, or a bridge did."""
        return self.exit_code is None and ABORTED in self.output

    def describe(self) -> str:
        """Say in one line how the check failed."""
        if self.exit_code is not None:
            return f"the check failed with exit code {self.exit_code}"
        return f"the check was not finished: {self.output.strip().splitlines()[-1] if self.output.strip() else 'lost'}"


def check_script(commands: Sequence[str], mark: str) -> str:
    """Return what OpenCode's shell runs: each command with bash, or else sh, until one fails; then mark and exit code.

    OpenCode passes a command through `eval "…"`, in which a `$` is expanded too early and a line break is none
    (1.18.33). So the script is encoded for printf, without any of those, and read by a shell of its own.
    """
    runs = [
        f"printf '%s\\n' {shlex.quote(f'$ {command}')} && run {shlex.quote(command)} </dev/null" for command in commands
    ]
    script = f"exec 2>&1\n{RUN}\n{' && '.join(runs)}\nprintf '\\n%s %s\\n' {mark} \"$?\"\n"
    return f"printf '{script.translate(PRINTF_ESCAPES)}' | sh"


def read_check(part: Part, mark: str, command: str, attempt: int) -> CheckResult:
    """Return the result of a check from the tool call that ran its script."""
    assert part.state is not None
    match = next(reversed([*re.finditer(rf"\n{re.escape(mark)} (\d+)\n", part.state.output)]), None)
    output = part.state.output[: match.start()] if match else part.state.output
    span = part.state.time
    exit_code = int(match[1]) if match else None
    return CheckResult(
        command=command,
        passed=exit_code == 0,
        exit_code=exit_code,
        seconds=round(((span.end or 0) - (span.start or 0)) / 1000, 1),
        output=end_of(output.strip(), OUTPUT_CHARS) or "",
        attempt=attempt,
    )


async def refuse_denied_check(
    opencode: OpenCodeClient, directory: str | None, agent: str | None, commands: Sequence[str]
) -> None:
    """Refuse a check that the task's agent must not run: OpenCode asks for no permission for a client's command.

    A rule that asks does not refuse, as the caller of the task, who would be asked, has named the command.

    Raises:
        WorkflowError: a rule of the agent denies it.
    """
    if not commands:
        return
    location = directory_argument(directory)
    name = agent or (await opencode.call_as(Config, "config_get", **location)).default_agent or DEFAULT_AGENT
    agents = await opencode.call_as(list[Agent], "app_agents", **location)
    rules = next((known.permission for known in agents if known.name == name), ())
    if (denied := find_denied(rules, commands)) is not None:
        raise WorkflowError(f"check: OpenCode's rules deny agent {name} the command {denied!r}; nothing was started")


def find_denied(rules: Sequence[PermissionRule], commands: Sequence[str]) -> str | None:
    """Return the first command, or part of one, that an agent's rules deny; None if there is none."""
    parts = [part.strip() for command in commands for part in (command, *SEPARATORS.split(command)) if part.strip()]
    return next((part for part in parts if action_of(rules, "bash", part) == "deny"), None)


def action_of(rules: Sequence[PermissionRule], permission: str, subject: str) -> str:
    """Return what an agent's rules say about a tool call, as OpenCode decides it; `ask` where none matches."""
    for rule in reversed(rules):
        if matches(rule.permission, permission) and matches(rule.pattern, subject):
            return rule.action
    return "ask"


def matches(pattern: str, text: str) -> bool:
    """Whether a text matches OpenCode's wildcards; `git *` matches `git` as well (1.18.33)."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    if expression.endswith(r"\ .*"):
        expression = expression.removesuffix(r"\ .*") + r"(\ .*)?"
    return re.fullmatch(expression, text, re.DOTALL) is not None
