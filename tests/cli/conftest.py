"""A person on a machine of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .fresh_machine import FreshMachine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> FreshMachine:
    """A person on a machine without any client."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    for name in list(os.environ):
        if name.startswith(("OPENCODE", "XDG_", "CODEX", "CLAUDE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(project)
    return FreshMachine(home, project, capsys)
