"""Arguments of task tools and gateway tools, validated by their model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.openapi.document import Schema
from opencode_mcp.opencode.coerce import coerce
from opencode_mcp.opencode.problems import Problem, check_schema, example_for, refuse_non_json

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

WAIT_SECONDS = 45.0
"""The default of `timeout_seconds`: clients wait 60 s or longer for a call."""


class Arguments(BaseModel):
    """The arguments of a task tool or a gateway tool: an unknown one is an error."""

    model_config = ConfigDict(extra="forbid")


NonEmpty = Annotated[str, Field(min_length=1)]
"""Text that names something: as an optional argument of a tool call, "" is dropped."""

T = TypeVar("T", bound=Arguments)


def validate_arguments(tool: str, model: type[T], arguments: Mapping[str, Any], lenient: bool = False) -> T:
    """Validate the arguments of a task tool or a gateway tool.

    Of a tool call (`lenient`), slips with only one meaning are coerced by the rules for operations. Pydantic's rules,
    which read "yes" as true, hold for Python callers.

    Raises:
        InvalidArguments: where, what is wrong, what came; and an example.
    """
    try:
        return model.model_validate(arguments, strict=lenient)
    except ValidationError:
        return explain_or_coerce(tool, model, arguments, lenient)


def explain_or_coerce(tool: str, model: type[T], arguments: Mapping[str, Any], lenient: bool) -> T:
    """Validate arguments that do not fit as they came.

    Raises:
        InvalidArguments: they cannot be coerced, or must not be.
    """
    refuse_non_json(tool, arguments)
    schema, validator = schema_of(model), validator_of(model)
    if lenient:
        arguments = coerce(schema, validator, arguments)
        refuse_non_json(tool, arguments)  # JSON text within them can have what JSON cannot
    check_schema(tool, schema, validator, arguments)
    try:
        return model.model_validate(arguments)
    except ValidationError as error:  # of a validator that JSON Schema cannot express
        problems = [
            Problem(".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, "))
            for each in error.errors()
        ]
        raise InvalidArguments(tool, [str(each) for each in problems], example_for(schema, problems)) from error


@cache
def schema_of(model: type[Arguments]) -> Schema:
    """Return the JSON Schema of a model."""
    return model.model_json_schema()


@cache
def validator_of(model: type[Arguments]) -> Draft202012Validator:
    """Return the compiled JSON Schema of a model."""
    from jsonschema_rs import Draft202012Validator

    return Draft202012Validator(schema_of(model))
