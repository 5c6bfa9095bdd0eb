"""Response, report or error -> truncated, redacted tool result.

Here a result has its facts twice, as text and as structured content. `sent_once` drops the second copy where no output
schema promises it; `facts_of` reads either form.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import mcp_types as types
from pydantic import BaseModel

from opencode_mcp.catalog.minimal_lists import MinimalForm
from opencode_mcp.opencode import Answer
from opencode_mcp.redaction import NO_REDACTION, Position, Redactor, count_replaced
from opencode_mcp.tasks.report import TaskReport

from .gateway import ReadOperation
from .minimal_lists import minimal_list
from .truncate import REDACTED_FIELD, dump, part_at, take_page, truncate_and_dump, with_redaction_note

MAX_IMAGE_BYTES = 5 * 1024 * 1024
IMAGE_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
PDF_NOTE = "Not text. To let a model read this PDF, pass it to run_task in `files`; v2_fs_read returns its bytes."
BYTES_NOTE = "Not text. v2_fs_read returns its bytes as base64."
FIRST_STRUCTURED_VERSION = "2025-06-18"
"""The first protocol version with structured content."""

RETRIED_FIELD = "_retried"
NOTE_FIELD = "_note"


@dataclass(frozen=True, slots=True)
class Limit:
    """The maximum length of a result in characters, and a hint how to read what is omitted."""

    chars: int
    hint: str


def operation_result(
    answer: Answer,
    limit: Limit,
    redactor: Redactor,
    position: Position = Position.CONTENT,
    form: MinimalForm | None = None,
) -> types.CallToolResult:
    """Return the redacted result of an operation's response.

    structuredContent is the response body if that is an object and `answer.fields` is empty, else `{"result": body}`
    with these fields; text is the same as JSON, or the text itself for a plain-text body. An image becomes
    image content. `position` says what the body describes, `form` which minimal form it is returned in.
    """
    redactor.refresh()
    if form is not None:
        return minimal_result(answer, limit, redactor, position, form)
    if isinstance(answer.value, bytes) and is_image(answer):
        return image_result(answer.value, image_type(answer.value))
    if (file := BinaryFile.of(answer.value)) is not None:
        return file_result(file)
    facts = as_object(answer)
    if isinstance(answer.value, str) and answer.media_type != "application/json" and len(answer.value) <= limit.chars:
        redacted: dict[str, Any] = with_redaction_note(redactor.redact(facts, position))
        extras = [dump({name: redacted[name]}) for name in (RETRIED_FIELD, REDACTED_FIELD) if name in redacted]
        texts = [redacted["result"], *extras]
        if sum(map(len, texts)) <= limit.chars:
            content = [types.TextContent(type="text", text=text) for text in texts]
            return types.CallToolResult(content=list(content), structured_content=redacted, _meta=result_meta(redacted))
    return structured(facts, limit, redactor, position, is_error=answer.failed)


def minimal_result(
    answer: Answer, limit: Limit, redactor: Redactor, position: Position, form: MinimalForm
) -> types.CallToolResult:
    """Return the redacted minimal form of a response.

    In content a field's own name decides how it is redacted, and it keeps its name, so only the entries that are
    returned are redacted. Elsewhere a field may decide about what is below it, so the whole response is redacted first.
    """
    if position is Position.CONTENT:
        return structured(minimal_list(form, as_object(answer)), limit, redactor, position, is_error=answer.failed)
    return structured(redact_whole(answer, redactor, position, form), limit, is_error=answer.failed)


def as_object(answer: Answer) -> dict[str, Any]:
    """Return a response as an object, with the reasons of retries as `_retried`."""
    retries = {RETRIED_FIELD: list(answer.retried)} if answer.retried else {}
    value: Any = answer.value
    if isinstance(value, bytes):
        data = base64.b64encode(value).decode()
        return {"media_type": answer.media_type, "bytes": len(value), "base64": data, **retries}
    if value is None and answer.status == 204:
        return {"result": None, "status": 204, **retries}
    if isinstance(value, dict) and not answer.fields:
        return {**cast("dict[str, Any]", value), **retries}
    return {"result": value, **answer.fields, **retries}


def redact_whole(answer: Answer, redactor: Redactor, position: Position, form: MinimalForm | None) -> dict[str, Any]:
    """Return a whole response as a redacted object, in its minimal form if there is one.

    It is redacted first, as a field may decide about what is below it.
    """
    redactor.refresh()
    redacted = redactor.redact(as_object(answer), position)
    return redacted if form is None else minimal_list(form, redacted)


def page_result(
    answer: Answer,
    part: ReadOperation,
    limit: Limit,
    redactor: Redactor,
    position: Position,
    form: MinimalForm | None = None,
) -> types.CallToolResult:
    """Return the requested part of a response.

    `part.pointer` is a pointer into the structured result that the same arguments return, as in `_omitted`.

    Raises:
        InvalidArguments: there is no such part.
    """
    redacted = redact_whole(answer, redactor, position, form)
    source = "read_operation" if form is None else "read_operation (a minimal list; `full` returns all fields)"
    return structured(take_page(part_at(redacted, part.pointer, source), part.offset, part.limit), limit)


def report_result(report: BaseModel, redactor: Redactor, limit: Limit) -> types.CallToolResult:
    """Return a task tool's result, without fields that have their default; the report of a failed task is an error."""
    redactor.refresh()
    failed = isinstance(report, TaskReport) and report.state in {"failed", "check_failed"}
    facts = redactor.redact(report.model_dump(mode="json", exclude_defaults=True))
    return structured(facts, limit, is_error=failed)


