"""Every operation of OpenCode 2, called through the catalog on a server that holds each request to the document."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from opencode_mcp.catalog import Catalog, Operation
from opencode_mcp.catalog.sensitive import answer_position
from opencode_mcp.exceptions import InvalidArguments, UnexpectedResponse, UnsupportedServer
from opencode_mcp.openapi.example import make_example
from opencode_mcp.openapi.navigation import resolve
from opencode_mcp.opencode import Answer, AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.operations import build_tree
from opencode_mcp.operations2 import Operations
from opencode_mcp.redaction import Redactor
from opencode_mcp.tools.results import Limit, operation_result

from .contract_server import ContractServer
from .execute import prepare_and_execute

pytestmark = pytest.mark.anyio

Schema = dict[str, Any]
CATALOG = Catalog.from_snapshot(2)
DIRECTORY = "/project with spaces/%41"
MAX_DEPTH = 4
KEY = "sk-proj-Zk3vQ81mTr9Lx0Ws5Yb2Nc7Ad4"


@asynccontextmanager
async def connect(server: ContractServer, directory: str | None = DIRECTORY) -> AsyncGenerator[OpenCodeClient]:
    """Provide a client of the server."""
    attached = AttachedServer(Endpoint(httpx2.URL("http://opencode.test"), password="p"))
    transport = httpx2.MockTransport(server.handle)
    async with OpenCodeClient(attached, CATALOG, directory, transport=transport) as opencode:
        yield opencode


def iter_values(schema: Schema, definitions: Mapping[str, Schema], depth: int = 0) -> Iterator[Any]:
    """Yield a value for each alternative of a schema, with every field that it can have."""
    node = resolve(schema, definitions)
    if branches := node.get("anyOf") or node.get("oneOf"):
        for branch in branches:
            yield from iter_values(branch, definitions, depth)
    elif node.get("type") == "object" and depth < MAX_DEPTH:
        fields: Mapping[str, Schema] = node.get("properties", {})
        yield {name: next(iter_values(inner, definitions, depth + 1)) for name, inner in fields.items()}
    elif node.get("type") == "array" and depth < MAX_DEPTH:
        yield [*iter_values(node.get("items", {}), definitions, depth + 1)]
    elif "enum" in node:
        yield from node["enum"]
    else:
        yield make_example({**node, "$defs": definitions}) if "properties" in node else sample(node, definitions)


def sample(node: Schema, definitions: Mapping[str, Schema]) -> Any:
    """Return a value of a schema without alternatives."""
    wrapped = {"type": "object", "properties": {"value": node}, "required": ["value"], "$defs": definitions}
    return make_example(wrapped)["value"]


def iter_calls(operation: Operation) -> Iterator[dict[str, Any]]:
    """Yield arguments: the required ones alone, all that there are, and each alternative of each of them."""
    schema = operation.input_schema
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    least = make_example(schema)
    if operation.body is not None and operation.body.media_type == "application/octet-stream":
        least["body"] = base64.b64encode(b"\x00\xff").decode()
    yield least
    values = {name: [*iter_values(inner, definitions)] for name, inner in schema["properties"].items()}
    values |= {name: [value] for name, value in least.items()} if "body" in least else {}
    if "timeout_seconds" in values:
        values["timeout_seconds"] = [1]
    everything = {name: found[0] for name, found in values.items()}
    yield everything
    yield from ({**everything, name: value} for name, found in values.items() for value in found[1:])


@pytest.mark.parametrize("name", CATALOG)
async def test_every_request_fits_the_document(name: str) -> None:
    """Method, path, query, body and content type, of each way to call it; the answer is the operation's own."""
    server, operation = ContractServer(2), CATALOG[name]
    async with connect(server) as opencode:
        for arguments in iter_calls(operation):
            await prepare_and_execute(opencode, operation, arguments)

    assert server.faults == []
    assert {one for one in server.requests if one != "server.info"} <= {operation.id}
    assert server.requests.count(operation.id) > 1


def test_each_operation_is_a_tool_of_its_name() -> None:
    """142 operations, named as in the document, in snake case; a client can put a prefix before each."""
    assert len(CATALOG) == 142
    assert {name: operation.id for name, operation in CATALOG.items() if len(name) > 48} == {}
    assert CATALOG["experimental_session_wait"].id == "experimental.session.wait"
    assert CATALOG["session_switch_agent"].id == "session.switchAgent"
    assert CATALOG["experimental_fs_write"].id == "experimental.fs.write"


