"""The way of a new user: register with every client, check, call, run a task, and take it all back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from opencode_mcp.cli.clients import CLIENTS
from opencode_mcp.cli.clients.edit import BACKUP_SUFFIX

from .command_process import run_program
from .fresh_machine import FreshMachine, client_file, write_client_file

pytestmark = pytest.mark.anyio

USER_CONFIG = '// mine\n{\n  "$schema": "https://opencode.ai/config.json",\n  "username": "me", // first\n}\n'
"""OpenCode's own file, which it refuses to start with when there is nonsense in it."""


@pytest.mark.slow
async def test_a_new_user_can_install_check_call_and_uninstall(
    environ: Mapping[str, str], project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every step succeeds with OpenCode started by it, and every client's file is in the end as it was."""
    person = FreshMachine(tmp_path / "home", project, capsys)
    machine = {**environ, "HOME": str(person.home)}
    before = {name: write_client_file(person, name, "user") for name in CLIENTS if name != "opencode"}
    before["opencode"] = client_file(person, "opencode", "user"), USER_CONFIG.encode()
    before["opencode"][0].parent.mkdir(parents=True)
    before["opencode"][0].write_text(USER_CONFIG)

    for name in CLIENTS:
        installed = await run_program(machine, "install", name, cwd=project)
        assert installed.returncode == 0, installed
    examined = await run_program(machine, "doctor", "--json", cwd=project)
    assert examined.returncode == 0, examined
    states = {one["check"]: one["state"] for one in json.loads(examined.stdout)["checks"]}
    assert {f"client {name}": "ok" for name in CLIENTS}.items() <= states.items()
    assert {states[check] for check in ("opencode", "reachable", "authorised", "version", "model", "events")} == {"ok"}

    found = await run_program(machine, "call", "find_text", "pattern=hello from", cwd=project)
    assert [one["path"]["text"] for one in json.loads(found.stdout)["result"]] == ["README.md"], found
    ran = await run_program(machine, "call", "run_task", "prompt=script:text good day", cwd=project)
    assert json.loads(ran.stdout)["state"] == "completed", ran
    assert json.loads(ran.stdout)["answer"].endswith("good day")

    for name in CLIENTS:
        taken_back = await run_program(machine, "uninstall", name, cwd=project)
        assert taken_back.returncode == 0, taken_back
    assert {name: file.read_bytes() for name, (file, _) in before.items()} == {
        name: text for name, (_, text) in before.items()
    }
    assert [file for file in person.home.rglob("*") if file.name.endswith(BACKUP_SUFFIX)] == []
