"""A server in this process that holds requests to a bundled document, and answers as the document says.

The document is read as plain JSON, not through the code that is tested. A request that breaks the contract is noted in
`faults`, and refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, cast

import httpx2
import jsonschema_rs

from opencode_mcp.openapi.example import make_example
from opencode_mcp.openapi.snapshots import SNAPSHOTS, read_snapshot

Json = dict[str, Any]
JSON = "application/json"
SSE = "text/event-stream"
COMPONENTS = "#/components/schemas/"
NO_SCHEMA: Json = {}
TICKET_HEADER = "x-opencode-ticket"
WEB_PAGE = httpx2.Response(200, headers={"content-type": "text/html"}, text="<!doctype html>")


@dataclass(frozen=True)
class Route:
    """An operation of the document: `pattern` matches its path, with the path parameters as groups."""

    id: str
    method: str
    pattern: re.Pattern[str]
    operation: Json

    @property
    def parameters(self) -> list[Json]:
        """The parameters of the path and of the query."""
        return self.operation.get("parameters", [])


@dataclass(frozen=True)
class Contract:
    """A document: its version, the schemas of its components, and its operations."""

    version: str
    definitions: Json
    routes: tuple[Route, ...]
    validators: dict[int, jsonschema_rs.Draft202012Validator] = field(
        default_factory=dict[int, jsonschema_rs.Draft202012Validator]
    )

    def validator(self, schema: Json) -> jsonschema_rs.Draft202012Validator:
        """Return the validator of a schema of the document, compiled once: the document outlives it."""
        if id(schema) not in self.validators:
            self.validators[id(schema)] = jsonschema_rs.Draft202012Validator({**schema, "$defs": self.definitions})
        return self.validators[id(schema)]


@cache
def load_contract(generation: int) -> Contract:
    """Return a bundled document, parsed once."""
    document: Json = json.loads(read_snapshot(generation))
    routes = [
        Route(operation["operationId"], method.upper(), compile_path(path), with_definitions(operation))
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    # What is literal comes before what a parameter takes: /api/session/active is no session.
    routes.sort(key=lambda route: route.pattern.pattern.count("?P<"))
    definitions = with_definitions(document["components"]["schemas"])
    return Contract(document["info"]["version"], definitions, tuple(routes))


@dataclass
class ContractServer:
    """A server of one generation of OpenCode.

    `answers` replaces what it returns, by operationId; `requests` are the ids of the operations that were requested.
    """

    generation: int
    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    requests: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.contract = load_contract(self.generation)
        self.routes = list(self.contract.routes)

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request. A path that is neither that of the document nor in it returns the web page, as OpenCode's
        does."""
        found = self.find_route(request)
        if found is None:
            return self.answer_without_route(request)
        route, values = found
        faults = self.note_faults(route, values, request)
        if faults:
            return httpx2.Response(400, json={"_tag": "InvalidRequestError", "message": "; ".join(faults)})
        return self.answer(route)

    def answer_without_route(self, request: httpx2.Request) -> httpx2.Response:
        """Return the document, or the web page."""
        if request.url.path != SNAPSHOTS[self.generation].document_path:
            return WEB_PAGE
        return httpx2.Response(200, headers={"content-type": JSON}, content=read_snapshot(self.generation))

    def find_route(self, request: httpx2.Request) -> tuple[Route, Mapping[str, str]] | None:
        """Return the operation of a request and the parameters of its path as they were sent."""
        path = request.url.raw_path.partition(b"?")[0].decode()
        for route in self.routes:
            if route.method == request.method and (match := route.pattern.fullmatch(path)):
                return route, match.groupdict()
        return None

    def note_faults(self, route: Route, values: Mapping[str, str], request: httpx2.Request) -> list[str]:
        """Note a request and how it breaks the contract; return that."""
        self.requests.append(route.id)
        faults = [f"{route.id}: {fault}" for fault in self.iter_faults(route, values, request)]
        self.faults += faults
        return faults

    def iter_faults(self, route: Route, values: Mapping[str, str], request: httpx2.Request) -> Iterator[str]:
        """Yield how a request breaks the contract."""
        for parameter in route.parameters:
            if parameter["in"] == "path":
                yield from self.value_faults(
                    parameter["name"], unquoted(values[parameter["name"]]), parameter["schema"]
                )
        yield from self.query_faults(route, request)
        yield from self.body_faults(route, request)
        if "403" in route.operation["responses"] and request.headers.get(TICKET_HEADER) != "1":
            yield f"the header {TICKET_HEADER} is missing"

    def query_faults(self, route: Route, request: httpx2.Request) -> Iterator[str]:
        """Yield what is wrong with the query: unknown, missing or invalid parameters."""
        pairs = request.url.params.multi_items()
        parameters = [parameter for parameter in route.parameters if parameter["in"] == "query"]
        known: set[str] = set()
        for parameter in parameters:
            name, schema = parameter["name"], parameter["schema"]
            if parameter.get("style") == "deepObject":
                fields = {key: value for key, value in pairs if key.startswith(f"{name}[") and key.endswith("]")}
                known |= fields.keys()
                if fields:
                    value = {key[len(name) + 1 : -1]: value for key, value in fields.items()}
                    yield from self.schema_faults(name, value, schema)
                continue
            sent = [value for key, value in pairs if key == name]
            known.add(name)
            if parameter.get("required") and not sent:
                yield f"{name} is missing"
            for value in sent:
                yield from self.value_faults(name, value, schema)
        yield from (f"{key} is not a parameter" for key, _ in pairs if key not in known)

    def body_faults(self, route: Route, request: httpx2.Request) -> Iterator[str]:
        """Yield what is wrong with the body or its content type."""
        body: Json | None = route.operation.get("requestBody")
        content_type = request.headers.get("content-type")
        if body is None:
            if request.content or content_type is not None:
                yield "it takes no body"
            return
        if content_type not in body["content"]:
            yield f"the content type is {content_type}, not {', '.join(body['content'])}"
        elif content_type == "application/json":
            schema = body["content"][content_type]["schema"]
            yield from self.schema_faults("body", json.loads(request.content), schema)

    def value_faults(self, name: str, text: str, schema: Json) -> Iterator[str]:
        """Yield what is wrong with a value of the path or the query: it may be sent as text, and is no JSON."""
        candidates: list[Any] = [text]
        try:
            candidates.append(json.loads(text))
        except ValueError:
            pass
        found = [list(self.schema_faults(name, value, schema)) for value in candidates]
        if all(found):
            yield from found[0]

    def schema_faults(self, name: str, value: Any, schema: Json) -> Iterator[str]:
        """Yield how a value differs from a schema."""
        for error in self.contract.validator(schema).iter_errors(value):
            yield f"{name}: {error.message[:200]}"

    def answer(self, route: Route) -> httpx2.Response:
        """Return a response that the document allows: the answer that is given for it, or an example."""
        responses: Json = route.operation["responses"]
        if "200" not in responses:
            return httpx2.Response(204)
        [(content_type, media)] = responses["200"]["content"].items()
        schema: Json = media.get("schema", NO_SCHEMA)
        if content_type == "application/octet-stream":
            return httpx2.Response(200, headers={"content-type": "text/plain"}, content=b"content")
        value = self.answers.get(route.id, self.example_answer(route.id, schema))
        if content_type == SSE:
            return httpx2.Response(
                200, headers={"content-type": SSE}, content=f"data: {json.dumps(value)}\n\n".encode()
            )
        self.contract.validator(schema).validate(value)
        return httpx2.Response(200, json=value)

    def example_answer(self, operation_id: str, schema: Json) -> Any:
        """Return an example of an answer; of /api/info the version, as OpenCode reports it."""
        if operation_id == "server.info":
            return {"version": self.contract.version, "pid": 1, "urls": [], "paths": {"tmp": "/tmp"}}
        return make_example({**schema, "$defs": self.contract.definitions})


