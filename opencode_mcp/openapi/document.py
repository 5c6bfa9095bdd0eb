"""The OpenAPI 3.1 objects, as far as OpenCode's document uses them."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from opencode_mcp.exceptions import DocumentError

from .normalize import METHODS, normalize_document

Schema = dict[str, Any]
"""A JSON Schema (2020-12) object, kept as data."""


class OpenAPIObject(BaseModel):
    """Base of the models: camelCase on the wire, unknown fields ignored, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class ParameterObject(OpenAPIObject):
    """One parameter. `allow_reserved` on a path parameter means that it may span segments.

    `argument` is its argument name, if that is not `name`: see `argument_name`.
    """

    name: str
    argument: str = ""
    location: Literal["path", "query", "header", "cookie"] = Field(alias="in")
    required: bool = False
    description: str = ""
    style: str | None = None
    allow_reserved: bool = False
    value_schema: Schema = Field(default_factory=dict, alias="schema")

    @property
    def argument_name(self) -> str:
        """The name of the tool argument."""
        return self.argument or self.name


class MediaTypeObject(OpenAPIObject):
    """The schema of one content type."""

    value_schema: Schema = Field(default_factory=dict, alias="schema")


class RequestBodyObject(OpenAPIObject):
    """A request body, by content type."""

    required: bool = False
    content: dict[str, MediaTypeObject] = {}


class ResponseObject(OpenAPIObject):
    """A response, by content type; no content type at all means no body."""

    description: str = ""
    content: dict[str, MediaTypeObject] = {}


class OperationObject(OpenAPIObject):
    """One method of one path."""

    operation_id: str
    summary: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    deprecated: bool = False
    parameters: tuple[ParameterObject, ...] = ()
    request_body: RequestBodyObject | None = None
    responses: dict[str, ResponseObject] = {}


class PathItemObject(OpenAPIObject):
    """The operations of one path, by method."""

    get: OperationObject | None = None
    put: OperationObject | None = None
    post: OperationObject | None = None
    delete: OperationObject | None = None
    patch: OperationObject | None = None


class ComponentsObject(OpenAPIObject):
    """Named schemas that `$ref` points to."""

    schemas: dict[str, Schema] = {}


class Document(OpenAPIObject):
    """An OpenAPI document."""

    openapi: str
    paths: dict[str, PathItemObject]
    components: ComponentsObject = ComponentsObject()

    @classmethod
    def parse(cls, data: str | bytes, skipped: list[str] | None = None) -> Document:
        """Parse JSON text. `skipped` gets a line for each part that is not valid OpenAPI and is skipped.

        Raises:
            DocumentError: the text is not JSON, or not an OpenAPI 3 document.
        """
        skipped = [] if skipped is None else skipped
        try:
            raw = json.loads(data)
            if not isinstance(raw, dict):
                raise DocumentError("not an OpenAPI document: not a JSON object")
            document = cls.model_validate(
                drop_invalid(normalize_document(cast("dict[str, Any]", raw), skipped), skipped)
            )
        except (ValidationError, ValueError, RecursionError) as error:
            raise DocumentError(f"not an OpenAPI document: {error}") from error
        if not document.openapi.startswith("3."):
            raise DocumentError(f"OpenAPI {document.openapi} is not supported; 3.x is required")
        return document

    def operations(self) -> Iterator[tuple[str, str, OperationObject]]:
        """Every operation as (method in lower case, path, operation), in the document's order."""
        for path, item in self.paths.items():
            for method in METHODS:
                operation: OperationObject | None = getattr(item, method)
                if operation is not None:
                    yield method, path, operation

    def missing_operation_ids(self, other: Document) -> list[str]:
        """Return the ids of the operations of `other` that this document lacks, sorted."""
        own_ids = {operation.operation_id for _, _, operation in self.operations()}
        return sorted({operation.operation_id for _, _, operation in other.operations()} - own_ids)

    def require_share_of(self, other: Document, least_share: float) -> None:
        """Raise if this document has less than a share of the operations of `other`: it is then not a complete
        description of its server.

        Raises:
            DocumentError: names how many are missing, and some of them.
        """
        missing = self.missing_operation_ids(other)
        if len(missing) > sum(1 for _ in other.operations()) * (1 - least_share):
            examples = ", ".join(missing[:5])
            raise DocumentError(f"it lacks {len(missing)} operations of the bundled document ({examples}, …)")

    def without_operations(self, operation_ids: Container[str]) -> Document:
        """Return this document without some of its operations."""
        paths = {
            path: item.model_copy(
                update={
                    method: None
                    for method in METHODS
                    if (operation := getattr(item, method)) is not None and operation.operation_id in operation_ids
                }
            )
            for path, item in self.paths.items()
        }
        return self.model_copy(update={"paths": paths})


def drop_invalid(document: dict[str, Any], skipped: list[str]) -> dict[str, Any]:
    """Return a normalized document without invalid operations and component schemas."""
    paths: dict[str, dict[str, Any]] = {path: {} for path in document["paths"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            try:
                paths[path][method] = OperationObject.model_validate(operation)
            except ValidationError as error:
                first = error.errors()[0]
                location = ".".join(map(str, first["loc"]))
                skipped.append(f"{method.upper()} {path}: {location}: {first['msg']}")
    components: Any = document.get("components")
    raw_schemas: Any = cast("dict[str, Any]", components).get("schemas") if isinstance(components, dict) else None
    schemas = cast("dict[str, Any]", raw_schemas) if isinstance(raw_schemas, dict) else {}
    valid_schemas: dict[str, Any] = {name: schema for name, schema in schemas.items() if isinstance(schema, dict)}
    return {**document, "paths": paths, "components": {"schemas": valid_schemas}}
