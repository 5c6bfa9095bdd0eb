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
JSON_TYPE = "application/json"
SENT = ("path", "query", "header")
"""Locations of parameters that a call can send."""


def normalized(document: Mapping[str, Any], left_out: list[str]) -> Json:
    """Return a copy of a document; `left_out` gets a line for each part that cannot be used.

    Copies a path's parameters to each of its operations, resolves references to components, generates missing operation
    ids, and adds a string parameter for each undeclared placeholder.

    Raises:
        DocumentError: it has no paths.
    """
    paths: Any = document.get("paths")
    if not isinstance(paths, dict):
        raise DocumentError("not an OpenAPI document: it has no paths")
    read: Json = {}
    for path, item in cast("Json", paths).items():
        operations = read[path] = dict[str, Any]()
        followed = follow(item, document)
        if followed is None:
            left_out.append(f"{path}: not an object, or a broken reference")
            continue
        for method in METHODS:
            if method in followed:
                where = f"{method.upper()} {path}"
                try:
                    operations[method] = operation(method, path, followed, document, left_out)
                except DocumentError as error:
                    left_out.append(f"{where}: {error}")
    return {**document, "paths": read}


def operation(method: str, path: str, item: Json, document: Mapping[str, Any], left_out: list[str]) -> Json:
    """Return one operation of a path.

    Raises:
        DocumentError: the operation cannot be called: a required part is unknown or cannot be sent.
    """
    source = item[method]
    if not isinstance(source, dict):
        raise DocumentError("it is no object")
    own = cast("Json", source)
    where = f"{method.upper()} {path}"
    merged: dict[tuple[str, str], Json] = {}
    for parameter in (*listed(item), *listed(own)):
        followed = follow(parameter, document)
        if followed is None or not isinstance(followed.get("name"), str):
            left_out.append(f"{where}: a parameter has no name or a broken reference, and is skipped")
            continue
        if followed.get("in") not in SENT:
            if followed.get("required"):
                raise DocumentError(
                    f"it requires the parameter {followed['name']!r} in {followed.get('in')!r}, which is not supported"
                )
            left_out.append(
                f"{where}: the parameter {followed['name']!r} in {followed.get('in')!r} is not "
                "supported, and is skipped"
            )
            continue
        merged[followed["in"], followed["name"]] = with_schema(followed)
    for name in PLACEHOLDER.findall(path):
        implied = {"name": name, "in": "path", "schema": {"type": "string"}}
        merged["path", name] = {**merged.get(("path", name), implied), "required": True}
    result: Json = {**own, "parameters": list(merged.values())}
    result.setdefault("operationId", generated_id(method, path))
    if "requestBody" in own:
        body = follow(own["requestBody"], document)
        if body is None:
            raise DocumentError("its request body is a broken reference")
        result["requestBody"] = body
    answers: Any = own.get("responses")
    responses = cast("Json", answers) if isinstance(answers, dict) else {}
    result["responses"] = {str(status): follow(one, document) or {} for status, one in responses.items()}
    return result


def listed(holder: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the parameters of a path or an operation."""
    parameters: Any = holder.get("parameters")
    yield from cast("list[Any]", parameters) if isinstance(parameters, list) else ()


def with_schema(parameter: Json) -> Json:
    """Return a parameter with its schema moved up from `content`; its value is then JSON."""
    content: Any = parameter.get("content")
    if "schema" in parameter or not isinstance(content, dict) or not content:
        return parameter
    media: Any = next(iter(cast("Json", content).values()))
    return {**parameter, "schema": cast("Json", media).get("schema", {}) if isinstance(media, dict) else {}}


def generated_id(method: str, path: str) -> str:
    """Return an id for an operation that has none: GET /a/{b}/c is `get.a.b.c`."""
    return ".".join([method, *re.findall(r"[A-Za-z0-9_]+", path)])


def follow(value: Any, document: Mapping[str, Any]) -> Json | None:
    """Return a value, or the object that its `$ref` names in the document; None if there is none."""
    seen: set[str] = set()
    while isinstance(value, dict) and isinstance(cast("Json", value).get("$ref"), str):
        reference: str = cast("Json", value)["$ref"]
        if reference in seen or not reference.startswith("#/"):
            return None
        seen.add(reference)
        value = at_pointer(document, reference)
    return cast("Json", value) if isinstance(value, dict) else None


def at_pointer(document: Mapping[str, Any], reference: str) -> Any:
    """Return what a reference such as `#/components/parameters/X` names, None where there is nothing."""
    place: Any = document
    for step in reference.removeprefix("#/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        place = cast("Json", place).get(key) if isinstance(place, dict) else None
    return place
