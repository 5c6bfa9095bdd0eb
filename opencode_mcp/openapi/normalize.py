"""Any OpenAPI 3 document -> the form that `document.py` reads: parameters merged into operations, no references except
to schemas. Parts that cannot be used are skipped and reported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from opencode_mcp.exceptions import DocumentError

Json = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "patch")
PLACEHOLDER = re.compile(r"\{([^{}/]+)\}")
SENDABLE_LOCATIONS = ("path", "query", "header")
"""Locations of parameters that a call can send."""


def normalize_document(document: Mapping[str, Any], skipped: list[str]) -> Json:
    """Return a copy of a document; `skipped` gets a line for each part that cannot be used.

    Copies a path's parameters to each of its operations, resolves references to components, generates missing operation
    ids, and adds a string parameter for each undeclared placeholder.

    Raises:
        DocumentError: it has no paths.
    """
    paths: Any = document.get("paths")
    if not isinstance(paths, dict):
        raise DocumentError("not an OpenAPI document: it has no paths")
    normalized_paths: Json = {}
    for path, item in cast("Json", paths).items():
        operations = normalized_paths[path] = dict[str, Any]()
        resolved_item = resolve_reference(item, document)
        if resolved_item is None:
            skipped.append(f"{path}: not an object, or a broken reference")
            continue
        for method in METHODS:
            if method in resolved_item:
                route = f"{method.upper()} {path}"
                try:
                    operations[method] = normalize_operation(method, path, resolved_item, document, skipped)
                except DocumentError as error:
                    skipped.append(f"{route}: {error}")
    return {**document, "paths": normalized_paths}


def normalize_operation(method: str, path: str, item: Json, document: Mapping[str, Any], skipped: list[str]) -> Json:
    """Return one operation of a path.

    Raises:
        DocumentError: the operation cannot be called: a required part is unknown or cannot be sent.
    """
    source = item[method]
    if not isinstance(source, dict):
        raise DocumentError("it is not an object")
    operation = cast("Json", source)
    parameters = merge_parameters(method, path, item, document, skipped)
    result: Json = {**operation, "parameters": parameters}
    result.setdefault("operationId", generate_operation_id(method, path))
    if "requestBody" in operation:
        body = resolve_reference(operation["requestBody"], document)
        if body is None:
            raise DocumentError("its request body is a broken reference")
        result["requestBody"] = body
    raw_responses: Any = operation.get("responses")
    responses = cast("Json", raw_responses) if isinstance(raw_responses, dict) else {}
    result["responses"] = {
        str(status): resolve_reference(response, document) or {} for status, response in responses.items()
    }
    return result


def merge_parameters(method: str, path: str, item: Json, document: Mapping[str, Any], skipped: list[str]) -> list[Json]:
    """Return the parameters of an operation; each replaces the parameter of its path with the same name and location.

    Raises:
        DocumentError: it requires a parameter that cannot be sent.
    """
    route = f"{method.upper()} {path}"
    merged: dict[tuple[str, str], Json] = {}
    for parameter in (*iter_parameters(item), *iter_parameters(item[method])):
        resolved = resolve_reference(parameter, document)
        if resolved is None or not isinstance(resolved.get("name"), str):
            skipped.append(f"{route}: a parameter has no name or a broken reference, and is skipped")
            continue
        if resolved.get("in") not in SENDABLE_LOCATIONS:
            if resolved.get("required"):
                raise DocumentError(
                    f"it requires the parameter {resolved['name']!r} in {resolved.get('in')!r}, which is not supported"
                )
            skipped.append(
                f"{route}: the parameter {resolved['name']!r} in {resolved.get('in')!r} is not "
                "supported, and is skipped"
            )
            continue
        merged[resolved["in"], resolved["name"]] = with_schema(resolved)
    for name in PLACEHOLDER.findall(path):
        default = {"name": name, "in": "path", "schema": {"type": "string"}}
        merged["path", name] = {**merged.get(("path", name), default), "required": True}
    return list(merged.values())


def iter_parameters(owner: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the parameters of a path or an operation."""
    parameters: Any = owner.get("parameters")
    yield from cast("list[Any]", parameters) if isinstance(parameters, list) else ()


def with_schema(parameter: Json) -> Json:
    """Return a parameter with its schema moved up from `content`; its value is then JSON."""
    content: Any = parameter.get("content")
    if "schema" in parameter or not isinstance(content, dict) or not content:
        return parameter
    media: Any = next(iter(cast("Json", content).values()))
    return {**parameter, "schema": cast("Json", media).get("schema", {}) if isinstance(media, dict) else {}}


def generate_operation_id(method: str, path: str) -> str:
    """Return an id for an operation that has none: GET /a/{b}/c is `get.a.b.c`."""
    return ".".join([method, *re.findall(r"[A-Za-z0-9_]+", path)])


def resolve_reference(value: Any, document: Mapping[str, Any]) -> Json | None:
    """Return a value, or the object that its `$ref` names in the document; None if there is none."""
    seen: set[str] = set()
    while isinstance(value, dict) and isinstance(cast("Json", value).get("$ref"), str):
        reference: str = cast("Json", value)["$ref"]
        if reference in seen or not reference.startswith("#/"):
            return None
        seen.add(reference)
        value = resolve_pointer(document, reference)
    return cast("Json", value) if isinstance(value, dict) else None


def resolve_pointer(document: Mapping[str, Any], reference: str) -> Any:
    """Return what a reference such as `#/components/parameters/X` names, None where there is nothing."""
    node: Any = document
    for step in reference.removeprefix("#/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        node = cast("Json", node).get(key) if isinstance(node, dict) else None
    return node
