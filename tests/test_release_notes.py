"""What a release says about itself is its section of the changelog."""

from __future__ import annotations

import pytest

from opencode_mcp import __version__
from scripts.release_notes import package_version, release_notes

CHANGELOG = """# Changelog

## [Unreleased]

## [1.1.0] - 2026-12-01

### Added

- A tool.

## [1.0.0] - 2026-11-01

- The first.

[1.0.0]: https://example.com
"""


@pytest.mark.parametrize(("version", "notes"), [("1.1.0", "### Added\n\n- A tool.\n"), ("1.0.0", "- The first.\n")])
def test_the_notes_of_a_release_are_its_section(version: str, notes: str) -> None:
    """Without the heading, the next version and the links at the end."""
    assert release_notes(f"v{version}", version, CHANGELOG) == notes


@pytest.mark.parametrize(
    ("tag", "version", "message"),
    [
        ("v1.0.1", "1.0.0", "the tag is v1.0.1, and the version of the package is 1.0.0"),
        ("v2.0.0", "2.0.0", "CHANGELOG.md has no dated section for 2.0.0"),
        ("v1.1", "1.1", "CHANGELOG.md has no dated section for 1.1"),
    ],
)
def test_a_release_without_notes_fails(tag: str, version: str, message: str) -> None:
    """Before anything is published."""
    with pytest.raises(ValueError, match=message):
        release_notes(tag, version, CHANGELOG)


def test_the_version_is_that_of_the_source() -> None:
    """The workflow reads it before anything is installed."""
    assert package_version() == __version__
