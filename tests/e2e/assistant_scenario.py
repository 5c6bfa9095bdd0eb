"""An assistant on a machine of its own, with our server in its configuration, from its start to its last word."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

import anyio
from anyio import to_thread

from opencode_mcp.cli.clients import CLIENTS, Machine
from opencode_mcp.cli.clients.edit import BACKUP_SUFFIX
from opencode_mcp.settings import Settings
from opencode_mcp.skills import read_skills
from tests.bridge import find_processes
from tests.cli import command_process
from tests.eventually import eventually

from .assistant_model import AssistantModel, ModelTurn, serve_model
from .assistant_script import AssistantTask, decide_step
from .assistants import Assistant, InstalledPrograms

LIMIT_SECONDS = 180.0
ENDING_SECONDS = 30.0
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")
UNREACHABLE_PROXY = "http://127.0.0.1:9"
"""A proxy that is not there: assistants look for updates, models and plugins even when they are told not to."""

ASSISTANT_PREFIXES = ("OPENCODE", "XDG_", "CLAUDE", "CODEX", "ANTHROPIC", "OPENAI")


@dataclass(frozen=True)
class AssistantRun:
    """The output of an assistant, and the requests to its model.

    `remaining_processes` outlived it. `restored` is its settings file after `uninstall`, `remaining_files` are the
    files of ours that it left.
    """

    assistant: Assistant
    task: AssistantTask
    output: str
    turns: tuple[ModelTurn, ...]
    seconds: float
    remaining_processes: Mapping[int, str]
    restored: str
    remaining_files: tuple[str, ...]

    @property
    def tools(self) -> list[str]:
        """The tools that were called, in their order."""
        return [result.tool for result in self.turns[-1].results]

    @property
    def states(self) -> list[str]:
        """What every result said of the task's state."""
        return [result.state for result in self.turns[-1].results]


class AssistantSandbox:
    """Where an assistant runs: an empty home, an empty folder, and no way off the machine."""

    def __init__(self, folder: Path, installed: InstalledPrograms, environ: Mapping[str, str]) -> None:
        self.home, self.work, self._logs = folder / "home", folder / "work", folder / "logs"
        for folder_path in (self.home, self.work, self._logs):
            folder_path.mkdir(parents=True)
        inherited = {name: value for name, value in environ.items() if not name.startswith(ASSISTANT_PREFIXES)}
        proxies = {name: UNREACHABLE_PROXY for kind in PROXIES for name in (kind, kind.lower())}
        direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        path = os.pathsep.join([str(installed.commands), environ["PATH"]])
        self.environ = {**inherited, **proxies, **direct, "HOME": str(self.home), "PATH": path}

    async def run(self, command: tuple[str, ...], environ: Mapping[str, str]) -> str:
        """Run a command to its end, and return its output.

        Raises:
            AssertionError: it failed, or took too long.
        """
        output, errors = self._logs / "output", self._logs / "errors"
        code: int | None = None
        with output.open("wb") as stdout, errors.open("wb") as stderr, anyio.move_on_after(LIMIT_SECONDS):
            done = await anyio.run_process(
                command,
                # Files, as a process that is left over would keep a pipe open.
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**self.environ, **environ},
                cwd=self.work,
                check=False,
            )
            code = done.returncode
        text = output.read_text()
        assert code == 0, (
            f"exit code {code} (None: not within {LIMIT_SECONDS:g} s):\n{text}\n{errors.read_text()[-4000:]}"
        )
        return text

    async def wait_for_processes(self) -> Mapping[int, str]:
        """Wait until every process that came from here has ended, and return those that do not."""
        with suppress(AssertionError):
            await eventually(self.list_processes, until=lambda found: not found, within=ENDING_SECONDS)
        return self.list_processes()

    def list_processes(self) -> Mapping[int, str]:
        """The processes that came from here: no other has this home."""
        return find_processes(f"HOME={self.home}")

    def kill_processes(self) -> None:
        """Kill what is left."""
        for number in self.list_processes():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


async def run_assistant(
    assistant: Assistant, installed: InstalledPrograms, environ: Mapping[str, str], settings: Settings, folder: Path
) -> AssistantRun:
    """Register our server with all tools and the skills, as a person would; let the assistant run; unregister."""
    sandbox = AssistantSandbox(folder, installed, environ)
    task = AssistantTask(Path(str(settings.directory)), f"made-for-{assistant.client}")
    file = Path(CLIENTS[assistant.client].user(Machine.current(sandbox.environ))[0])
    await to_thread.run_sync(write_settings, file, assistant.settings)
    install_environ = command_process.command_environ(sandbox.environ, settings)

    async def run_ours(*arguments: str) -> str:
        done = await command_process.run_command(install_environ, *arguments, "--skill", cwd=sandbox.work)
        assert done.returncode == 0, done
        return done.stdout

    started = monotonic()
    try:
        await run_ours("install", assistant.client, "--toolsets", "all")
        printed = await run_ours("install", assistant.printed or assistant.client, "--toolsets", "all", "--print")
        async with serve_model(assistant.wire_format, partial(decide_step, task), task.file.exists) as model:
            assistant.copy(sandbox.home, model.url, printed)
            output = await sandbox.run(
                assistant.command(installed, model.url), assistant_environ(assistant, model, settings)
            )
        seconds = monotonic() - started
        remaining = await sandbox.wait_for_processes()
        await run_ours("uninstall", assistant.client)
    finally:
        sandbox.kill_processes()
    restored, left = await to_thread.run_sync(lambda: (file.read_text(), tuple(find_our_files(sandbox.home))))
    return AssistantRun(assistant, task, output, tuple(model.turns), seconds, remaining, restored, left)


def write_settings(file: Path, text: str) -> None:
    """Write a file of an assistant, as its user has before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def find_our_files(home: Path) -> Iterator[str]:
    """Yield the backups and the skills below a home."""
    skills = {skill.name for skill in read_skills()}
    for file in home.rglob("*"):
        if file.name.endswith(BACKUP_SUFFIX) or file.name in skills:
            yield str(file.relative_to(home))


def assistant_environ(assistant: Assistant, model: AssistantModel, settings: Settings) -> Mapping[str, str]:
    """Return what an assistant needs to reach its model, and what our entry in its configuration names."""
    return {**assistant.environ(model.url), **settings.passwords}
