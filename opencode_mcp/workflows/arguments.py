"""Arguments of a tool of ours, checked against its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from opencode_mcp.exceptions import InvalidArguments


def parsed(tool: str, model: type[BaseModel], arguments: Mapping[str, Any]) -> BaseModel:
    """Validate the arguments of a tool of ours.

    Raises:
        InvalidArguments: where, what is wrong, what came.
    """
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}; got {str(one['input'])[:120]!r}"
            for one in error.errors()
        ]
        raise InvalidArguments(tool, problems) from error
