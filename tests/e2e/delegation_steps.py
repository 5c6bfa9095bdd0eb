"""What a user delegates in tests and in pictures: lines, the calls that they lead to, and what OpenCode runs."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import QUICK_CONFIG

from .assistant_script import CallTool, Say

COMMAND = "touch CHANGELOG.md"
"""What OpenCode asks permission for."""
ANSWER = "You are on the branch main."
CONFIG = {**QUICK_CONFIG, "permission": {"bash": {"*": "ask", "test *": "allow", "sleep *": "allow"}}}
"""OpenCode asks for permission to run anything but what waits for a file."""
RUNNING = "1 MCP task"


def run_commands(*commands: str, **arguments: Any) -> CallTool:
    """Return the call of a task that runs commands, one after the other."""
    calls = [{"name": "bash", "args": {"command": command, "description": command}} for command in commands]
    return CallTool("run_task", {"prompt": f"script:chain {json.dumps(calls)}", **arguments})


def wait_for_file(name: str) -> str:
    """Return the command that waits for a file."""
    return f"until test -e {name}; do sleep 0.1; done"


STEPS = {
    "Have OpenCode begin a changelog": run_commands(wait_for_file("go"), COMMAND, timeout_seconds=1),
    "Which branch is this?": Say(ANSWER),
    "Have OpenCode do more": run_commands(wait_for_file("never"), timeout_seconds=1),
    "Have OpenCode do the rest": run_commands(wait_for_file("later"), timeout_seconds=1),
}
DELEGATE, ASK, MORE, REST = STEPS
"""Lines of the user, and what the assistant's model does then."""
