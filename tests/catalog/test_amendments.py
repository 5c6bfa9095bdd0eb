"""Each amendment is about operations that exist, has its evidence, and changes something."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.amendment import Amendment
from opencode_mcp.catalog.catalog import build_operation
from opencode_mcp.catalog.generation import Generation
from opencode_mcp.catalog.generations import GENERATIONS

DOCUMENTED = {
    number: {source.operation_id: (method, path, source) for method, path, source in known.load_document().operations()}
    for number, known in GENERATIONS.items()
}
AMENDMENTS = [(number, amendment) for number, known in GENERATIONS.items() for amendment in known.amendments]


def build_from_snapshot(operation_id: str, generation: Generation) -> Operation:
    """Build an operation with the amendments of a generation."""
    components = generation.load_document().components.schemas
    return build_operation(*DOCUMENTED[generation.number][operation_id], components, generation)


def label(value: int | Amendment) -> str:
    """Name an amendment by its operations."""
    return str(value) if isinstance(value, int) else ",".join(value.operations)


@pytest.mark.parametrize("number", GENERATIONS)
def test_every_amended_operation_exists(number: int) -> None:
    """An amendment of an operation that is gone would go unnoticed."""
    amended = {operation_id for amendment in GENERATIONS[number].amendments for operation_id in amendment.operations}

    assert amended - DOCUMENTED[number].keys() == set()


@pytest.mark.parametrize("amendment", [amendment for _, amendment in AMENDMENTS], ids=label)
def test_every_amendment_has_its_evidence(amendment: Amendment) -> None:
    """Who doubts an amendment can see what was measured."""
    assert amendment.operations
    assert amendment.evidence.strip()


@pytest.mark.parametrize(("number", "amendment"), AMENDMENTS, ids=label)
def test_every_amendment_changes_each_of_its_operations(number: int, amendment: Amendment) -> None:
    """Left out, each operation that it names would come out otherwise."""
    known = GENERATIONS[number]
    without = replace(known, amendments=tuple(one for one in known.amendments if one is not amendment))
    amended = [build_from_snapshot(operation_id, known) for operation_id in amendment.operations]

    assert [one.id for one in amended if one == build_from_snapshot(one.id, without)] == []


@pytest.mark.parametrize(("number", "amendment"), AMENDMENTS, ids=label)
def test_every_dropped_parameter_is_in_the_document(number: int, amendment: Amendment) -> None:
    """A parameter that an amendment drops is one that the document has."""
    for operation_id in amendment.operations:
        _, _, source = DOCUMENTED[number][operation_id]
        assert set(amendment.dropped_parameters) <= {parameter.name for parameter in source.parameters}, operation_id
