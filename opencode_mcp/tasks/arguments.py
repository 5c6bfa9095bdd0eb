"""Arguments of task tools and gateway tools, validated by their model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode.models import format_problems

WAIT_SECONDS = 45.0
"""The default of `timeout_seconds`: clients wait 60 s or longer for a call."""


class Arguments(BaseModel):
    """The arguments of a task tool or a gateway tool: an unknown one is an error."""

    model_config = ConfigDict(extra="forbid")


def validate_arguments(tool: str, model: type[Arguments], arguments: Mapping[str, Any]) -> Arguments:
    """Validate the arguments of a task tool or a gateway tool.

    Raises:
        InvalidArguments: where, what is wrong, what came.
    """
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        raise InvalidArguments(tool, format_problems(error)) from error
