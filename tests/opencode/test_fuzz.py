"""Random arguments: what is sent is valid and on its own route, all else is an error of this package.

How many are drawn is the hypothesis profile's: `dev`, `ci`, or for hours `--hypothesis-profile long`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opencode_mcp.catalog import Catalog, Operation
from opencode_mcp.exceptions import InvalidArguments, OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from tests.execute import prepare_and_execute
from tests.tools.schemas import ANYTHING, schema_values

from .conftest import FAKE_ENDPOINT, Wire

pytestmark = pytest.mark.anyio

VALUES_PER_EXAMPLE = 20
PATH_VALUES = 250 * settings().max_examples
"""10,000 with the profile `ci`."""

CATALOG = Catalog.from_snapshot()
WITH_PATHS = [operation.name for operation in CATALOG.values() if "{" in operation.path]
REQUESTS = [
    operation for operation in CATALOG.values() if operation.execution_mode == "request" and not operation.checks
]

PIECES = (
    *("..", ".", "/", "\\", "%2e", "%2E%2e", "%2f", "%5c", "%252e", "%25", "%00", "\x00", "\r\n", "\t", " ", ""),
    *("?", "#", "@", ":", "://evil.test/", "//evil.test", ";", "&", "=", "*", "~", "a", "ses_1", "session"),
    *("\u202e", "\ufeff", "é", "\N{FULLWIDTH FULL STOP}", "\N{FULLWIDTH SOLIDUS}", "\N{FIRE}", "\ud800", "x" * 9000),
)
PATH_TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=6).map("".join)


def decoding_stages(text: str) -> Iterator[str]:
    """Yield a text and what it becomes when it is decoded, until nothing changes any more."""
    while True:
        yield text
        if (decoded := unquote(text)) == text:
            return
        text = decoded


def route_escape(operation: Operation, request: httpx2.Request) -> str:
    """Say how a request leaves its operation's route or OpenCode's origin, or nothing."""
    if (request.url.scheme, request.url.host, request.url.port) != ("http", "opencode.test", 4096):
        return "another origin"
    if request.method != operation.method or b"#" in request.url.raw_path:
        return "another method, or a fragment"
    path = request.url.raw_path.partition(b"?")[0].decode("ascii")
    segment_pattern = "(.+)" if any(parameter.allow_reserved for parameter in operation.parameters) else "([^/]+)"
    match = re.fullmatch(re.sub(r"\\\{\w+\\\}", lambda _: segment_pattern, re.escape(operation.path)), path)
    if match is None:
        return "another route"
    for segment in match.groups():
        for stage in decoding_stages(segment):
            parts = re.split(r"[/\\]", stage)
            if not stage or {".", ".."} & set(parts) or "\\" in stage or re.search(r"[\x00-\x1f\x7f]", stage):
                return f"a segment that a server may take for something else: {segment!r}"
    return ""


async def test_path_values_do_not_change_the_route(opencode: OpenCodeClient) -> None:
    """Encodings, Unicode, NUL, control characters and very long values do not change where a request goes."""
    sent = refused = 0

    @settings(max_examples=PATH_VALUES // VALUES_PER_EXAMPLE)
    @given(name=st.sampled_from(WITH_PATHS), data=st.data())
    def check(name: str, data: st.DataObject) -> None:
        nonlocal sent, refused
        operation = CATALOG[name]
        required = data.draw(values_outside_path(name))
        names = [one for one in operation.parameters if one.location == "path"]
        prefixes = {one.name: str(one.value_schema.get("pattern", "")).removeprefix("^") for one in names}
        for text in data.draw(st.lists(PATH_TEXTS, min_size=VALUES_PER_EXAMPLE, max_size=VALUES_PER_EXAMPLE)):
            arguments = required | {one: prefix + text for one, prefix in prefixes.items()}
            try:
                request = opencode.build_request(operation, opencode.prepare(operation, arguments).parts, FAKE_ENDPOINT)
            except InvalidArguments:
                refused += 1
            else:
                sent += 1
                assert route_escape(operation, request) == ""

    check()
    assert sent + refused >= PATH_VALUES
    assert sent > PATH_VALUES / 20, "hardly any value was sent, so hardly any was checked"
    assert refused > PATH_VALUES / 20


@cache
def values_outside_path(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """The required arguments of an operation that stand in no path."""
    operation = CATALOG[name]
    fields, definitions = operation.input_schema["properties"], operation.input_schema.get("$defs", {})
    path = {parameter.name for parameter in operation.parameters if parameter.location == "path"}
    required = [one for one in operation.input_schema.get("required", ()) if one not in path]
    return st.fixed_dictionaries({one: schema_values(fields[one], definitions) for one in required})


def mutated_arguments(operation: Operation) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments that are nearly right: some are missing, wrong, or unknown."""
    schema = operation.input_schema
    fields: Mapping[str, Any] = schema["properties"]
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    right = {name: schema_values(one, definitions) for name, one in fields.items()}
    either = {name: st.one_of(one, one, one, ANYTHING, PATH_TEXTS) for name, one in right.items()}
    required: dict[str, st.SearchStrategy[Any]] = {name: either[name] for name in schema.get("required", ())}
    optional = {name: one for name, one in either.items() if name not in required}
    some: list[st.SearchStrategy[dict[str, Any]]] = [
        st.fixed_dictionaries(required, optional=optional),
        st.fixed_dictionaries({name: right[name] for name in required}),
        st.fixed_dictionaries({}, optional={**either, "unknown": ANYTHING}),
    ]
    return st.one_of(some)


@pytest.mark.parametrize("operation", REQUESTS, ids=lambda operation: operation.name)
async def test_invalid_arguments_of_every_operation_are_refused(
    operation: Operation, opencode: OpenCodeClient, wire: Wire
) -> None:
    """Nothing that the full schema refuses is sent, and only errors of this package are raised."""
    drawn: list[dict[str, Any]] = []

    @settings(
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(arguments=mutated_arguments(operation))
    def draw(arguments: dict[str, Any]) -> None:
        drawn.append(arguments)

    draw()
    for arguments in drawn:
        wire.requests.clear()
        try:
            await prepare_and_execute(opencode, operation, arguments)
        except OpenCodeError:
            assert not wire.requests
        else:
            assert operation.validator.is_valid(arguments)
            [request] = wire.requests
            assert route_escape(operation, request) == ""
