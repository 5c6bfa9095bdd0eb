"""Differences between the running OpenCode's document and the one that defines the tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import httpx2

from opencode_mcp.catalog.generation import Generation
from opencode_mcp.exceptions import DocumentError
from opencode_mcp.openapi import Document
from opencode_mcp.openapi.document import OperationObject
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.tasks.report import to_one_line

from .check_result import CheckResult

DOCUMENT_SECONDS = 30.0
"""The first GET /doc costs OpenCode 2 to 13 s."""

MAX_NAMED = 5
TEXT_FIELDS = {"summary", "description", "tags"}


@dataclass(frozen=True)
class Drift:
    """Operation ids and schema names; `differ` are operations with other parameters, bodies or answers."""

    came: list[str]
    went: list[str]
    differ: list[str]
    schemas: list[str]


async def check_document(opencode: OpenCodeClient) -> CheckResult:
    """Compare the server's document with the snapshot. An unusable one is not a failure: the snapshot is used."""
    endpoint = await opencode.server.endpoint()
    generation = opencode.catalog.generation
    path = generation.snapshot.document_path
    try:
        response = await opencode.http.get(f"{endpoint.base_url}{path}", auth=endpoint.auth, timeout=DOCUMENT_SECONDS)
        response.raise_for_status()
        live = Document.parse(response.content)
    except (httpx2.HTTPError, DocumentError) as error:
        reason = (
            "it is not an OpenAPI document"
            if isinstance(error, DocumentError)
            else to_one_line(str(error) or repr(error), 200)
        )
        return CheckResult(
            "document", "warning", f"GET {path} cannot be compared: {reason}", "the bundled document is used"
        )
    bundled = generation.load_document()
    drift = compare(live, bundled, generation.snapshot.is_exact)
    return drift_result(drift, generation, len(operations(live)), len(operations(bundled)))


def compare(live: Document, bundled: Document, is_exact: bool) -> Drift:
    """Return the differences, apart from summaries, descriptions and tags; only the operations that came or went if
    the bundled document is not exact."""
    new, old = operations(live), operations(bundled)
    live_schemas, bundled_schemas = live.components.schemas, bundled.components.schemas
    return Drift(
        came=sorted(new.keys() - old.keys()),
        went=sorted(old.keys() - new.keys()),
        differ=sorted(name for name in new.keys() & old.keys() if is_exact and new[name] != old[name]),
        schemas=sorted(
            name
            for name in live_schemas.keys() | bundled_schemas.keys()
            if is_exact and live_schemas.get(name) != bundled_schemas.get(name)
        ),
    )


def operations(document: Document) -> dict[str, tuple[str, str, OperationObject]]:
    """Return method, path and operation by id, without prose."""
    blank = dict.fromkeys(TEXT_FIELDS, "") | {"tags": ()}
    return {
        operation.operation_id: (method, path, operation.model_copy(update=blank))
        for method, path, operation in document.operations()
    }


def drift_result(drift: Drift, generation: Generation, live_count: int, bundled_count: int) -> CheckResult:
    """Return the result for the differences."""
    snapshot = generation.snapshot
    if not any((drift.came, drift.went, drift.differ, drift.schemas)):
        return CheckResult("document", "ok", f"{live_count} operations, the same as in OpenCode {snapshot.version}")
    facts = asdict(drift)
    if drift.went and not drift.came and live_count < bundled_count // 2:
        message = (
            f"GET {snapshot.document_path} lists only {live_count} of {bundled_count} operations, as OpenCode of 2025 "
            "does although it serves more"
        )
        return CheckResult("document", "warning", message, "the bundled document is used; update OpenCode", facts)
    parts = [
        format_count(drift.came, "operations added"),
        format_count(drift.went, "operations removed"),
        format_count(drift.differ, "operations differ"),
        format_count(drift.schemas, "schemas differ"),
    ]
    advice = "calls of removed operations will fail" if drift.went else "--document live uses it for the tools"
    return CheckResult("document", "warning", "; ".join(part for part in parts if part), advice, facts)


def format_count(names: Sequence[str], label: str) -> str:
    """Return the number of names, and the first few of them."""
    more = ", …" if len(names) > MAX_NAMED else ""
    return f"{len(names)} {label} ({', '.join(names[:MAX_NAMED])}{more})" if names else ""
