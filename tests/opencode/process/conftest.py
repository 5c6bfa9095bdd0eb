"""A user of their own, for the tests of what a user's bridges share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from opencode_mcp.opencode.process import service


@pytest.fixture(autouse=True)
def _patient_with_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that a test plays may answer late."""
    monkeypatch.setattr(service, "SERVICE_SECONDS", 30.0)


@pytest.fixture
def small(tmp_path: Path) -> Generator[Mapping[str, str]]:
    """The environment of a user of their own, whose processes are told by MARK; STARTS notes each start.

    The folder for temporary files has a short path, as users have it.
    """
    with tempfile.TemporaryDirectory() as temporary:
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "OPENCODE"))},
            "HOME": str(tmp_path),
            "XDG_CACHE_HOME": str(tmp_path / ".cache"),
            "TMPDIR": temporary,
            "MARK": uuid4().hex,
            "STARTS": str(tmp_path / "starts"),
        }
