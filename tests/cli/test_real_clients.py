"""Real clients from npm see the server through the entry that `install` wrote: `pytest -m clients`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from opencode_mcp.opencode.process.install import Program
from opencode_mcp.skills import read_skills
from tests import npm

from .fresh_machine import USER_FILES, FreshMachine, read_client_file

pytestmark = pytest.mark.clients

SECONDS = 180


@pytest.fixture
def search(machine: FreshMachine, binaries: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The clients on PATH, along with Node; they do not call home. Returns the folder of their commands."""
    node = shutil.which("node", path=os.defpath) or shutil.which("node", path="/usr/local/bin")
    assert node is not None
    monkeypatch.setenv("PATH", os.pathsep.join([str(binaries), str(Path(node).parent), os.defpath]))
    monkeypatch.setenv("DISABLE_AUTOUPDATER", "1")
    monkeypatch.setenv("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
    monkeypatch.setenv("MCP_TIMEOUT", "120000")  # a bridge starts slowly beside other tests
    monkeypatch.setenv("MCP_CONNECT_TIMEOUT_MS", "120000")
    return binaries


def run_client(person: FreshMachine, *command: str, environ: Mapping[str, str] | None = None) -> str:
    """Return what a client says in the person's project."""
    done = subprocess.run(
        command,
        cwd=person.project,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=True,
    )
    return done.stdout.decode()


def list_until(pattern: str, person: FreshMachine, *command: str, environ: Mapping[str, str] | None = None) -> None:
    """Have a client list its servers; again where one has not answered in the client's own few seconds."""
    said = ""
    for _ in range(5):
        said = run_client(person, *command, "mcp", "list", environ=environ)
        if re.search(pattern, said):
            return
    raise AssertionError(f"no {pattern!r} in:\n{said}")


def test_claude_code_connects_over_stdio_and_http(machine: FreshMachine, search: Path) -> None:
    """Its own command changes its state file; what else is there stays; uninstall takes only the entry out."""
    file = machine.home / USER_FILES["claude-code"]
    file.write_text('{"mine": 1}')
    machine.run("install", "claude-code")
    assert read_client_file(file)["mine"] == 1
    assert "already has it" in machine.run("install", "claude-code")
    assert "opencode: " in (said := run_client(machine, str(search / "claude"), "mcp", "list"))
    assert "Connected" in said

    machine.run("install", "claude-code", "--read-only")
    assert read_client_file(file)["mcpServers"]["opencode"]["args"][-1] == "--read-only"
    machine.run("uninstall", "claude-code")
    assert read_client_file(file)["mine"] == 1
    assert read_client_file(file)["mcpServers"] == {}
    assert not list(machine.home.glob("*.bak-opencode-mcp"))


def test_codex_lists_the_server_as_enabled(machine: FreshMachine, search: Path) -> None:
    """Codex lists it with the arguments that were written."""
    machine.run("install", "codex")
    said = run_client(machine, str(search / "codex"), "mcp", "list", "--json")
    # A warning about a home below /tmp may come first.
    listed = json.loads(said[said.index("[\n") :])

    assert [(one["name"], one["enabled"]) for one in listed] == [("opencode", True)]


def test_gemini_is_connected(machine: FreshMachine, search: Path) -> None:
    """Gemini starts servers in folders that its person trusts; it finds the skills too."""
    machine.run("install", "gemini", "--skill")
    (machine.home / ".gemini" / "trustedFolders.json").write_text(json.dumps({str(machine.project): "TRUST_FOLDER"}))

    said = run_client(machine, str(search / "gemini"), "mcp", "list")
    assert "opencode: " in said
    assert "Connected" in said
    said = run_client(machine, str(search / "gemini"), "skills", "list")
    assert [skill.name for skill in read_skills() if f"{skill.name} [Enabled]" not in said] == []


def test_copilot_lists_the_server_and_the_skills(machine: FreshMachine, search: Path) -> None:
    """It starts a server only in a session, which needs a login or a model: the entry and the skills are listed."""
    copilot = str(npm.install_copilot())
    machine.run("install", "copilot", "--skill")

    assert "opencode (local)" in run_client(machine, copilot, "mcp", "list")
    said = run_client(machine, copilot, "skill", "list")
    assert [skill.name for skill in read_skills() if f"{skill.name} - " not in said] == []

    machine.run("uninstall", "copilot", "--skill")
    assert "opencode" not in run_client(machine, copilot, "mcp", "list")


def test_qwen_code_is_connected(machine: FreshMachine, search: Path) -> None:
    """From the entry in its settings, in which it adds a member of its own."""
    qwen = str(npm.install_qwen())
    machine.run("install", "qwen")

    list_until("opencode: .*Connected", machine, qwen)
    machine.run("uninstall", "qwen")
    assert "opencode" not in run_client(machine, qwen, "mcp", "list")


def test_opencode_is_connected(machine: FreshMachine, program: Program) -> None:
    """The OpenCode that the bridge drives can itself be its client."""
    machine.run("install", "opencode")

    list_until("✓ opencode .*connected", machine, *program.command, environ={"PATH": os.defpath})
