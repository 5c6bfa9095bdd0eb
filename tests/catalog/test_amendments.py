"""Each amendment is about operations that exist, has its evidence, and changes something."""

from __future__ import annotations

import pytest

from opencode_mcp.catalog import Operation, catalog
from opencode_mcp.catalog.amendments import AMENDMENTS, Amendment, amendments_for
from opencode_mcp.openapi.snapshots import load_snapshot

SNAPSHOT = load_snapshot()
DOCUMENTED = {source.operation_id: (method, path, source) for method, path, source in SNAPSHOT.operations()}


def build_from_snapshot(operation_id: str) -> Operation:
    """Build an operation with the amendments that `catalog` sees."""
    return catalog.build_operation(*DOCUMENTED[operation_id], SNAPSHOT.components.schemas)


def label(amendment: Amendment) -> str:
    """Name an amendment by its operations."""
    return ",".join(amendment.operations)


def test_every_amended_operation_exists() -> None:
    """An amendment of an operation that is gone would go unnoticed."""
    amended = {operation_id for amendment in AMENDMENTS for operation_id in amendment.operations}

    assert amended - DOCUMENTED.keys() == set()


@pytest.mark.parametrize("amendment", AMENDMENTS, ids=label)
def test_every_amendment_has_its_evidence(amendment: Amendment) -> None:
    """Who doubts an amendment can see what was measured."""
    assert amendment.operations
    assert amendment.evidence.strip()


@pytest.mark.parametrize("amendment", AMENDMENTS, ids=label)
def test_every_amendment_changes_each_of_its_operations(amendment: Amendment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out, each operation that it names would come out otherwise."""
    amended = [build_from_snapshot(operation_id) for operation_id in amendment.operations]
    others = {each: tuple(a for a in amendments_for(each) if a is not amendment) for each in amendment.operations}
    monkeypatch.setattr(catalog, "amendments_for", others.__getitem__)

    assert [operation.id for operation in amended if operation == build_from_snapshot(operation.id)] == []


@pytest.mark.parametrize("amendment", AMENDMENTS, ids=label)
def test_every_dropped_parameter_is_in_the_document(amendment: Amendment) -> None:
    """A parameter that an amendment drops is one that the document has."""
    for operation_id in amendment.operations:
        _, _, source = DOCUMENTED[operation_id]
        assert set(amendment.dropped_parameters) <= {parameter.name for parameter in source.parameters}, operation_id
