"""Documents of other servers: what is new is reachable, what is missing is marked, what is broken breaks nothing."""

from __future__ import annotations

import base64
import json
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.opencode1 import OPENCODE_1
from opencode_mcp.cli.document_option import load_catalog, merge_with_bundled, parse_document
from opencode_mcp.exceptions import DocumentError, InvalidArguments
from opencode_mcp.openapi import Document
from opencode_mcp.openapi.snapshots import SNAPSHOTS, load_snapshot, read_snapshot
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tools import operation_definition
from tests.execute import prepare_and_execute

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
OK: Json = {"responses": {"200": {"description": "", "content": {"application/json": {"schema": {}}}}}}


def newer_document(paths: Json, without: str = "", **components: Json) -> bytes:
    """Return the bundled document with more paths, without an operation's path, and with other components."""
    document: Json = json.loads(read_snapshot())
    document["paths"] = {path: item for path, item in document["paths"].items() if path != without} | paths
    document["components"] |= components
    return json.dumps(document).encode()


def make_catalog(data: bytes) -> Catalog:
    """Return the catalog that `--document` makes of a document."""
    return merge_with_bundled(parse_document(data, OPENCODE_1), OPENCODE_1)


async def send_operation(catalog: Catalog, name: str, **arguments: Any) -> httpx2.Request:
    """Carry out an operation on a server that is not there; return the one request."""
    requests: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=True)

    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test")))
    async with OpenCodeClient(server, catalog, transport=httpx2.MockTransport(handle)) as opencode:
        await prepare_and_execute(opencode, catalog[name], arguments)
    request = requests[-1]  # others may ask for the server's version before
    return request


def test_a_missing_operation_is_marked_and_new_ones_are_added(capsys: pytest.CaptureFixture[str]) -> None:
    """A newer OpenCode may drop an operation; all the others were lost with it."""
    catalog = make_catalog(
        newer_document({"/brand/new": {"get": {"operationId": "brand.new", **OK}}}, without="/find/symbol")
    )

    assert set(catalog) == {*Catalog.from_snapshot(), "brand_new"}
    assert catalog["find_symbols"].description.endswith("Not in this server's document: the server may not have it.")
    assert not [
        one.name for one in catalog.values() if "may not have it" in one.description and one.id != "find.symbols"
    ]
    assert "1 operations of the bundled document are missing, and are marked: find.symbols" in capsys.readouterr().err


def test_a_missing_operation_keeps_its_schemas() -> None:
    """A component of the newer document may have the same name and another meaning."""
    schemas = {"schemas": {"Session": {"type": "string"}}}
    catalog = make_catalog(newer_document({}, without="/config", **schemas))

    assert catalog["config_update"].input_schema == Catalog.from_snapshot()["config_update"].input_schema


def test_a_document_that_lacks_most_operations_is_refused() -> None:
    """OpenCode 1.14.41 lists three although it has a hundred: marking the others would be wrong."""
    document: Json = json.loads(read_snapshot())
    document["paths"] = dict(list(document["paths"].items())[:40])

    with pytest.raises(DocumentError, match=r"lacks \d+ operations of the bundled document"):
        parse_document(json.dumps(document).encode(), OPENCODE_1)


async def test_parameters_of_a_path_and_references_to_parameters_are_arguments() -> None:
    """They are what the operations of a path share; lost, the request cannot be built."""
    item = {
        "parameters": [
            {"name": "thingID", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "schema": {"type": "string"}},
            {"$ref": "#/components/parameters/Trace"},
        ],
        "get": {
            "operationId": "thing.get",
            "parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer"}}],
            **OK,
        },
    }
    trace = {"Trace": {"name": "X-Trace", "in": "header", "schema": {"type": "string"}}}
    catalog = make_catalog(newer_document({"/thing/{thingID}": item}, parameters=trace))

    properties = catalog["thing_get"].input_schema["properties"]
    assert {name: schema["type"] for name, schema in properties.items()} == {
        "thingID": "string",
        "limit": "integer",
        "X-Trace": "string",
    }
    request = await send_operation(catalog, "thing_get", thingID="a/b", limit=5, **{"X-Trace": "yes"})
    assert request.url.raw_path == b"/thing/a%2Fb?limit=5"
    assert request.headers["x-trace"] == "yes"
    with pytest.raises(InvalidArguments, match="X-Trace: must be printable ASCII"):
        await send_operation(catalog, "thing_get", thingID="a", **{"X-Trace": "a\r\nb: c"})


