"""The document of a running OpenCode 2: merged with the bundled one, and refused only for what this package needs."""

from __future__ import annotations

import ast
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.opencode2 import OPENCODE_2
from opencode_mcp.cli.document_option import load_catalog, parse_document
from opencode_mcp.exceptions import DocumentError
from opencode_mcp.openapi.snapshots import read_snapshot
from opencode_mcp.opencode.engine import opencode2
from opencode_mcp.settings import Settings
from tests.cli.fake_http_server import JSON, fake_http_server

Json = dict[str, Any]
INFO = json.dumps({"version": "2.3.0", "pid": 7, "urls": [], "paths": {"tmp": "/tmp"}}).encode()
OK: Json = {"responses": {"204": {"description": ""}}}


def changed_document(**changes: Json | None) -> bytes:
    """Return the bundled document with other path items, by path; None removes one."""
    document: Json = json.loads(read_snapshot(2))
    paths = document["paths"] | changes
    document["paths"] = {path: item for path, item in paths.items() if item is not None}
    return json.dumps(document).encode()


@contextmanager
def serve(document: bytes) -> Generator[str]:
    """Serve the version of an OpenCode 2 and a document; return the address."""
    with fake_http_server({"/api/info": (200, JSON, INFO), "/openapi.json": (200, JSON, document)}) as url:
        yield url


def load_live(url: str, folder: Path) -> Catalog:
    """Return the catalog of `--document live`."""
    return load_catalog(Settings.load({"url": url, "document": "live"}, {"XDG_CACHE_HOME": str(folder)}), generation=2)


def test_the_live_document_is_merged_by_operation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At its own path, of the version that /api/info has: new operations are added, missing ones are marked."""
    new = {"post": {"operationId": "session.pin", "summary": "Pin session", **OK}}
    data = changed_document(**{"/api/session/{sessionID}/pin": new, "/api/vcs/base": None})
    with serve(data) as url:
        catalog = load_live(url, tmp_path)

    assert set(catalog) == {*Catalog.from_snapshot(2), "session_pin"}
    assert catalog["session_pin"].input_schema["required"] == ["sessionID"]
    assert catalog["vcs_base"].description.endswith("Not in this server's document: the server may not have it.")
    assert catalog["session_list"] == Catalog.from_snapshot(2)["session_list"]
    printed = capsys.readouterr().err
    assert "1 operations of the bundled document are missing, and are marked: vcs.base" in printed
    assert "document: live, of OpenCode 2.3.0" in printed
    assert (tmp_path / "opencode-mcp" / "documents" / "2.3.0.json").read_bytes() == data


def test_what_is_not_needed_may_be_missing() -> None:
    """Half of the operations is enough, if what this package calls is among them."""
    document: Json = json.loads(read_snapshot(2))
    document["paths"] = {
        path: item
        for number, (path, item) in enumerate(document["paths"].items())
        if number % 5 == 0 or any(operation["operationId"] in OPENCODE_2.needed for operation in item.values())
    }

    parsed = parse_document(json.dumps(document).encode(), OPENCODE_2)

    assert len(list(parsed.operations())) < 71


SESSION_LIST: Json = json.loads(read_snapshot(2))["paths"]["/api/session"]
WITHOUT_DIRECTORY = {
    **SESSION_LIST["get"],
    "parameters": [each for each in SESSION_LIST["get"]["parameters"] if each["name"] != "directory"],
}
WITH_REQUIRED = {
    **SESSION_LIST["get"],
    "parameters": [
        *SESSION_LIST["get"]["parameters"],
        {"name": "tenant", "in": "query", "required": True, "schema": {"type": "string"}},
    ],
}


@pytest.mark.parametrize(
    ("path", "item", "lacks"),
    [
        ("/api/session/{sessionID}", None, "session.get"),
        ("/api/session", {**SESSION_LIST, "get": WITHOUT_DIRECTORY}, "`directory` of session.list"),
        ("/api/session", {**SESSION_LIST, "get": WITH_REQUIRED}, "a call of session.list without `tenant`"),
    ],
)
def test_a_document_that_lacks_what_is_needed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, item: Json | None, lacks: str
) -> None:
    """An operation, one of its arguments, or a call without another one; the bundled document is used instead."""
    data = changed_document(**{path: item})
    with pytest.raises(DocumentError, match=f"lacks what this server needs: {lacks}"):
        parse_document(data, OPENCODE_2)
    with serve(data) as url:
        catalog = load_live(url, tmp_path)

    assert set(catalog) == set(Catalog.from_snapshot(2))
    assert "document: bundled, of OpenCode 2.1.2 (live: it lacks what this server needs" in capsys.readouterr().err


def test_the_document_of_opencode_1_is_not_one_of_opencode_2() -> None:
    """It has other operations, some with the same ids."""
    with pytest.raises(DocumentError, match=r"lacks what this server needs: .*location\.get"):
        parse_document(read_snapshot(1), OPENCODE_2)


def test_the_bundled_document_has_what_is_needed() -> None:
    """Each entry of the table is an operation with these arguments."""
    by_id = {operation.id: operation.input_schema for operation in Catalog.from_snapshot(2).values()}

    assert {
        (operation_id, name)
        for operation_id, names in OPENCODE_2.needed.items()
        for name in names
        if name not in by_id[operation_id]["properties"]
    } == set()


def test_what_the_engine_calls_is_needed() -> None:
    """Each operation that its source names."""
    package = Path(opencode2.__file__).parent
    words = {
        node.value
        for file in package.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    called = {operation.id for name, operation in Catalog.from_snapshot(2).items() if name in words}
    assert len(called) > 30
    assert called - OPENCODE_2.needed.keys() == set()
