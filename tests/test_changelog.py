"""CHANGELOG.md keeps the grammar of Keep a Changelog, one sentence for each change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHANGELOG = (Path(__file__).parents[1] / "CHANGELOG.md").read_text()
RELEASE = re.compile(r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d")
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""The headings of a release, in their order."""

COLUMNS = 120


def parse_releases(markdown: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each release as (heading, [(kind, text below it), …])."""
    _, *parts = re.split(r"^## ", markdown, flags=re.MULTILINE)
    headings_and_texts: list[tuple[str, list[tuple[str, str]]]] = []
    for part in parts:
        heading, *sections = re.split(r"^### ", part, flags=re.MULTILINE)
        kinds = [section.partition("\n") for section in sections]
        headings_and_texts.append((heading.strip(), [(kind, text) for kind, _, text in kinds]))
    return headings_and_texts


def parse_entries(text: str) -> list[str]:
    """Return the entries of a section, each on one line."""
    return [" ".join(part.split()) for part in re.split(r"^- ", text, flags=re.MULTILINE) if part.strip()]


def is_sentence(entry: str) -> bool:
    """Whether an entry is one sentence: it begins like one, and its only full stop is its last character."""
    words = re.sub(r"`[^`]*`", "`code`", entry)
    return re.fullmatch(r"[A-Z0-9`~].*\.", words) is not None and re.search(r"[.!?;]\s", words) is None


def test_each_release_is_named_and_its_headings_are_in_order() -> None:
    found = parse_releases(CHANGELOG)

    assert found
    assert [heading for heading, _ in found if not RELEASE.fullmatch(heading)] == []
    for _, sections in found:
        kinds = [kind for kind, _ in sections]
        assert kinds == [kind for kind in KINDS if kind in kinds]


def test_each_entry_is_one_sentence() -> None:
    found = [
        entry for _, sections in parse_releases(CHANGELOG) for _, text in sections for entry in parse_entries(text)
    ]

    assert found
    assert [entry for entry in found if not is_sentence(entry)] == []


def test_below_a_heading_there_are_only_entries() -> None:
    """Each line begins an entry or continues one, and fits the page."""
    lines = [line for _, sections in parse_releases(CHANGELOG) for _, text in sections for line in text.splitlines()]

    assert [line for line in lines if not re.fullmatch(r"|- \S.*|  \S.*", line)] == []
    assert [line for line in CHANGELOG.splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize(
    "entry",
    ["`--flag` is new", "lower case.", "Two sentences. In one entry.", "Two halves; one entry.", ""],
    ids=["no full stop", "no capital", "two sentences", "semicolon", "empty"],
)
def test_the_check_refuses_what_is_not_one_sentence(entry: str) -> None:
    assert not is_sentence(entry)
