"""What is known of one generation of OpenCode does not apply to the other."""

from __future__ import annotations

import re

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.generations import DEFAULT_GENERATION, GENERATIONS
from opencode_mcp.catalog.opencode1 import OPENCODE_1
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools.gateway import GATEWAY_TOOLS

NO_TOOLS = {"next_cursor", "json_schema", "git_worktree"}
"""Names in descriptions with an underscore that are fields or values of responses."""


@pytest.mark.parametrize(
    ("name", "mode", "absent"),
    [
        ("session_prompt", "request", "Blocks until done"),
        ("session_command", "request", "Blocks until done"),
        ("session_shell", "request", "Blocks until done"),
        ("session_diff", "request", "Always empty"),
        ("session_list", "request", "worktrees"),
        ("event_subscribe", "events", "of one directory"),
    ],
)
def test_an_operation_of_both_generations_has_its_own_facts(name: str, mode: str, absent: str) -> None:
    """The facts of OpenCode 1 would be wrong: a prompt of OpenCode 2 does not block, and its diff is not empty."""
    first, second = (Catalog.from_snapshot(number)[name] for number in (1, 2))

    assert first.id == second.id
    assert absent in first.description
    assert absent not in second.description
    assert second.execution_mode == mode
    assert second.checks == ()


def test_a_wait_only_reads() -> None:
    """By its method alone it would be destructive."""
    assert Catalog.from_snapshot(2)["experimental_session_wait"].hints.read_only


def test_the_generations_are_numbered_and_one_is_the_default() -> None:
    """The number is that of the major version of the bundled document."""
    assert {number: int(known.snapshot.version.partition(".")[0]) for number, known in GENERATIONS.items()} == {
        1: 1,
        2: 2,
    }
    assert Catalog.from_snapshot().generation is GENERATIONS[DEFAULT_GENERATION] is OPENCODE_1


def test_every_tool_that_a_description_names_exists(every_catalog: Catalog) -> None:
    """In the same generation: what the other one has cannot be called."""
    tools = {*every_catalog, *TASK_TOOLS, *GATEWAY_TOOLS}
    unknown = [
        (operation.name, word)
        for operation in every_catalog.values()
        for text in (
            operation.description,
            operation.empty_note,
            *operation.advice.values(),
            *(schema.get("description", "") for schema in operation.input_schema["properties"].values()),
        )
        for word in re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b", text)
        if word not in tools | operation.argument_names | NO_TOOLS
    ]

    assert unknown == []