async def test_arguments_with_odd_or_equal_names_reach_their_own_parameters() -> None:
    """A client drops a tool with an odd key, and of two equal ones the last alone was sent."""
    parameters = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "id", "in": "query", "schema": {"type": "string"}},
        {"name": "filter[kind]", "in": "query", "schema": {"type": "string"}},
    ]
    catalog = make_catalog(
        newer_document({"/odd/{id}": {"get": {"operationId": "odd", "parameters": parameters, **OK}}})
    )

    assert list(catalog["odd"].input_schema["properties"]) == ["id", "query_id", "filter_kind"]
    request = await send_operation(catalog, "odd", id="p", query_id="q", filter_kind="k")
    assert request.url.path == "/odd/p"
    assert dict(request.url.params) == {"id": "q", "filter[kind]": "k"}


async def test_a_multipart_body_is_sent_as_such() -> None:
    """Bytes come as base64, as JSON has none."""
    schema = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "title": {"type": "string"},
            "pages": {"type": "array", "items": {"type": "integer"}},
        },
    }
    body = {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}}}
    catalog = make_catalog(newer_document({"/upload": {"post": {"operationId": "upload", **body, **OK}}}))
    content = b"\x00\xff\r\n--x"

    assert "Sent as multipart/form-data; pass bytes as base64." in catalog["upload"].description
    request = await send_operation(catalog, "upload", file=base64.b64encode(content).decode(), title="ü", pages=[1, 2])
    message = message_from_bytes(f"content-type: {request.headers['content-type']}\n\n".encode() + request.content)
    parts = [one for one in message.walk() if not one.is_multipart()]
    assert [(one.get_param("name", header="content-disposition"), one.get_payload(decode=True)) for one in parts] == [
        ("file", content),
        ("title", "ü".encode()),
        ("pages", b"1"),
        ("pages", b"2"),
    ]
    with pytest.raises(InvalidArguments, match="file: must be base64-encoded bytes"):
        await send_operation(catalog, "upload", file="no base64!")


@pytest.mark.parametrize(
    ("media_type", "value", "content"),
    [
        ("text/plain", "hello", b"hello"),
        ("application/octet-stream", "AP8=", b"\x00\xff"),
        ("application/merge-patch+json", {"a": None}, b'{"a": null}'),
        ("*/*", {"a": 1}, b'{"a": 1}'),
    ],
)
async def test_a_body_of_another_type_is_sent_with_its_type(media_type: str, value: Any, content: bytes) -> None:
    """Each was a KeyError that took the whole list with it."""
    body: Json = {"requestBody": {"content": {media_type: {"schema": {}}}}}
    catalog = make_catalog(newer_document({"/raw": {"put": {"operationId": "raw", **body, **OK}}}))

    request = await send_operation(catalog, "raw", body=value)

    assert request.content == content
    assert request.headers["content-type"] == ("application/json" if "*" in media_type else media_type)


