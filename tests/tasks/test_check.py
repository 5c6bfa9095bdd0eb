"""A check: its script runs as it was written, and its result is read from the output."""

from __future__ import annotations

import subprocess

import pytest

from opencode_mcp.opencode.models import Part, PermissionRule, parse_model
from opencode_mcp.redaction import to_one_line
from opencode_mcp.tasks.agent_rules import find_denied
from opencode_mcp.tasks.check import check_script, read_check
from opencode_mcp.tasks.transcript import SUBJECT_CHARS, name_tool_call

MARK = "ses_check"


def run_as_opencode(script: str) -> str:
    """Run a script as OpenCode's shell does: as the argument of eval, in JSON's quotes; return the output."""
    import json

    command = ["bash", "-c", f"eval {json.dumps(script)}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def result_of(output: str) -> tuple[int | None, str]:
    """Return the exit code and the output of a check that printed this."""
    state = {"status": "completed", "output": output, "time": {"start": 1000, "end": 3500}}
    result = read_check(parse_model("a test", Part, {"type": "tool", "state": state}), MARK, "make", 1)
    assert result.seconds == 2.5
    assert result.passed == (result.exit_code == 0)
    return result.exit_code, result.output


@pytest.mark.usefixtures("spawns")
@pytest.mark.parametrize(
    ("commands", "code", "output"),
    [
        (['for f in a b; do echo $f 100% "q"; done'], 0, "a 100% q\nb 100% q"),
        (["echo 'it''s' `echo in` $((1 + 1)) \\\\"], 0, "its in 2 \\"),
        (["echo one\necho two"], 0, "one\ntwo"),
        (["[[ a == a ]] && echo ä"], 0, "ä"),
        (["cat", "echo next"], 0, "$ echo next\nnext"),
        (["echo first; exit 7", "echo second"], 7, "first"),
        (["echo 'unclosed"], 2, "unexpected EOF"),
        (["echo err >&2; false"], 1, "err"),
    ],
)
def test_a_command_runs_as_it_is_written(commands: list[str], code: int, output: str) -> None:
    """With quotes, dollars, line breaks and an empty input; a later command runs only if the earlier ones passed."""
    exit_code, printed = result_of(run_as_opencode(check_script(commands, MARK)))

    assert exit_code == code
    assert output in printed
    assert "second" not in printed.replace("$ echo second", "")


@pytest.mark.parametrize(
    "commands", [["npm ci", "npm test"], ["echo '100%' \"$HOME\" \\134 `x`\necho b && run c"], ["ä !"]]
)
def test_a_check_is_named_by_its_commands(commands: list[str]) -> None:
    """A script that differs from that of a check in anything is shown as it is."""
    script = check_script(commands, MARK)

    def name(command: str) -> str:
        state = {"status": "running", "input": {"command": command}}
        return name_tool_call(parse_model("a test", Part, {"type": "tool", "tool": "bash", "state": state}))

    assert name(script) == f"bash {to_one_line(' && '.join(commands))}"
    for other in (f"{script}; rm -r x", script.replace("exec", "rm x; exec"), script.replace("printf \\047", "rm x; ")):
        assert other != script
        assert name(other) == f"bash {to_one_line(other, SUBJECT_CHARS)}"
    assert name("echo 'open") == "bash echo 'open"


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("fine\n\nses_check 0\n", 0),
        ("ses_check 0 is what it prints\n\nses_check 1\n", 1),
        ("\nses_check 0\nmore\n\nses_check 2\nlate line of a background process\n", 2),
        ("cut off", None),
        ("", None),
    ],
)
def test_the_last_mark_has_the_exit_code(output: str, code: int | None) -> None:
    """What a check prints itself is not taken for its end; without a mark it has not passed."""
    assert result_of(output)[0] == code


RULES = [
    PermissionRule(permission="*", pattern="*", action="allow"),
    PermissionRule(permission="bash", pattern="rm *", action="deny"),
    PermissionRule(permission="bash", pattern="git push*", action="ask"),
    PermissionRule(permission="edit", pattern="*", action="deny"),
]


@pytest.mark.parametrize(
    ("command", "denied"),
    [
        ("pytest -q", None),
        ("git push origin", None),
        ("rm -r build", "rm -r build"),
        ("rm", "rm"),
        ("make && rm -r build", "rm -r build"),
        ("echo $(rm x)", "rm x"),
        ("true\nrm x", "rm x"),
    ],
)
def test_a_command_that_the_rules_deny_is_found(command: str, denied: str | None) -> None:
    """Also within a command; a rule that asks denies nothing."""
    assert find_denied(RULES, [command], "bash") == denied


def test_the_last_rule_decides() -> None:
    """As OpenCode decides it."""
    allowed_again = PermissionRule(permission="ba*", pattern="rm ?", action="allow")

    assert find_denied([*RULES, allowed_again], ["rm x"], "bash") is None
    assert find_denied([*RULES, allowed_again], ["rm xy"], "bash") == "rm xy"
