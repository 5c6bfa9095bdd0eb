"""What a tool call gave, as far as the truth table reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import mcp_types as types

STATE_FIELDS = {
    "completed": "answer",
    "running": "activity",
    "failed": "error",
    "stopped": "error",
}
"""Where a report says why its state is what it is; what waits is said by `pending`."""


@dataclass(frozen=True)
class ObservedResult:
    """A call's result. `content` is its structured content, empty where it has none."""

    content: dict[str, Any]
    text: str
    is_error: bool

    @classmethod
    def from_result(cls, result: types.CallToolResult) -> ObservedResult:
        """Read a result, and see that it says the same in text and in structure."""
        text = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
        content: dict[str, Any] = result.structured_content or {}
        observed = cls(content, text, bool(result.is_error))
        if "state" in content:
            assert json.loads(text) == content, "text and structured content differ"
            assert observed.is_error == (content["state"] == "failed"), "only the report of a failed task is an error"
        return observed

    def __getitem__(self, name: str) -> Any:
        """Return a member of the structured content."""
        assert name in self.content, f"no {name!r} in {self.text[:500]}"
        return self.content[name]

    @property
    def state(self) -> str:
        """The report's state; "error" for a call that failed without a report, "answer" for any other."""
        return self.content.get("state", "error" if self.is_error else "answer")

    @property
    def message(self) -> str:
        """What a report says of its state, or a failed call's text."""
        if self.state.startswith("waiting_"):
            return " / ".join(request["wants"] for request in self["pending"])
        return str(self[STATE_FIELDS[self.state]]) if self.state in STATE_FIELDS else self.text

    @property
    def session_id(self) -> str:
        """The reported session."""
        return self["session_id"]

    @property
    def request_id(self) -> str:
        """The one request that waits."""
        [request] = self["pending"]
        return request["id"]

    @property
    def tasks(self) -> list[ObservedResult]:
        """The single reports of a result that holds several."""
        return [ObservedResult(report, json.dumps(report), report["state"] == "failed") for report in self["tasks"]]
