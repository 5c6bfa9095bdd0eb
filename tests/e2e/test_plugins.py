"""Real clients install the plugin of this repository into an empty home: the server answers, the skills are there, and
nothing is left of it: `pytest -m clients`."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import anyio
import pytest

from examples.scripted_model import ScriptedModel, provider_config
from opencode_mcp.cli.clients import Machine
from opencode_mcp.cli.clients.plugins import has_plugin
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.skills import FOLDER, read_skills
from opencode_mcp.tools.definition import FOR_BOARD_ONLY
from opencode_mcp.tools.selection import ESSENTIAL_TOOLS
from tests import npm, pypi
from tests.conftest import QUICK_CONFIG, RecordFigure

from .assistant_scenario import LIMIT_SECONDS, AssistantSandbox, find_our_files
from .assistants import GEMINI_SETTINGS, InstalledPrograms
from .plugin_clients import FILE, GEMINI, PLUGIN_CLIENTS, ROOT, TOOLS, WRITTEN, PluginClient, serve_plugin_model

pytestmark = [pytest.mark.anyio, pytest.mark.clients]

PLUGIN_FOLDER = FOLDER.parent.relative_to(ROOT)
SKILLS = [skill.name for skill in read_skills()]


class PluginSandbox(AssistantSandbox):
    """An empty home and a project, and on PATH a `uvx` that starts this package, not the published one."""

    def __init__(self, folder: Path, installed: InstalledPrograms, environ: Mapping[str, str], model_url: str) -> None:
        super().__init__(folder, installed, environ)
        (self.work / FILE).write_text("hello from the project\n")
        config = self.home / ".config" / "opencode" / "opencode.json"
        config.parent.mkdir(parents=True)
        config.write_text(json.dumps({**provider_config(model_url), **QUICK_CONFIG}))
        uvx = folder / "bin" / "uvx"
        uvx.parent.mkdir()
        command = shlex.join([sys.executable, "-P", "-m", "opencode_mcp"])
        flags = shlex.join(["--no-share", "--command", shlex.join(installed.opencode.command)])
        uvx.write_text(f'#!/bin/sh\n[ "$1" = opencode-mcp ] && shift && exec {command} {flags} "$@"\n')
        uvx.chmod(0o755)
        self.environ["PATH"] = f"{uvx.parent}:{self.environ['PATH']}"

    @property
    def machine(self) -> Machine:
        """Where `install` and `doctor` look for the client's files."""
        return Machine.current(self.environ)

    async def run_all(self, program: Path, *commands: tuple[str, ...]) -> str:
        """Run commands of a client, and return what they print, on stderr too."""
        printed = ""
        for command in commands:
            with anyio.fail_after(LIMIT_SECONDS):
                done = await anyio.run_process(
                    [str(program), *command],
                    env=self.environ,
                    cwd=self.work,
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            printed += done.stdout.decode()
            assert done.returncode == 0, printed
        return printed


@pytest.fixture
def sandbox(
    binaries: Path, program: Program, module_environ: Mapping[str, str], model: ScriptedModel, tmp_path: Path
) -> PluginSandbox:
    """Where a client runs."""
    return PluginSandbox(tmp_path, InstalledPrograms(binaries, program), module_environ, model.url)


@pytest.mark.parametrize("client", PLUGIN_CLIENTS, ids=lambda client: cast("PluginClient", client).program)
async def test_a_client_installs_the_plugin_and_uses_it(
    sandbox: PluginSandbox, binaries: Path, client: PluginClient, record_figure: RecordFigure
) -> None:
    """The tools and the skills reach its model, a task is done in the project, and afterwards nothing is left."""
    program = npm.install_copilot() if client.program == "copilot" else binaries / client.program
    try:
        await sandbox.run_all(program, *client.install)
        is_found = has_plugin(client.name, sandbox.machine)
        async with serve_plugin_model(client, sandbox.work) as (model, url):
            output = await sandbox.run((str(program), *client.command(url)), client.environ(url))
        remaining = await sandbox.wait_for_processes()
        left = await sandbox.run_all(program, *client.uninstall, client.listing)
    finally:
        sandbox.kill_processes()

    record_figure(f"plugin in {client.program}: {len(model.offered)} tools, {len(model.results)} calls")
    assert model.offered >= {*ESSENTIAL_TOOLS} - FOR_BOARD_ONLY
    assert [name for name in SKILLS if name not in model.request] == []
    assert "hello from the project" in output
    assert [result.tool for result in model.results] == [*TOOLS, *(() if client.knows_project else TOOLS[:1])]
    assert "completed" in {result.state for result in model.results}
    assert (sandbox.work / WRITTEN).exists()
    assert remaining == {}
    assert client.lists_none in left
    assert [file for file in find_our_files(sandbox.home) if not file.startswith(client.cache)] == []
    assert (is_found, has_plugin(client.name, sandbox.machine)) == (True, False)


async def test_gemini_links_the_extension(sandbox: PluginSandbox, binaries: Path) -> None:
    """Its own validator accepts the folder; the server is connected, the skills are there, and a task is done."""
    folder = sandbox.home / ".gemini"
    folder.mkdir()
    (folder / "trustedFolders.json").write_text(json.dumps({str(sandbox.work): "TRUST_FOLDER"}))
    (folder / "settings.json").write_text(GEMINI_SETTINGS)
    gemini = binaries / "gemini"

    try:
        await sandbox.run_all(gemini, *GEMINI.install)
        servers = await sandbox.run_all(gemini, GEMINI.listing)
        skills = await sandbox.run_all(gemini, ("skills", "list"))
        assert has_plugin("gemini", sandbox.machine)
        async with serve_plugin_model(GEMINI, sandbox.work) as (model, url):
            output = await sandbox.run((str(gemini), *GEMINI.command(url)), GEMINI.environ(url))
        remaining = await sandbox.wait_for_processes()
        await sandbox.run_all(gemini, *GEMINI.uninstall)
    finally:
        sandbox.kill_processes()

    assert "opencode (from opencode-mcp)" in servers
    assert "Connected" in servers
    assert [name for name in SKILLS if f"{name} [Enabled]" not in skills or name not in model.request] == []
    assert {*ESSENTIAL_TOOLS} - FOR_BOARD_ONLY <= model.offered <= {*ESSENTIAL_TOOLS}
    assert "hello from the project" in output
    assert [result.tool for result in model.results] == [*TOOLS]
    assert model.results[-1].state == "completed"
    assert (sandbox.work / WRITTEN).exists()
    assert remaining == {}
    assert not has_plugin("gemini", sandbox.machine)
    assert [*find_our_files(sandbox.home)] == []


def test_claude_code_finds_nothing_wrong(binaries: Path, module_environ: Mapping[str, str]) -> None:
    """Neither in the marketplace nor in the plugin; a warning would be an error."""
    for folder in (ROOT, ROOT / PLUGIN_FOLDER):
        validate(binaries / "claude", "plugin", "validate", "--strict", folder, environ=module_environ)


def test_validators_of_the_open_formats_find_nothing_wrong(module_environ: Mapping[str, str]) -> None:
    """Agent Plugins, Cursor's plugins and both marketplaces; the skills by the reference library of their format."""
    python = pypi.install_environment("plugin-validators", Path(__file__).with_name("plugin_validators.txt"))

    for linted in (ROOT / PLUGIN_FOLDER, ROOT):
        said = validate(python, "-m", "skillsaw", "lint", "--strict", linted, environ=module_environ)
        assert "Skills:    3" in said
    for name in SKILLS:
        validate(python, "-m", "skills_ref.cli", "validate", FOLDER / name, environ=module_environ)


def validate(program: Path, *arguments: str | Path, environ: Mapping[str, str]) -> str:
    """Run a validator, and return what it prints."""
    done = subprocess.run([program, *arguments], env=dict(environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
