"""Arguments of a tool of ours, checked against its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode.models import problems


def parsed(tool: str, model: type[BaseModel], arguments: Mapping[str, Any]) -> BaseModel:
    """Validate the arguments of a tool of ours.

    Raises:
        InvalidArguments: where, what is wrong, what came.
    """
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        raise InvalidArguments(tool, problems(error)) from error
