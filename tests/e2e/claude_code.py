"""Claude Code at a terminal: on a machine of its own, with our server in its configuration and a scripted model."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from opencode_mcp.settings import Settings
from tests.bridge import find_processes
from tests.cli import command_process
from tests.eventually import eventually

from .assistant_model import serve_answers
from .assistant_scenario import AssistantSandbox
from .assistants import InstalledPrograms, claude_environ
from .delegation import DelegatingModel
from .terminal_screen import DOWN, ENTER, RIGHT, TerminalScreen, open_screen
from .wire_formats import SERVER, Messages

ALLOWED = (f"mcp__{SERVER}", "TaskStop")
FORM = "requests your input"
CURSOR = "\u276f"
READY, BUSY = "auto mode on", "esc to interrupt"
"""What its screen shows as soon as it takes a line, and while its model works."""


@dataclass(frozen=True)
class ClaudeCode:
    """An installed Claude Code. `model` hears what all its runs tell; `passwords` are what our entry needs."""

    sandbox: AssistantSandbox
    program: str
    url: str
    model: DelegatingModel
    passwords: Mapping[str, str] = field(default_factory=dict[str, str])

    @asynccontextmanager
    async def open(self, *arguments: str, **environ: str) -> AsyncGenerator[TerminalScreen]:
        """Run it in its folder until the block ends; it takes lines, and is connected, when the block begins."""
        command = (self.program, "--allowedTools", *ALLOWED, *arguments)
        given = {**self.sandbox.environ, **claude_environ(self.url), **self.passwords, **environ}
        async with open_screen(command, given, self.sandbox.work) as screen:
            await screen.wait_for(READY)
            await self.wait_for_connection(screen)
            yield screen

    async def wait_for_connection(self, screen: TerminalScreen) -> None:
        """Have the user talk until the model is offered our tools: a server that starts slowly connects later."""
        for number in count(len(self.model.turns) + 1):  # a run that continues shows the lines of the one before
            turns = len(self.model.turns)
            await screen.enter(f"Hello {number}")  # no line twice: the screen shows when it has been typed
            await eventually(lambda turns=turns: len(self.model.turns) > turns)
            await eventually(lambda: BUSY not in screen.text)
            if self.model.turns[-1].connected:
                return

    def bridges(self) -> list[int]:
        """The process ids of the bridges that it has started."""
        return [pid for pid, line in find_processes(f"HOME={self.sandbox.home}").items() if "opencode_mcp" in line]


async def answer_form(screen: TerminalScreen, option: str) -> str:
    """Wait for a permission's form, choose the first option, and send it; return the screen with the form."""
    await screen.wait_for(FORM)
    form = await screen.wait_for("Esc to ")
    await screen.press_until(RIGHT, lambda shown: f"{CURSOR} ◯ {option}" in shown)
    await screen.press_until(ENTER, lambda shown: f"✔ Allow?: {option}" in shown)
    await screen.press_until(DOWN, lambda shown: f"{CURSOR} Accept" in shown, CURSOR)  # one for each field
    await screen.press_until(ENTER, lambda shown: FORM not in shown)
    return form


async def install_bridge(sandbox: AssistantSandbox, settings: Settings, *flags: str) -> None:
    """Register our server as a person would.

    Raises:
        AssertionError: the command failed.
    """
    environ = command_process.command_environ(sandbox.environ, settings)
    added = await command_process.run_command(environ, "install", "claude-code", *flags, cwd=sandbox.work)
    assert added.returncode == 0, added


def skip_welcome(home: Path, work: Path, **servers: Any) -> None:
    """Answer what Claude Code asks at its first start: theme, key, and trust in the folder. Add MCP servers."""
    path = home / ".claude.json"
    config: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    project = {"hasTrustDialogAccepted": True, "mcpServers": servers}
    config["projects"] = {str(work): {**project, **config.get("projects", {}).get(str(work), {})}}
    answered = {"hasCompletedOnboarding": True, "theme": "dark"}
    key = {"customApiKeyResponses": {"approved": ["scripted"], "rejected": []}}
    path.write_text(json.dumps({**config, **answered, **key}))


@asynccontextmanager
async def open_claude_code(
    folder: Path,
    installed: InstalledPrograms,
    environ: Mapping[str, str],
    settings: Settings,
    model: DelegatingModel,
    **servers: Any,
) -> AsyncGenerator[ClaudeCode]:
    """Provide a Claude Code with our server, or with `servers` where they are named; its processes are killed."""
    sandbox = AssistantSandbox(folder, installed, environ)
    try:
        if not servers:
            await install_bridge(sandbox, settings)
        skip_welcome(sandbox.home, sandbox.work, **servers)
        async with serve_answers(Messages.path, model.answer) as url:
            yield ClaudeCode(sandbox, str(installed.commands / "claude"), url, model, settings.passwords)
    finally:
        sandbox.kill_processes()