@pytest.mark.parametrize(
    ("name", "changed", "fault"),
    [
        ("agent_list", {"url": "http://opencode.test/api/agent?directory=/x"}, "directory is not a parameter"),
        ("vcs_diff", {"url": "http://opencode.test/api/vcs/diff"}, "mode is missing"),
        ("vcs_diff", {"url": "http://opencode.test/api/vcs/diff?mode=git"}, "mode: "),
        ("session_get", {"url": "http://opencode.test/api/session/abc"}, "sessionID: "),
        ("session_prompt", {"json": {"prompt": {"text": "x"}}}, "body: "),
        ("session_prompt", {"content": b"{}", "headers": {"content-type": "text/plain"}}, "the content type is"),
        ("pty_connect_token", {}, "the header x-opencode-ticket is missing"),
        ("session_background", {"json": {}}, "it takes no body"),
    ],
)
def test_the_contract_server_notes_what_does_not_fit(name: str, changed: dict[str, Any], fault: str) -> None:
    """A check that could not fail would prove nothing."""
    server, operation = ContractServer(2), CATALOG[name]
    url = f"http://opencode.test{operation.path}".replace("{sessionID}", "ses_1").replace("{ptyID}", "pty_1")
    options: dict[str, Any] = {"url": url, **changed}
    answer = server.handle(httpx2.Request(operation.method, options.pop("url"), **options))

    assert answer.status_code == 400
    assert fault in server.faults[0]


