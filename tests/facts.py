"""What a tool's result says, in either form; and whether the calls that it names can be made as they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mcp_types as types

from opencode_mcp.tasks.arguments import validate_arguments
from opencode_mcp.tasks.registry import task_tools_for
from opencode_mcp.tools import facts_of


def facts(result: types.CallToolResult) -> dict[str, Any]:
    """Return the facts of a result that has some; the calls that a report names are valid."""
    found = facts_of(result)
    assert found is not None, result.content
    check_calls(found)
    return found


def raw_facts(result: Mapping[str, Any]) -> Any:
    """Return the facts of a result as JSON-RPC has it."""
    return facts(types.CallToolResult.model_validate(result))


def check_calls(content: Mapping[str, Any]) -> None:
    """Check that every call that a report names is valid: `next`, and what answers a request, with each choice."""
    for call in (content.get("next"), *(answer.get("apply_with") for answer in content.get("answers", ()))):
        if call is not None:
            check_call(call)
    reports = content["tasks"] if "tasks" in content else [content]
    for report in reports:
        if "state" in report and "session_id" in report:
            for call in named_calls(report):
                check_call(call)


def check_call(call: Mapping[str, Any]) -> None:
    """Check that a call is valid; one about a form is a call of OpenCode 2's tool."""
    generation = 2 if str(call["arguments"].get("request_id")).startswith("frm_") else 1
    tool = task_tools_for(generation=generation)[call["tool"]]
    validate_arguments(tool.name, tool.arguments, call["arguments"])


def named_calls(report: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the calls that a report names; a report of requests names no other call."""
    requests = report.get("pending", [])
    assert not (requests and "next" in report), report
    if "next" in report:
        yield report["next"]
    for request in requests:
        call = request["answer_with"]
        for choice in choices(request):
            yield {**call, "arguments": {**call["arguments"], **choice}}


def choices(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every argument that answers a permission, and one that answers a question."""
    if request["kind"] == "permission":
        return [{"reply": reply} for reply in request["choices"]["reply"]]
    return [{"answers": [[one["options"][0]["label"] if one["options"] else "yes"] for one in request["questions"]]}]
