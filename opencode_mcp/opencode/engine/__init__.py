"""What tasks need from an OpenCode, whatever its generation: `protocol.py`, with an engine for each generation.

Nothing above this package knows the generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opencode_mcp.opencode.client import OpenCodeClient

from . import opencode1, opencode2
from .opencode1 import Engine1
from .opencode2 import Engine2
from .protocol import METADATA_KEY, Engine, EngineTraits, MessagePage, PermissionReply

__all__ = ["METADATA_KEY", "TRAITS", "Engine", "EngineTraits", "MessagePage", "PermissionReply", "engine_of"]

ENGINES: Mapping[int, Callable[[OpenCodeClient], Engine]] = {1: Engine1, 2: Engine2}
"""By generation."""

TRAITS: Mapping[int, EngineTraits] = {1: opencode1.TRAITS, 2: opencode2.TRAITS}
"""By generation, where no client is needed."""


def engine_of(opencode: OpenCodeClient) -> Engine:
    """Return the engine for the generation of a client's catalog."""
    return ENGINES[opencode.catalog.generation.number](opencode)