async def test_the_project_is_the_default_location() -> None:
    """Of a location, of a new session and of the list of sessions; a session has its own."""
    requests: list[httpx2.Request] = []
    server = ContractServer(2)

    def handle(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return server.handle(request)

    attached = AttachedServer(Endpoint(httpx2.URL("http://opencode.test"), version="2.1.2"))
    transport = httpx2.MockTransport(handle)
    async with OpenCodeClient(attached, CATALOG, DIRECTORY, transport=transport) as opencode:
        for name in ("agent_list", "session_create", "session_list", "project_list"):
            await prepare_and_execute(opencode, CATALOG[name], {})
        await prepare_and_execute(opencode, CATALOG["session_get"], {"sessionID": "ses_1"})

    assert server.faults == []
    assert [dict(request.url.params) for request in requests] == [
        {"location[directory]": DIRECTORY},
        {},
        {"directory": DIRECTORY},
        {},
        {},
    ]
    assert requests[1].content == b'{"location": {"directory": "/project with spaces/%41"}}'


async def test_a_file_is_sent_and_read_as_bytes() -> None:
    """A body that is not JSON, and a path of several segments."""
    requests: list[httpx2.Request] = []
    server = ContractServer(2)

    def handle(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return server.handle(request)

    attached = AttachedServer(Endpoint(httpx2.URL("http://opencode.test"), version="2.1.2"))
    async with OpenCodeClient(attached, CATALOG, transport=httpx2.MockTransport(handle)) as opencode:
        write = {"path": "a b/c.bin", "body": base64.b64encode(b"\x00\xff").decode()}
        await prepare_and_execute(opencode, CATALOG["experimental_fs_write"], write)
        read = await prepare_and_execute(opencode, CATALOG["fs_read"], {"path": "a b/c.txt"})
        with pytest.raises(InvalidArguments, match="body: must be base64-encoded bytes"):
            await prepare_and_execute(opencode, CATALOG["experimental_fs_write"], {**write, "body": "no base64!"})

    assert requests[0].content == b"\x00\xff"
    assert requests[0].headers["content-type"] == "application/octet-stream"
    assert requests[1].url.raw_path == b"/api/fs/read/a%20b/c.txt"
    assert read.value == "content"


async def test_operations_are_called_by_attribute() -> None:
    """As the stub has them; a keyword of Python is called with an underscore."""
    requests: list[httpx2.Request] = []
    server = ContractServer(2)

    def handle(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return server.handle(request)

    attached = AttachedServer(Endpoint(httpx2.URL("http://opencode.test"), version="2.1.2"))
    async with OpenCodeClient(attached, CATALOG, transport=httpx2.MockTransport(handle)) as opencode:

        async def pages(name: str, **arguments: Any) -> AsyncGenerator[Any]:
            yield await opencode.call(name, **arguments)

        operations = Operations(opencode.call, pages, build_tree(CATALOG))
        active = await operations.session.active()
        await operations.session.diff(sessionID="ses_1", from_="msg_1")

    assert active == {"data": {}}
    assert dict(requests[-1].url.params) == {"from": "msg_1"}
    assert server.faults == []


async def test_an_mcp_server_is_named_beside_the_opencode_server() -> None:
    """The document's `server` is the argument `name`: `server` chooses one of several OpenCode servers."""
    operation = CATALOG["experimental_mcp_connect"].for_servers(["near", "far"])
    server = ContractServer(2)
    async with connect(server) as opencode:
        call = opencode.prepare(operation, {"name": "docs", "server": "far"})
        with pytest.raises(InvalidArguments, match="name: 20000 characters in the URL"):
            opencode.prepare(operation, {"name": "d" * 20_000})

    assert operation.input_schema["properties"]["server"]["enum"] == ["near", "far"]
    assert call.parts.path == "/api/experimental/mcp/docs/connect"


async def test_an_operation_that_the_server_lacks_is_named() -> None:
    """OpenCode 2 returns its web page, with status 200, for every path that it does not know."""
    server = ContractServer(2)
    server.routes = [route for route in server.routes if route.id != "websearch.query"]
    async with connect(server) as opencode:
        with pytest.raises(UnexpectedResponse, match="websearch_query: this OpenCode does not have the operation"):
            await prepare_and_execute(opencode, CATALOG["websearch_query"], {"query": "x"})


@pytest.mark.parametrize(("generation", "version"), [(1, "2.1.2"), (2, "1.18.33")])
async def test_a_server_of_the_other_generation_gets_no_request(generation: int, version: str) -> None:
    """Operations of the same id differ: nothing is sent, and the error says which OpenCode answered."""
    catalog = Catalog.from_snapshot(generation)
    attached = AttachedServer(Endpoint(httpx2.URL("http://opencode.test"), version=version))
    server = ContractServer(generation)
    transport = httpx2.MockTransport(server.handle)
    async with OpenCodeClient(attached, catalog, transport=transport) as opencode:
        with pytest.raises(UnsupportedServer, match=rf"is OpenCode {version}, whose API differs from {generation}\.x"):
            await prepare_and_execute(opencode, catalog["session_get"], {"sessionID": "ses_1"})

    assert server.requests == []


SECRET_ANSWERS: Mapping[str, Any] = {
    "credential.list": {
        "data": [
            {
                "id": "cred_1",
                "integrationID": "openai",
                "label": "work",
                "active": True,
                "value": {"type": "key", "key": KEY, "metadata": {"apiKey": KEY}},
            },
            {
                "id": "cred_2",
                "integrationID": "anthropic",
                "label": "home",
                "active": False,
                "value": {"type": "oauth", "methodID": "m", "refresh": KEY, "access": KEY, "expires": 1},
            },
        ]
    },
    "provider.list": {
        "location": {"directory": "/project"},
        "data": [
            {
                "id": "openai",
                "name": "OpenAI",
                "activation": "enabled",
                "package": "@ai-sdk/openai",
                "settings": {"apiKey": KEY, "timeout": 5},
                "headers": {"authorization": f"Bearer {KEY}", "x-api-key": KEY},
                "body": {"options": {"api_key": KEY}},
            }
        ],
    },
    "config.get": [
        {
            "type": "document",
            "path": "/home/me/.config/opencode/opencode.json",
            "info": {
                "providers": {"openai": {"settings": {"apiKey": KEY}}},
                "mcp": {
                    "servers": {
                        "docs": {"type": "remote", "url": "https://x", "headers": {"Authorization": f"Bearer {KEY}"}},
                        "db": {"type": "local", "command": ["db", "--token", KEY], "environment": {"DB_TOKEN": KEY}},
                    }
                },
            },
        }
    ],
    "server.connect": {"token": KEY},
    "shell.list": {
        "location": {"directory": "/project"},
        "data": [
            {
                "id": "sh_1",
                "status": "running",
                "command": f"curl -H 'Authorization: Bearer {KEY}' https://x",
                "cwd": "/project",
                "shell": "bash",
                "file": "/tmp/out",
                "metadata": {},
                "time": {"started": 1},
            }
        ],
    },
}
"""Answers that hold a key, each as the document allows it."""


@pytest.mark.parametrize("operation_id", SECRET_ANSWERS)
async def test_a_key_in_an_answer_is_redacted(operation_id: str) -> None:
    """Wherever it stands; what is no secret stays."""
    server = ContractServer(2, answers=SECRET_ANSWERS)
    operation = next(operation for operation in CATALOG.values() if operation.id == operation_id)
    async with connect(server) as opencode:
        answer: Answer = await prepare_and_execute(opencode, operation, make_example(operation.input_schema))
    result = operation_result(answer, Limit(40_000, ""), Redactor(), answer_position(operation))
    text = result.model_dump_json()

    assert KEY in str(answer.value)
    assert KEY not in text
    assert "redacted" in text.lower()
