"""Encoding of request bodies: JSON, or the media type that a newer document declares."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import httpx2

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.catalog import JSON_TYPE, Body
from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.openapi.navigation import resolve

BYTE_FORMATS = ("binary", "byte", "base64")
"""Values of a schema's `format` or `contentEncoding` that stand for bytes."""


def encode_body(operation: Operation, value: Any) -> tuple[bytes | None, Mapping[str, str]]:
    """Return the encoded body and its headers; None and no headers for an operation without a body.

    Raises:
        InvalidArguments: bytes are not base64, or the body does not fit its media type.
    """
    if operation.body is None:
        return None, {}
    media_type = operation.body.media_type.partition(";")[0].strip().lower()
    if media_type == JSON_TYPE or media_type.endswith("+json"):
        return json.dumps(value).encode(), {"content-type": media_type}
    if media_type in ("multipart/form-data", "application/x-www-form-urlencoded"):
        if not isinstance(value, dict):
            raise InvalidArguments(operation.name, [f"body: must be an object, as it is sent as {media_type}"])
        return encode_form(operation, media_type, cast("dict[str, Any]", value))
    if media_type.startswith("text/"):
        return (value if isinstance(value, str) else json.dumps(value)).encode(), {"content-type": media_type}
    return decode_base64(operation, "body", value), {"content-type": media_type}


def encode_form(operation: Operation, media_type: str, value: Mapping[str, Any]) -> tuple[bytes, Mapping[str, str]]:
    """Return the fields of a form."""
    assert operation.body is not None
    request = (
        httpx2.Request("POST", "http://form", files=list(multipart_parts(operation, operation.body, value)))
        if media_type == "multipart/form-data"
        else httpx2.Request(
            "POST", "http://form", data={name: format_field(field_value) for name, field_value in value.items()}
        )
    )
    return request.read(), {"content-type": request.headers["content-type"]}


def multipart_parts(operation: Operation, body: Body, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a multipart form: a file for bytes, and one part for each item of a list."""
    properties: dict[str, Any] = resolve(body.schema, operation.components).get("properties", {})
    for name, field_value in value.items():
        schema = resolve(properties.get(name, {}), operation.components)
        items: list[Any] = [field_value]
        if isinstance(field_value, list) and schema.get("type") == "array":
            items, schema = cast("list[Any]", field_value), resolve(schema.get("items", {}), operation.components)
        for item in items:
            if schema.get("format") in BYTE_FORMATS or schema.get("contentEncoding") in BYTE_FORMATS:
                yield name, (name, decode_base64(operation, name, item))
            else:
                yield name, (None, format_field(item))


def format_field(value: Any) -> str:
    """Return the text of a form's field."""
    return value if isinstance(value, str) else json.dumps(value)


def decode_base64(operation: Operation, name: str, value: Any) -> bytes:
    """Return the bytes that a value encodes.

    Raises:
        InvalidArguments: the value is not base64.
    """
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InvalidArguments(operation.name, [f"{name}: must be base64-encoded bytes"]) from error
