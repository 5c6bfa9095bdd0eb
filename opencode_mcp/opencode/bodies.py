"""Encoding of request bodies: JSON, or the media type that a newer document declares."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import httpx2

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.openapi import Operation
from opencode_mcp.openapi.catalog import JSON_TYPE, Body
from opencode_mcp.openapi.schema import resolve

BYTES = ("binary", "byte", "base64")
"""Values of a schema's `format` or `contentEncoding` that stand for bytes."""


def encoded(operation: Operation, value: Any) -> tuple[bytes | None, Mapping[str, str]]:
    """Return the encoded body and its headers; None and no headers for an operation without a body.

    Raises:
        InvalidArguments: bytes are not base64, or the body does not fit its media type.
    """
    if operation.body is None:
        return None, {}
    kind = operation.body.media_type.partition(";")[0].strip().lower()
    if kind == JSON_TYPE or kind.endswith("+json"):
        return json.dumps(value).encode(), {"content-type": kind}
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        if not isinstance(value, dict):
            raise InvalidArguments(operation.name, [f"body: must be an object, as it is sent as {kind}"])
        return form(operation, kind, cast("dict[str, Any]", value))
    if kind.startswith("text/"):
        return (value if isinstance(value, str) else json.dumps(value)).encode(), {"content-type": kind}
    return from_base64(operation, "body", value), {"content-type": kind}


def form(operation: Operation, kind: str, value: Mapping[str, Any]) -> tuple[bytes, Mapping[str, str]]:
    """Return the fields of a form."""
    assert operation.body is not None
    request = (
        httpx2.Request("POST", "http://form", files=list(parts(operation, operation.body, value)))
        if kind == "multipart/form-data"
        else httpx2.Request("POST", "http://form", data={name: text(one) for name, one in value.items()})
    )
    return request.read(), {"content-type": request.headers["content-type"]}


def parts(operation: Operation, body: Body, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a multipart form: a file for bytes, and one part for each item of a list."""
    properties: dict[str, Any] = resolve(body.schema, operation.components).get("properties", {})
    for name, given in value.items():
        schema = resolve(properties.get(name, {}), operation.components)
        items: list[Any] = [given]
        if isinstance(given, list) and schema.get("type") == "array":
            items, schema = cast("list[Any]", given), resolve(schema.get("items", {}), operation.components)
        for item in items:
            if schema.get("format") in BYTES or schema.get("contentEncoding") in BYTES:
                yield name, (name, from_base64(operation, name, item))
            else:
                yield name, (None, text(item))


def text(value: Any) -> str:
    """Return the text of a form's field."""
    return value if isinstance(value, str) else json.dumps(value)


def from_base64(operation: Operation, name: str, value: Any) -> bytes:
    """Return the bytes that a value encodes.

    Raises:
        InvalidArguments: the value is not base64.
    """
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InvalidArguments(operation.name, [f"{name}: must be base64-encoded bytes"]) from error