def compile_path(path: str) -> re.Pattern[str]:
    """Return the pattern of a path; a parameter is one segment, and a star at the end any text."""
    parts = re.split(r"(\{\w+\}|\*$)", path)
    patterns = [
        f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else ".+" if part == "*" else re.escape(part)
        for part in parts
    ]
    return re.compile("".join(patterns))


def with_definitions(value: Any) -> Any:
    """Return a part of a document whose references are to `$defs`."""
    if isinstance(value, dict):
        return {key: with_definitions(inner) for key, inner in cast("Json", value).items()}
    if isinstance(value, list):
        return [with_definitions(inner) for inner in cast("list[Any]", value)]
    return value.replace(COMPONENTS, "#/$defs/") if isinstance(value, str) else value


def unquoted(text: str) -> str:
    """Return a path parameter's value."""
    return httpx2.URL(f"http://server/{text}").path.removeprefix("/")


@contextmanager
def serve_contract(server: ContractServer) -> Generator[str]:
    """Serve a contract server over HTTP; return its address."""

    class Handler(BaseHTTPRequestHandler):
        def handle_request(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", "0")))
            url = f"http://{self.headers['host']}{self.path}"
            answer = server.handle(
                httpx2.Request(self.command, url, headers=dict(self.headers.items()), content=content or None)
            )
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers.get("content-type", ""))
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http_server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http_server.server_port}"
    finally:
        http_server.shutdown()
        thread.join()
        http_server.server_close()
