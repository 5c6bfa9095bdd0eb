"""Every answer that may hold secrets is decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.sensitive import answer_position, may_hold_secret
from opencode_mcp.redaction import Position


def test_every_operation_with_a_free_form_field_has_a_position(every_catalog: Catalog) -> None:
    """A new operation whose answer has one needs a decision."""
    decided = every_catalog.generation.position_by_operation
    undecided = [one.id for one in every_catalog.values() if may_hold_secret(one) and one.id not in decided]

    assert undecided == []


def test_every_position_names_one_known_operation_once(every_catalog: Catalog) -> None:
    """No name is wrong, none is there twice."""
    known = every_catalog.generation

    assert known.position_by_operation.keys() - {one.id for one in every_catalog.values()} == set()
    assert len(known.position_by_operation) == sum(map(len, known.positions.values()))


@pytest.mark.parametrize("name", ["file_read", "vcs_diff", "find_text", "session_todo", "v2_fs_read", "vcs_diff_raw"])
def test_files_and_diffs_are_content(catalog: Catalog, name: str) -> None:
    """Nothing in them is guessed."""
    assert answer_position(catalog[name]) is Position.CONTENT


@pytest.mark.parametrize("name", ["session_messages", "session_shell", "event_subscribe"])
def test_conversations_are_content(catalog: Catalog, name: str) -> None:
    """But for what describes a process, or a provider's answer."""
    assert answer_position(catalog[name]) in {Position.MESSAGES, Position.EVENTS}


def test_an_unknown_operation_has_the_default_position(catalog: Catalog) -> None:
    """That of a newer document is taken for a configuration if its answer may hold a secret, else for content."""
    assert answer_position(replace(catalog["config_get"], id="new.config")) is Position.CONFIG
    assert answer_position(replace(catalog["file_read"], id="new.read")) is Position.CONTENT
