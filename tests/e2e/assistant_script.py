"""What the model of an assistant does: it gives OpenCode a task, and then only what each report says to do next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CallTool:
    """A call of one of our tools."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class CallOwnTool(CallTool):
    """A call of a tool of the assistant itself."""


@dataclass(frozen=True)
class Say:
    """The last word."""

    text: str


Step = CallTool | Say


@dataclass(frozen=True)
class Result:
    """What an assistant told its model of a call."""

    tool: str
    text: str

    @property
    def content(self) -> dict[str, Any]:
        """The JSON object in it, whatever the assistant put around it; empty where there is none."""
        at = self.text.find("{")
        try:
            return json.JSONDecoder().raw_decode(self.text[at:])[0] if at >= 0 else {}
        except ValueError:
            return {}

    @property
    def report(self) -> dict[str, Any]:
        """The report of the one task; empty where it is none."""
        report = self.content.get("tasks", [self.content])[0]
        return report if "session_id" in report else {}

    @property
    def state(self) -> str:
        """The state of the one task; empty where it is no report."""
        return self.report.get("state", "")


@dataclass(frozen=True)
class AssistantTask:
    """A command that OpenCode has to ask permission for, and the file that it leaves in the project."""

    project: Path
    name: str

    @property
    def file(self) -> Path:
        """The file that is there once the command has run."""
        return self.project / self.name

    @property
    def prompt(self) -> str:
        """What is told to OpenCode, whose own model is a scripted one as well."""
        arguments = {"command": f"touch {self.name}", "description": "Make a file"}
        return f"script:tool bash {json.dumps(arguments)}"


def decide_step(task: AssistantTask, results: Sequence[Result]) -> Step:
    """Choose the next step by what the assistant has told so far."""
    first = (CallTool("path_get", {}), CallTool("run_task", {"prompt": task.prompt, "permissions": "report"}))
    if len(results) < len(first):
        return first[len(results)]
    newest = results[-1]
    match newest.state:
        case "waiting_permission":
            call: dict[str, Any] = newest.report["pending"][0]["answer_with"]
            return CallTool(call["tool"], {**call["arguments"], "reply": "once"})
        case "running":
            call = newest.report["next"]
            return CallTool(call["tool"], call["arguments"])
        case "completed" if newest.tool != "wait_for_tasks":
            return CallTool("wait_for_tasks", {"session_ids": [newest.report["session_id"]]})
        case "completed":
            return Say(f"OpenCode says: {newest.report['answer']}")
        case _:
            return Say(f"{newest.tool} went wrong: {newest.text}")
