"""The generation whose tools this process lists, and what is said about an OpenCode of another one.

The tools never change while a client is connected, so they are known before OpenCode is: they are those of the
generation that the user has chosen, else of the one that was seen last.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from opencode_mcp.catalog.generation import Generation
from opencode_mcp.catalog.generations import DEFAULT_GENERATION, GENERATIONS
from opencode_mcp.catalog.versions import parse_release

SEEN_FILE = "generations.json"
MAX_SEEN = 100
"""Of more servers the oldest are forgotten."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpectedGeneration:
    """The generation whose tools are listed.

    `is_fixed`: the user has chosen it. Else the one that is seen is noted in `cache` under `name`, for the next start;
    without a cache nothing is noted.
    """

    generation: Generation
    is_fixed: bool = False
    cache: Path | None = None
    name: str = ""

    def without_notes(self) -> ExpectedGeneration:
        """Return the same for another server of several: the generation of the first one is noted."""
        return replace(self, is_fixed=True)

    def accepts(self, major: int | None) -> bool:
        """Whether requests of this generation may be sent to an OpenCode of a major version, None if unknown."""
        return major in (self.generation.number, None)

    def note(self, major: int | None) -> None:
        """Note which generation was seen, for the next start."""
        if self.cache is not None and not self.is_fixed and major is not None and major in GENERATIONS:
            note_seen_generation(self.cache, self.name, major)

    def describe_mismatch(self, subject: str, version: str | None, major: int | None) -> str:
        """Return the error about an OpenCode of another generation, with what to do."""
        expected = self.generation
        return (
            f"{subject} is OpenCode {version or major}, {expected.mismatch}, and the tools here are those of OpenCode "
            f"{expected.number}. Nothing was sent. To do: {self.advise(major)}."
        )

    def advise(self, major: int | None) -> str:
        """Return what to do about an OpenCode of another major version."""
        return ", or ".join([*self._advise(major), self.generation.alternative])

    def _advise(self, major: int | None) -> Iterator[str]:
        """Yield what to do to use an OpenCode of a major version."""
        if major not in GENERATIONS:
            return
        if self.is_fixed or self.cache is None:
            yield f"set --generation {major} (in Python: generation={major})"
        else:
            yield (
                f"restart this MCP server (in a client: reconnect it), as it then has the tools of OpenCode {major}; "
                f"--generation {major} makes that permanent"
            )


def version_major(version: str) -> int:
    """Return the major version: the number of the generation."""
    return parse_release(version)[0]


def read_seen_generation(cache: Path, name: str) -> int | None:
    """Return the generation that was noted last under a name; None if there is none."""
    number = read_seen(cache / SEEN_FILE).get(name)
    return number if number in GENERATIONS else None


def note_seen_generation(cache: Path, name: str, number: int) -> None:
    """Note a generation under a name, unless it is expected anyway.

    An error is logged: the next start then has the tools that this one has.
    """
    file = cache / SEEN_FILE
    seen = read_seen(file)
    if seen.get(name, DEFAULT_GENERATION) == number:
        return
    kept = [*((other, seen[other]) for other in seen if other != name), (name, number)][-MAX_SEEN:]
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=cache, prefix="generations-", delete=False, encoding="utf-8"
        ) as temporary:
            json.dump(dict(kept), temporary)
        os.replace(temporary.name, file)
    except OSError as error:
        log.warning("cannot note in %s that OpenCode %s was seen: %s", file, number, error)


def read_seen(file: Path) -> Mapping[str, int]:
    """Return the noted generations by name, {} if they cannot be read."""
    try:
        value: Any = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    entries = cast("dict[str, Any]", value if isinstance(value, dict) else {})
    return {name: number for name, number in entries.items() if isinstance(number, int)}
