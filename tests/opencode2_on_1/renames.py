"""What has another name or form in 1.18.33: sessions, prompts, permissions, questions, agents, models, errors."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.opencode2.store import Json

TOOLS: Mapping[str, str] = {"bash": "shell", "task": "subagent"}
"""Tools and actions of 1.18.33 that were renamed."""

ERRORS: Mapping[str, Json] = {
    "Provider turn interrupted": {"type": "aborted", "message": "Step interrupted"},
    "Tool execution interrupted": {"type": "aborted", "message": "Tool execution interrupted"},
}
"""Errors by their message: 1.18.33 has the type `unknown` for all."""

REFUSED = re.compile(r"Provider request failed with HTTP (\d+): (.*)", re.DOTALL)
"""The message of a provider's error in 1.18.33, with what the provider said."""

KINDS: Mapping[int, str] = {401: "auth", 403: "auth", 429: "rate-limit"}
"""Types of a provider's errors by their status; others are `invalid-request`, or `internal` from 500 on."""

DECLINED, DISMISSED = "The user declined this tool call", "The user dismissed this question"
"""What OpenCode 2 says of a call whose permission request or question was rejected without a message."""


def pick(values: Mapping[str, Any], *names: str) -> Json:
    """Return the values with these names that are there."""
    return {name: values[name] for name in names if values.get(name) is not None}


def rename_tool(name: str) -> str:
    """Return the name of a tool or action in OpenCode 2."""
    return TOOLS.get(name, name)


def error_of(error: Json) -> Json:
    """Return an error as OpenCode 2 has it."""
    if (refused := REFUSED.fullmatch(error["message"])) is None:
        return ERRORS.get(error["message"], pick(error, "type", "message"))
    status, body = int(refused[1]), refused[2]
    kind = KINDS.get(status, "invalid-request" if status < 500 else "internal")
    message = json.loads(body)["error"]["message"]
    return {"type": f"provider.{kind}", "message": message, "status": status, "response": {"body": body}}


def session_of(info: Json, record: Json) -> Json:
    """Return a session from its two sides in 1.18.33: `info` of the v2 API, `record` of the other one."""
    names = ("id", "projectID", "agent", "model", "cost", "tokens", "title", "revert")
    times = pick(info["time"], "created", "updated", "archived")
    location = pick(info["location"], "directory")
    return {**pick(info, *names), **pick(record, "parentID", "metadata"), "time": times, "location": location}


def files_of(prompt: Json) -> Json:
    """Return the files of a prompt with what is in them, as OpenCode 2 has them."""
    if not prompt.get("files"):
        return {}
    return {"files": [file_of(file) for file in prompt["files"]]}


def file_of(file: Json) -> Json:
    """Return a file with what is in it."""
    uri: str = file["uri"]
    names = pick(file, "mime", "name", "description")
    if uri.startswith("data:"):
        return {**names, "data": uri.partition(";base64,")[2], "source": {"type": "inline"}}
    path = Path(unquote(urlsplit(uri).path))
    content = path.read_bytes() if path.is_file() else b""
    return {**names, "data": base64.b64encode(content).decode(), "source": {"type": "uri", "uri": uri}}


def admission_of(admitted: Json) -> Json:
    """Return the answer to a prompt."""
    prompt: Json = admitted["prompt"]
    return {
        **pick(admitted, "id", "sessionID", "delivery"),
        "time": {"created": admitted["timeCreated"]},
        "type": "user",
        "payload": {"text": prompt["text"], **files_of(prompt), **pick(prompt, "agents")},
    }


def permission_of(request: Json) -> Json:
    """Return a permission request."""
    found = pick(request, "id", "sessionID", "resources", "save", "metadata", "message")
    if source := request.get("source"):
        found["source"] = {**pick(source, "type", "messageID"), "id": source["callID"]}
    return {**found, "action": rename_tool(request["action"])}


def form_of(request: Json) -> Json:
    """Return the form that OpenCode 2 shows for a question."""
    return {
        "id": form_id(request["id"]),
        "sessionID": request["sessionID"],
        "title": request["questions"][0].get("header") or "Question",
        "metadata": {"kind": "question"},
        "fields": [field_of(f"q{number}", question) for number, question in enumerate(request["questions"])],
    }


def form_id(question_id: str) -> str:
    """Return the id of the form for a question."""
    return f"frm_{question_id.removeprefix('que_')}"


def question_id(form_id: str) -> str:
    """Return the id of the question of a form."""
    return f"que_{form_id.removeprefix('frm_')}"


def field_of(key: str, question: Json) -> Json:
    """Return the field of a form for one part of a question."""
    return {
        "key": key,
        "type": "multiselect" if question.get("multiple") else "string",
        "title": question["header"],
        "description": question["question"],
        "options": [
            {"value": option["label"], **pick(option, "label", "description")} for option in question["options"]
        ],
        "custom": question.get("custom", True),
        "required": True,
    }


def answers_of(answer: Json) -> list[list[str]]:
    """Return the answer to a form as that to a question."""
    values = [answer[f"q{number}"] for number in range(len(answer))]
    return [[value] if isinstance(value, str) else value for value in values]


def answer_of(answers: list[list[str]]) -> Json:
    """Return the answer to a question as that to a form."""
    return {f"q{number}": labels[0] if len(labels) == 1 else labels for number, labels in enumerate(answers)}


def agent_of(agent: Json) -> Json:
    """Return an agent with its rules."""
    rules = [{**rule, "action": rename_tool(rule["action"])} for rule in agent["permissions"]]
    request: Json = {"settings": {}, **agent["request"]}
    return {**agent, "name": agent["id"], "request": request, "permissions": rules}


def model_of(model: Json) -> Json:
    """Return a model: what is said to its provider is beside the rest."""
    names = ("id", "providerID", "name", "capabilities", "variants", "time", "cost", "status", "enabled", "limit")
    api: Json = model["api"]
    return {**pick(model, *names), "modelID": api["id"], **pick(api, "package"), **model["request"]}


def config_of(config: Json) -> list[Json]:
    """Return the documents of a configuration, from the one that 1.18.33 has merged."""
    info = {**pick(config, "model", "default_agent"), "snapshots": config.get("snapshot", True)}
    return [{"type": "document", "info": json.loads(json.dumps(info))}]
