"""Answer, report or error -> tool result, never longer than the limit.

Text and structured content always carry the same facts: some clients show the model only one of them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import mcp_types as types
from pydantic import BaseModel

from opencode_mcp.opencode import Answer
from opencode_mcp.redaction import Position, Redactor, count_replaced
from opencode_mcp.workflows.report import TaskReport

from .gateway import ReadOperation
from .shorten import FIT, REPLACED, dump, page, part_at, shorten, with_note

MAX_IMAGE_BYTES = 5 * 1024 * 1024
IMAGE_MARKS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
READS_PDF = "Not text. To let a model read this PDF, pass it to run_task in `files`; v2_fs_read returns its bytes."
READS_BYTES = "Not text. v2_fs_read returns its bytes as base64."
RETRIED = "_retried"
NOTE = "_note"


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a result may be, in characters, and how what is left out can be had."""

    chars: int
    how: str


def result(
    answer: Answer, limit: Limit, redactor: Redactor, position: Position = Position.CONTENT
) -> types.CallToolResult:
    """Return a successful call's result, made fit to leave by `redactor`.

    structuredContent is the answer when that is an object, else `{"result": answer}`, with what
    came beside it; text is the same as multi-line JSON, or the plain text of a plain text. `position`
    says what the answer describes.
    """
    redactor.refresh()
    if isinstance(answer.value, bytes) and is_image(answer):
        return image(answer.value, image_type(answer.value))
    if (file := BinaryFile.of(answer.value)) is not None:
        return file_result(file)
    facts = as_object(answer)
    if isinstance(answer.value, str) and answer.media_type != "application/json" and len(answer.value) <= limit.chars:
        redacted: dict[str, Any] = with_note(redactor.redact(facts, position))
        beside = [json.dumps({name: redacted[name]}) for name in (RETRIED, REPLACED) if name in redacted]
        texts = [redacted["result"], *beside]
        if sum(map(len, texts)) <= limit.chars:
            content = [types.TextContent(type="text", text=text) for text in texts]
            return types.CallToolResult(content=list(content), structured_content=redacted, _meta=meta_of(redacted))
    return structured(facts, limit, redactor, position, is_error=answer.failed)


def as_object(answer: Answer) -> dict[str, Any]:
    """Return an answer as the object that a result needs, and why it was asked for more than once."""
    told = {RETRIED: list(answer.retried)} if answer.retried else {}
    return {**facts_of(answer), **told}


def facts_of(answer: Answer) -> dict[str, Any]:
    """Return what came as an object."""
    value: Any = answer.value
    if isinstance(value, bytes):
        return {"media_type": answer.media_type, "bytes": len(value), "base64": base64.b64encode(value).decode()}
    if value is None and answer.status == 204:
        return {"result": None, "status": 204}
    if isinstance(value, dict) and not answer.fields:
        return cast("dict[str, Any]", value)
    return {"result": value, **answer.fields}


def page_result(
    answer: Answer, part: ReadOperation, limit: Limit, redactor: Redactor, position: Position
) -> types.CallToolResult:
    """Return the part of an answer that was asked for. All of it is made fit to leave: a place may hide what is below.

    A pointer from `_omitted` names a place in the structured result, so that is where it is looked for.

    Raises:
        InvalidArguments: there is no such part.
    """
    redactor.refresh()
    whole = redactor.redact(as_object(answer), position)
    return structured(page(part_at(whole, part.pointer, "read_operation"), part.offset, part.limit), limit)


def report_result(report: BaseModel, redactor: Redactor, limit: Limit) -> types.CallToolResult:
    """Return a workflow's result; the report of a task that failed is an error."""
    redactor.refresh()
    failed = isinstance(report, TaskReport) and report.state == "failed"
    return structured(redactor.redact(report.model_dump(mode="json")), limit, is_error=failed)


def structured(
    value: dict[str, Any],
    limit: Limit | None = None,
    redactor: Redactor = FIT,
    position: Position = Position.CONTENT,
    is_error: bool = False,
) -> types.CallToolResult:
    """Return an object as structured content and as text; without `redactor` it is fit to leave already."""
    shown = value if limit is None else shorten(value, limit.chars, limit.how, redactor, position)
    content = types.TextContent(type="text", text=dump(shown))
    return types.CallToolResult(content=[content], structured_content=shown, is_error=is_error, _meta=meta_of(shown))


def meta_of(shown: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the metadata of a result: how many secrets are replaced in it, if any."""
    replaced = count_replaced({name: value for name, value in shown.items() if name != REPLACED})
    return {"redacted": replaced} if replaced else None


@dataclass(frozen=True, slots=True)
class BinaryFile:
    """A file that OpenCode returns within JSON: `{"type": "binary", "encoding": "base64", "content", "mimeType"}`."""

    media_type: str
    data: bytes

    @classmethod
    def of(cls, value: Any) -> BinaryFile | None:
        """Return the file that an answer is, None where it is anything else."""
        if not isinstance(value, dict):
            return None
        fields = cast("dict[str, Any]", value)
        if (fields.get("type"), fields.get("encoding")) != ("binary", "base64"):
            return None
        try:
            data = base64.b64decode(fields["content"], validate=True)
        except (KeyError, TypeError, ValueError):
            return None
        return cls(str(fields.get("mimeType") or "application/octet-stream"), data)


def file_result(file: BinaryFile) -> types.CallToolResult:
    """Return an image as an image, and of any other file what it is and which tools read it."""
    if shows(file.data):
        return image(file.data, image_type(file.data))
    note = READS_PDF if file.media_type == "application/pdf" else READS_BYTES
    return structured({"type": "binary", "mimeType": file.media_type, "bytes": len(file.data), "note": note})


def is_image(answer: Answer) -> bool:
    """Whether an answer is an image that a client can show."""
    return answer.media_type.startswith("image/") and shows(answer.value)


def shows(data: bytes) -> bool:
    """Whether clients and their models take these bytes for an image."""
    return bool(image_type(data)) and len(data) <= MAX_IMAGE_BYTES


def image_type(data: bytes) -> str:
    """Return the media type of an image by its first bytes, "" of anything else: one call with a wrong type, or with
    one that a model does not take, can end a client's whole conversation."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for mark, media_type in IMAGE_MARKS.items() if data.startswith(mark)), "")


def image(data: bytes, media_type: str) -> types.CallToolResult:
    """Return an image as an image, with its facts."""
    facts = {"media_type": media_type, "bytes": len(data)}
    shown = types.ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=media_type)
    text = types.TextContent(type="text", text=json.dumps(facts))
    return types.CallToolResult(content=[shown, text], structured_content=facts)


def failure(message: str) -> types.CallToolResult:
    """Return a failed call's result: what happened, in words that a model can act on."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)


def noted(result: types.CallToolResult, note: str) -> types.CallToolResult:
    """Return a result with a note: in a report's `note`, else as `_note`, else as one more text."""
    if not note:
        return result
    facts = result.structured_content
    if facts is None or len(result.content) != 1 or not isinstance(result.content[0], types.TextContent):
        facts = None if facts is None else {**facts, NOTE: note}
        content = [*result.content, types.TextContent(type="text", text=f"Note: {note}")]
        return result.model_copy(update={"content": content, "structured_content": facts})
    key = "note" if "note" in facts else NOTE
    more = {**facts, key: "; ".join(part for part in (facts.get(key), note) if part)}
    plain = result.content[0].text != dump(facts)
    texts = [result.content[0].text, f"Note: {note}"] if plain else [dump(more)]
    content = [types.TextContent(type="text", text=text) for text in texts]
    return result.model_copy(update={"content": content, "structured_content": more})