def structured(
    value: dict[str, Any],
    limit: Limit | None = None,
    redactor: Redactor = NO_REDACTION,
    position: Position = Position.CONTENT,
    is_error: bool = False,
) -> types.CallToolResult:
    """Return an object as structured content and as text; without `redactor` it must be redacted already."""
    if limit is None:
        rendered, text = value, dump(value)
    else:
        rendered, text = truncate_and_dump(value, limit.chars, limit.hint, redactor, position)
    content = types.TextContent(type="text", text=text)
    return types.CallToolResult(
        content=[content], structured_content=rendered, is_error=is_error, _meta=result_meta(rendered)
    )


def result_meta(rendered: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the `_meta` of a result: how many secrets are replaced in it; None without any."""
    replaced = count_replaced({name: value for name, value in rendered.items() if name != REDACTED_FIELD})
    return {"redacted": replaced} if replaced else None


@dataclass(frozen=True, slots=True)
class BinaryFile:
    """A file that OpenCode returns within JSON: `{"type": "binary", "encoding": "base64", "content", "mimeType"}`."""

    media_type: str
    data: bytes

    @classmethod
    def of(cls, value: Any) -> BinaryFile | None:
        """Return the file in a response body, None if the body is anything else."""
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
    """Return an image as image content, and any other file as its type, its size and the tools that read it."""
    if is_displayable(file.data):
        return image_result(file.data, image_type(file.data))
    note = PDF_NOTE if file.media_type == "application/pdf" else BYTES_NOTE
    return structured({"type": "binary", "mimeType": file.media_type, "bytes": len(file.data), "note": note})


def is_image(answer: Answer) -> bool:
    """Whether a response is an image that a client can show."""
    return answer.media_type.startswith("image/") and is_displayable(answer.value)


def is_displayable(data: bytes) -> bool:
    """Whether clients and models accept these bytes as an image."""
    return bool(image_type(data)) and len(data) <= MAX_IMAGE_BYTES


def image_type(data: bytes) -> str:
    """Return the media type of an image by its first bytes, "" for anything else.

    The declared type is not used: one result with a wrong type, or one that a model does not accept, can make every
    later request of a client's conversation fail.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for signature, media_type in IMAGE_SIGNATURES.items() if data.startswith(signature)), "")


def image_result(data: bytes, media_type: str) -> types.CallToolResult:
    """Return an image as image content, with its type and size as text."""
    facts = {"media_type": media_type, "bytes": len(data)}
    content = types.ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=media_type)
    text = types.TextContent(type="text", text=dump(facts))
    return types.CallToolResult(content=[content, text], structured_content=facts)


def sent_once(result: types.CallToolResult, has_output_schema: bool, protocol_version: str) -> types.CallToolResult:
    """Return a result without structured content, unless the protocol obliges the tool to send it.

    That is a tool with an output schema, in a version that knows it; the text stays, as some clients read nothing else.
    """
    if has_output_schema and protocol_version >= FIRST_STRUCTURED_VERSION:
        return result
    return types.CallToolResult(content=result.content, is_error=result.is_error, _meta=result.meta)


def facts_of(result: types.CallToolResult) -> dict[str, Any] | None:
    """Return what a result says, as a client receives it; None for an error that is only a message.

    That is its structured content, the JSON object that its text is, or `{"result": text}` for any other text.
    """
    if result.structured_content is not None:
        return cast("dict[str, Any]", result.structured_content)
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    if len(texts) == 1 and (facts := parse_object(texts[0])) is not None:
        return facts
    return None if result.is_error else {"result": "\n".join(texts)}


def parse_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, None for any other text."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def failure(message: str) -> types.CallToolResult:
    """Return the result of a failed call; a model must be able to act on the message."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)


def add_note(result: types.CallToolResult, note: str) -> types.CallToolResult:
    """Return a result with a note: in a report's `note`, else as `_note`, else as one more text."""
    if not note:
        return result
    facts = result.structured_content
    if facts is None or len(result.content) != 1 or not isinstance(result.content[0], types.TextContent):
        facts = None if facts is None else {**facts, NOTE_FIELD: note}
        content = [*result.content, types.TextContent(type="text", text=f"Note: {note}")]
        return result.model_copy(update={"content": content, "structured_content": facts})
    is_report = {"session_id", "state"} <= facts.keys()
    key = "note" if is_report or isinstance(facts.get("note"), str) else NOTE_FIELD
    noted_facts = {**facts, key: "; ".join(part for part in (facts.get(key), note) if part)}
    is_plain_text = result.content[0].text != dump(facts)
    texts = [result.content[0].text, f"Note: {note}"] if is_plain_text else [dump(noted_facts)]
    content = [types.TextContent(type="text", text=text) for text in texts]
    return result.model_copy(update={"content": content, "structured_content": noted_facts})
