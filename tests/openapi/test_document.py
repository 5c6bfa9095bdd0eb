"""The bundled document is the one that it says it is, and a poorer one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.exceptions import DocumentError
from opencode_mcp.openapi import SNAPSHOT_VERSION, Document
from opencode_mcp.openapi.snapshots import SNAPSHOTS, load_snapshot, read_snapshot, sha256
from opencode_mcp.opencode.process.download import OPENCODE, load_lockfile


def parse_document(*operation_ids: str, openapi: str = "3.1.0") -> Document:
    """Build a document that has these operations and nothing else."""
    paths: dict[str, Any] = {
        f"/{operation_id}": {"get": {"operationId": operation_id}} for operation_id in operation_ids
    }
    return Document.parse(json.dumps({"openapi": openapi, "paths": paths}))


@pytest.mark.parametrize("generation", SNAPSHOTS)
def test_a_snapshot_matches_the_recorded_hash(generation: int) -> None:
    """Nobody has edited a snapshot by hand: corrections belong in the amendments."""
    assert sha256(read_snapshot(generation)) == SNAPSHOTS[generation].sha256


@pytest.mark.parametrize(("generation", "version", "count"), [(1, "1.18.33", 188), (2, "2.1.2", 142)])
def test_a_snapshot_is_the_whole_api(generation: int, version: str, count: int) -> None:
    """Every operation of the version that it is from."""
    assert SNAPSHOTS[generation].version == version
    assert len(list(load_snapshot(generation).operations())) == count


@pytest.mark.parametrize("generation", SNAPSHOTS)
def test_the_licence_of_a_snapshot_is_in_the_package(generation: int) -> None:
    """Each bundled document is named in LICENSE, with what it comes from."""
    text = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")

    assert f"opencode_mcp/openapi/{SNAPSHOTS[generation].file}" in text


def test_the_managed_copy_has_the_snapshot_s_version() -> None:
    """What npm installs is what the tools were made from."""
    versions = {one.version for name, one in load_lockfile().items() if name.startswith("opencode-")}
    assert load_lockfile()[OPENCODE].version == SNAPSHOT_VERSION
    assert versions == {SNAPSHOT_VERSION}


def test_a_document_with_few_operations_is_refused_with_the_missing_counted() -> None:
    """OpenCode 1.14.41 serves a document with three operations; tools made from it would be nearly none."""
    poorer = parse_document("global.health", "global.event", "global.dispose")

    with pytest.raises(DocumentError, match=r"lacks 185 operations .*app\.agents"):
        poorer.require_share_of(load_snapshot(), 0.5)


def test_a_document_with_more_operations_is_accepted() -> None:
    """A newer OpenCode may have more operations than the snapshot."""
    parse_document("a", "b", "c").require_share_of(parse_document("a", "c"), 1.0)


@pytest.mark.parametrize("text", ["", "<html></html>", "[]", '{"openapi": "3.1.0"}', '{"paths": {}}'])
def test_an_invalid_openapi_document_is_refused(text: str) -> None:
    """A web page or any other JSON in place of the document is an error that says so."""
    with pytest.raises(DocumentError, match="not an OpenAPI document"):
        Document.parse(text)


def test_swagger_2_is_refused() -> None:
    """Only OpenAPI 3 is understood."""
    with pytest.raises(DocumentError, match=r"OpenAPI 2\.0 is not supported"):
        parse_document("a", openapi="2.0")
