"""What tasks need from an OpenCode, whatever its generation: `protocol.py`, with an engine for each generation.

Nothing above this package knows the generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opencode_mcp.opencode.client import OpenCodeClient

from . import opencode1
from .opencode1 import Engine1
from .opencode2 import traits as opencode2
from .protocol import DEFAULT_AGENT, METADATA_KEY, Engine, EngineTraits, MessagePage, PermissionReply

__all__ = [
    "DEFAULT_AGENT",
    "METADATA_KEY",
    "TRAITS",
    "Engine",
    "EngineTraits",
    "MessagePage",
    "PermissionReply",
    "engine_of",
]


def make_engine_2(opencode: OpenCodeClient) -> Engine:
    """Return the engine of OpenCode 2, which is imported when it is needed, as its models take 40 ms of every start."""
    from .opencode2.engine2 import Engine2

    return Engine2(opencode)


ENGINES: Mapping[int, Callable[[OpenCodeClient], Engine]] = {1: Engine1, 2: make_engine_2}
"""By generation."""

TRAITS: Mapping[int, EngineTraits] = {1: opencode1.TRAITS, 2: opencode2.TRAITS}
"""By generation, where no client is needed."""


def engine_of(opencode: OpenCodeClient) -> Engine:
    """Return the engine for the generation of a client's catalog."""
    return ENGINES[opencode.catalog.generation.number](opencode)