async def test_a_form_body_is_form_encoded() -> None:
    """Fields of an object, as a web page sends them."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}}
    body = {"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": schema}}}}
    catalog = make_catalog(newer_document({"/form": {"post": {"operationId": "form", **body, **OK}}}))

    request = await send_operation(catalog, "form", a="x & y", n=3)

    assert parse_qs(request.content.decode()) == {"a": ["x & y"], "n": ["3"]}


def test_an_unresolvable_reference_drops_at_most_its_operation(capsys: pytest.CaptureFixture[str]) -> None:
    """A schema that says nothing accepts any value; an operation whose body is unknown is left out, and named."""
    paths = {
        "/loose": {
            "get": {
                "operationId": "loose",
                "parameters": [{"name": "a", "in": "query", "schema": {"$ref": "#/components/schemas/Gone"}}],
                "responses": {"200": {"$ref": "#/components/responses/Gone"}},
            }
        },
        "/lost": {"post": {"operationId": "lost", "requestBody": {"$ref": "other.json#/x"}, **OK}},
        "/turning": {"$ref": "#/paths/~1turning"},
        "/cookie": {"get": {"parameters": [{"name": "c", "in": "cookie", "required": True}], **OK}},
    }
    catalog = make_catalog(newer_document(paths))

    assert "lost" not in catalog
    loose = catalog["loose"]
    assert loose.validator.is_valid({"a": {"anything": 1}})
    assert operation_definition(loose, 40_000)["inputSchema"]["properties"].keys() == {"a"}
    said = capsys.readouterr().err
    assert "skipped: POST /lost: its request body is a broken reference" in said
    assert "skipped: /turning: not an object, or a broken reference" in said
    assert "skipped: GET /cookie: it requires the parameter 'c' in 'cookie'" in said


def test_an_operation_named_like_a_task_tool_gets_another_name() -> None:
    """The same for two operations whose ids come to one name: the second was lost."""
    paths = {
        "/run": {"post": {"operationId": "run.task", **OK}},
        "/one": {"get": {"operationId": "same.name", **OK}},
        "/two": {"get": {"operationId": "same_name", **OK}},
        "/none/{x}": {"get": OK},
    }
    catalog = make_catalog(newer_document(paths))

    assert catalog["api_run_task"].path == "/run"
    assert "run_task" not in catalog
    assert (catalog["same_name"].path, catalog["api_same_name"].path) == ("/one", "/two")
    assert catalog["get_none_x"].input_schema["required"] == ["x"]


def test_an_invalid_schema_drops_only_its_operation(capsys: pytest.CaptureFixture[str]) -> None:
    """Found out when the document is read, not by the first call, and not by tools/list."""
    bad = {"name": "a", "in": "query", "schema": {"type": "strin"}}
    worse: Json = {"name": "a", "in": "query", "schema": {"properties": 5, "anyOf": {}}}
    paths: Json = {
        "/bad": {"get": {"operationId": "bad", "parameters": [bad], **OK}},
        "/worse": {"get": {"operationId": "worse", "parameters": [worse], **OK}},
        "/typed": {"get": {"operationId": 5, **OK}},
    }
    catalog = make_catalog(newer_document(paths))

    assert set(catalog) == set(Catalog.from_snapshot())
    said = capsys.readouterr().err
    for where in ("GET /bad: ", "GET /worse: ", "GET /typed: operationId: "):
        assert f"skipped: {where}" in said


@pytest.mark.parametrize("generation", SNAPSHOTS)
def test_normalizing_leaves_a_bundled_document_unchanged(generation: int) -> None:
    """Nothing in it is left out, renamed or added."""
    left_out: list[str] = []

    assert Document.parse(read_snapshot(generation), left_out) == load_snapshot(generation)
    assert left_out == []


async def test_a_newer_document_s_tools_are_listed_beside_the_tasks(tmp_path: Path) -> None:
    """Through the protocol: the list is whole, and every name in it is there once."""
    file = tmp_path / "doc.json"
    file.write_bytes(newer_document({"/run": {"post": {"operationId": "run.task", **OK}}}, without="/find/symbol"))
    settings = Settings.load({"document": str(file), "url": "http://opencode.test"}, {})

    async with Client(create_server(settings, load_catalog(settings))) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]

    assert len(names) == len(set(names)) == 205
    assert {"run_task", "api_run_task", "find_symbols"} <= set(names)
