"""`python -m benchmarks.delegation`: what a delegated task costs the assistant's model, with and without MCP Tasks.

A task of three minutes with one permission, delegated by Claude Code at a terminal; both models are scripted. Its user
says one line, and allows the command in the form. A turn is a request to the assistant's model; tokens are those of
o200k_base in the conversation, without the system prompt and the tools.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from opencode_mcp.settings import Settings
from tests import npm
from tests.e2e.assistant_script import CallTool, Say
from tests.e2e.assistants import InstalledPrograms
from tests.e2e.claude_code import FORM, answer_form, open_claude_code
from tests.e2e.delegation import DelegatingModel, Turn
from tests.eventually import eventually

from .context import count_tokens
from .setup import BenchmarkSetup, open_setup

HALF_SECONDS = 90
LIMIT_SECONDS = 600.0
COMMANDS = (f"sleep {HALF_SECONDS}", "touch made", f"sleep {HALF_SECONDS}")
CONFIG = {"permission": {"bash": {"*": "ask", "sleep *": "allow"}}}
MODES: Mapping[str, Mapping[str, str]] = {
    "with MCP Tasks": {},
    "without": {"CLAUDE_CODE_DISABLE_MCP_TASKS": "1"},
}


@dataclass(frozen=True)
class DelegationCost:
    """What one delegation cost, in requests to the model, tokens and seconds.

    `tokens_added` are those of the conversation at its end, `tokens_read` the sum over all requests. The user could
    talk to the model again after `seconds_until_free`.
    """

    turns: int
    tokens_added: int
    tokens_read: int
    seconds_until_free: float
    seconds: float


def delegated_call() -> CallTool:
    """Return the call of the task."""
    calls = [{"name": "bash", "args": {"command": command, "description": command}} for command in COMMANDS]
    return CallTool("run_task", {"prompt": f"script:chain {json.dumps(calls)}"})


async def delegate(setup: BenchmarkSetup, folder: Path, environ: Mapping[str, str]) -> DelegationCost:
    """Delegate the task, allow its command, and wait until the assistant's model has the result."""
    settings = Settings(
        url=str(setup.endpoint.url), password=setup.endpoint.password or "", directory=str(setup.project)
    )
    installed = InstalledPrograms(await to_thread.run_sync(npm.install_assistants), setup.program)
    model = DelegatingModel({"delegate": delegated_call()})
    async with (
        open_claude_code(folder, installed, setup.environ, settings, model) as claude,
        claude.open(**environ) as screen,
    ):
        greetings = len(model.turns)
        await screen.enter("delegate")
        await screen.wait_for(FORM, LIMIT_SECONDS)
        await answer_form(screen, "once")
        await eventually(lambda: "done: chain" in model.turns[-1].heard.text, within=LIMIT_SECONDS)
        await screen.wait_for("done: chain")
    return read_cost(model.turns[greetings:])


def read_cost(turns: Sequence[Turn]) -> DelegationCost:
    """Add up what the model has read."""
    tokens = [*count_tokens({str(number): turn.text for number, turn in enumerate(turns)}).values()]
    first_word = next(turn for turn in turns if isinstance(turn.step, Say))
    return DelegationCost(
        len(turns), tokens[-1] - tokens[0], sum(tokens), first_word.at - turns[0].at, turns[-1].at - turns[0].at
    )


async def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with open_setup(folder) as setup:
            (setup.project / "opencode.json").write_text(json.dumps(CONFIG))
            print("| | model turns | tokens added | tokens read | user waits | in all |\n|---|---|---|---|---|---|")
            for title, environ in MODES.items():
                cost = await delegate(setup, folder / title.replace(" ", "-"), environ)
                print(
                    f"| {title} | {cost.turns} | {cost.tokens_added:,} | {cost.tokens_read:,} | "
                    f"{cost.seconds_until_free:.0f} s | {cost.seconds:.0f} s |",
                    flush=True,
                )


if __name__ == "__main__":
    anyio.run(main)
