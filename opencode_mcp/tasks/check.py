"""A task's check or setup: the script that runs its commands in OpenCode's shell, and the result in its output.

OpenCode reports no exit code of a command that it runs for a client (1.18.33): the script prints it last, after a mark.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from pydantic import BaseModel

from opencode_mcp.opencode.models import Part
from opencode_mcp.redaction import end_of

CHECK_SECONDS = 600.0
"""How long a check may take."""

OUTPUT_CHARS = 2_000
"""How much of a check's output is reported, and sent back to the model: its end."""

ABORTED = "User aborted the command"
"""What OpenCode writes below the output of a command that was aborted (1.18.33)."""

RUN = 'run() { if command -v bash >/dev/null; then bash -c "$1"; else sh -c "$1"; fi; }'
PRINTF_ESCAPES = str.maketrans({"%": "%%", **{special: f"\\{ord(special):03o}" for special in "\n\r\t\\'\"$`!"}})


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

    def describe(self, name: str = "check") -> str:
        """Say in one line how the check failed, or what else is called `name`."""
        if self.exit_code is not None:
            return f"the {name} failed with exit code {self.exit_code}"
        return f"the {name} was not finished: {self.output.strip().splitlines()[-1] if self.output.strip() else 'lost'}"


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


def read_commands(script: str) -> list[str]:
    """Return the commands of exactly what `check_script` returns, none of any other text."""
    encoded = script.removeprefix("printf '").removesuffix("' | sh")
    decoded = re.sub(r"%%|\\([0-7]{3})", lambda match: chr(int(match[1], 8)) if match[1] else "%", encoded)
    try:
        tokens = shlex.split(decoded.removeprefix(f"exec 2>&1\n{RUN}\n"))
    except ValueError:  # another text, with an open quote
        return []
    commands = tokens[5:-4:8]
    # A model's own command must not be shown as another one than it is.
    return commands if commands and check_script(commands, tokens[-2]) == script else []


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
