"""The OpenAPI 3.1 objects, as far as OpenCode's document uses them, and the bundled snapshot of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from opencode_mcp.exceptions import DocumentError

Schema = dict[str, Any]
"""A JSON Schema (2020-12) object, kept as data."""

METHODS = ("get", "put", "post", "delete", "patch")

SNAPSHOT_VERSION = "1.18.33"
"""The OpenCode version whose `GET /doc` the snapshot is, to the byte."""

SNAPSHOT_SHA256 = "46db986090aae41846cd6dbe16225a1d883f0bbcb4c48814008d3f6ce140aa5c"


class OpenAPIObject(BaseModel):
    """Base of the models: camelCase on the wire, unknown fields ignored, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class ParameterObject(OpenAPIObject):
    """One parameter. `allow_reserved` on a path parameter means that it may span segments."""

    name: str
    location: Literal["path", "query", "header", "cookie"] = Field(alias="in")
    required: bool = False
    description: str = ""
    style: str | None = None
    allow_reserved: bool = False
    value_schema: Schema = Field(default_factory=dict, alias="schema")


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
    def parse(cls, data: str | bytes) -> Document:
        """Parse JSON text.

        Raises:
            DocumentError: it is not JSON, or not an OpenAPI 3 document.
        """
        try:
            document = cls.model_validate_json(data)
        except ValidationError as error:
            raise DocumentError(f"not an OpenAPI document: {error}") from error
        if not document.openapi.startswith("3."):
            raise DocumentError(f"OpenAPI {document.openapi} is not supported, 3.x is")
        return document

    def operations(self) -> Iterator[tuple[str, str, OperationObject]]:
        """Every operation as (method in lower case, path, operation), in the document's order."""
        for path, item in self.paths.items():
            for method in METHODS:
                operation: OperationObject | None = getattr(item, method)
                if operation is not None:
                    yield method, path, operation

    def refuse_if_poorer_than(self, other: Document) -> None:
        """Raise when this document lacks operations that `other` has.

        OpenCode 1.14.41 lists 3 operations in its document although it serves more than a hundred.

        Raises:
            DocumentError: names how many are missing, and some of them.
        """
        mine = {operation.operation_id for _, _, operation in self.operations()}
        missing = sorted({operation.operation_id for _, _, operation in other.operations()} - mine)
        if missing:
            some = ", ".join(missing[:5])
            raise DocumentError(f"it lacks {len(missing)} operations that the snapshot has ({some}, …)")


def snapshot_bytes() -> bytes:
    """Return the bundled document as it is."""
    return resources.files(__package__ or __name__).joinpath("opencode.json").read_bytes()


def snapshot() -> Document:
    """Parse the bundled document of OpenCode `SNAPSHOT_VERSION`."""
    return Document.parse(snapshot_bytes())


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of a document's bytes."""
    return hashlib.sha256(data).hexdigest()
