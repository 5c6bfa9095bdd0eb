"""The result of a tool call, as scenarios read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import mcp_types as types

from opencode_mcp.tasks.report import TaskReport
from opencode_mcp.tools import facts_of
from tests.facts import check_calls

STATE_FIELDS = {
    "completed": "answer",
    "check_failed": "error",
    "running": "activity",
    "failed": "error",
    "stopped": "error",
}
"""The field of a report that explains its state; for a waiting task that is `pending`."""


@dataclass(frozen=True)
class ObservedResult:
    """A call's result. `content` are its facts, empty where it has none."""

    content: dict[str, Any]
    text: str
    is_error: bool

    @classmethod
    def from_result(cls, result: types.CallToolResult) -> ObservedResult:
        """Read a result, and check that the text of a report is the same as its structured content."""
        text = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
        content = facts_of(result) or {}
        check_calls(content)
        observed = cls(content, text, bool(result.is_error))
        if "state" in content:
            assert json.loads(text) == result.structured_content, "text and structured content differ"
            has_failed = content["state"] in {"failed", "check_failed"}
            assert observed.is_error == has_failed, "the report of a task is an error if it or its check has failed"
        return observed

    def __getitem__(self, name: str) -> Any:
        """Return a field of the result; of a report that lacks it, its default."""
        if "state" in self.content and name in TaskReport.model_fields:
            return self.content.get(name, TaskReport.model_fields[name].default)
        assert name in self.content, f"no {name!r} in {self.text[:500]}"
        return self.content[name]

    @property
    def state(self) -> str:
        """The report's state; "error" for a call that failed without a report, "answer" for any other."""
        return self.content.get("state", "error" if self.is_error else "answer")

    @property
    def message(self) -> str:
        """The report's explanation of its state, or a failed call's text."""
        if self.state.startswith("waiting_"):
            return " / ".join(request["wants"] for request in self["pending"])
        return str(self[STATE_FIELDS[self.state]]) if self.state in STATE_FIELDS else self.text

    @property
    def session_id(self) -> str:
        """The reported session."""
        return self["session_id"]

    @property
    def request_id(self) -> str:
        """The id of the only pending request."""
        [request] = self["pending"]
        return request["id"]

    @property
    def tasks(self) -> list[ObservedResult]:
        """The single reports of a result that holds several."""
        return [ObservedResult(report, json.dumps(report), report["state"] == "failed") for report in self["tasks"]]
