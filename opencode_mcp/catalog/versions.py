"""OpenCode versions: their format and their order."""

from __future__ import annotations

import re
from functools import lru_cache

BEFORE_HEALTH = "1.0"
"""Stands for the unknown version of a server without /global/health, such as 1.0.152."""

VERSION_LINE = re.compile(r"(?:opencode2? )?v?(\d+\.\d+(?:\.\d+)?(?:[-+.][0-9A-Za-z.+-]*)?)", re.IGNORECASE)
"""1.18.33 prints `1.18.33`, OpenCode 2 prints `opencode v2.0.8`."""


def find_version(output: str) -> str | None:
    """Return the version in a program's output: its last line in that format, since log lines may precede it."""
    versions = [match[1] for line in output.splitlines() if (match := VERSION_LINE.fullmatch(line.strip()))]
    return versions[-1] if versions else None


@lru_cache
def parse_release(version: str) -> tuple[int, int, int]:
    """Return a version's numbers for comparison; an invalid version compares as the oldest."""
    numbers = [int(number) for number in re.findall(r"\d+", version.partition("-")[0])[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major, minor, patch


def is_older(version: str, other: str) -> bool:
    """Whether a version comes before another."""
    return parse_release(version) < parse_release(other)
