"""The sum of a turn's changes, which OpenCode completes a moment after the turn has ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

import pytest

from opencode_mcp.tasks import turn_changes
from opencode_mcp.tasks.turn_changes import read_complete_diff

from .test_race_conditions import REPLY, FakeOpenCode

pytestmark = pytest.mark.anyio


def write(name: str) -> dict[str, Any]:
    """Return a completed call of the tool that writes a file."""
    state = {"status": "completed", "input": {"filePath": f"/project/{name}"}}
    return {"id": f"prt_{name}", "type": "tool", "tool": "write", "state": state}


@dataclass
class SummingOpenCode(FakeOpenCode):
    """Adds one more file to the sum with every read."""

    files: tuple[str, ...] = ()
    reads: int = 0

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        if name == "session_diff":
            self.reads += 1
            return [{"file": file, "additions": 1, "deletions": 0} for file in self.files[: self.reads]]
        return await super().call(name, **arguments)


def turn_of(*parts: dict[str, Any]) -> list[Any]:
    """Return the messages of a turn."""
    return [{"info": {**REPLY, "time": {"created": 1, "completed": 2}}, "parts": list(parts)}]


async def test_a_written_file_is_awaited_before_its_step_says_that_it_was_touched() -> None:
    patch = {"id": "prt_1", "type": "patch", "files": ["/project/a.py"], "hash": "1"}
    opencode = SummingOpenCode(messages=turn_of(write("a.py"), patch, write("b.py")), files=("a.py", "b.py"))

    changes = await read_complete_diff(cast("Any", opencode), "ses_1", "msg_1", time.time() * 1000)

    assert [change.file for change in changes] == ["a.py", "b.py"]


async def test_a_file_that_was_written_as_it_was_is_not_awaited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_changes, "PATCH_LAG_SECONDS", 0.19)
    opencode = SummingOpenCode(messages=turn_of(write("same.py")))

    changes = await read_complete_diff(cast("Any", opencode), "ses_1", "msg_1", time.time() * 1000)

    assert (changes, opencode.reads) == ([], 2)
