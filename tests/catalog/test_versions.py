"""Versions of OpenCode as programs print them, and the operations that came with them."""

from __future__ import annotations

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.opencode1.first_seen import FIRST_SEEN
from opencode_mcp.catalog.versions import find_version, is_older, parse_release


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("1.18.33\n", "1.18.33"),
        ("opencode v2.0.8\n", "2.0.8"),
        ("v2.1.2", "2.1.2"),
        ("2.0.0-beta.3\n", "2.0.0-beta.3"),
        ("ERROR 2026-11-28T18:45:44 +282ms service=models.dev error=Unable to connect.\n1.3.0\n", "1.3.0"),
        ("server listening on http://127.0.0.1:4096\nserver password hunter2\n", None),
        ("usage: opencode [--version]", None),
        ("listening on 127.0.0.1", None),
        ("", None),
    ],
)
def test_the_version_is_the_line_with_only_a_version(output: str, version: str | None) -> None:
    """As 1.18.33, 1.3.0 without a network, and OpenCode 2 print it."""
    assert find_version(output) == version


def test_versions_are_compared_by_their_numbers() -> None:
    """Not as texts; a pre-release counts as its release."""
    assert is_older("1.15.4", "1.15.13")
    assert not is_older("1.15.13", "1.15.13")
    assert not is_older("1.18.33", "1.15.13")
    assert not is_older("2.0.0-beta.1", "1.15.13")
    assert is_older("1.0", "1.1.11")
    assert parse_release("1.15.0-next.3") == (1, 15, 0)


def test_every_operation_in_the_version_table_is_known_and_unique(catalog: Catalog) -> None:
    """188 operations: 80 of 1.0.152, and the rest each with the version that it came with."""
    named = [operation for operations in FIRST_SEEN.values() for operation in operations]
    ids = {operation.id for operation in catalog.values()}

    assert len(named) == len({*named}) == 108
    assert {*named} <= ids
    introduced = catalog.generation.version_by_operation
    assert "find.text" not in introduced
    assert introduced["question.list"] == "1.1.11"
    assert introduced["v2.session.active"] == "1.17.19"
