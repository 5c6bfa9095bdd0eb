"""`initialize` answered before the SDK is imported: the answer that the SDK gives as well, and only once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import ClientCapabilities, Implementation
from mcp_types.jsonrpc import jsonrpc_message_adapter
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.server.stdio.first_answer import VERSIONS, initialize_response, is_answer_known
from opencode_mcp.server.stdio.streams import PipeReader, PipeWriter
from opencode_mcp.server.stdio.transport import message_streams
from opencode_mcp.settings import Settings

LIMIT_SECONDS = 60
PARAMS: Mapping[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {"form": {}, "url": {}}},
    "clientInfo": {"name": "claude-code", "title": "Claude Code", "version": "2.1.332", "websiteUrl": "https://c.test"},
}
IMPORTED_BY_THE_SDK = ("anyio", "asyncio", "httpx2", "mcp", "mcp_types", "pydantic")


def request_line(params: Any = PARAMS, **fields: Any) -> bytes:
    """Return an `initialize` request; a field that is None is left out."""
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params, **fields}
    return json.dumps({name: value for name, value in request.items() if value is not None}).encode()


def nested(depth: int) -> Any:
    """Return objects within objects, which are refused by the SDK's parser from 200 on."""
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.anyio
@pytest.mark.parametrize("request_id", [0, "one"])
@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
async def test_the_sdk_gives_the_same_answer(
    catalog: Catalog, tmp_path: Path, version: str, request_id: int | str
) -> None:
    """To the byte, so a client cannot tell which of them has answered."""
    line = request_line({**PARAMS, "protocolVersion": version}, id=request_id)
    server = create_server(Settings(directory=str(tmp_path)), catalog)
    (stdin, requests), (answers, stdout) = os.pipe(), os.pipe()
    os.write(requests, line + b"\n")
    os.close(requests)
    with anyio.fail_after(LIMIT_SECONDS):
        async with message_streams(PipeReader(stdin), PipeWriter(stdout)) as (read, write):
            await server.run(read, write, server.create_initialization_options())
    by_sdk = os.read(answers, 65536)
    for descriptor in (stdin, answers, stdout):
        os.close(descriptor)

    response = initialize_response(line)

    assert json.dumps(response, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" == by_sdk


def test_every_version_with_a_handshake_is_answered() -> None:
    """A new version of the SDK may know more of them."""
    assert VERSIONS == {*HANDSHAKE_PROTOCOL_VERSIONS}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"jsonrpc":"2.0","id":NaN,"method":"initialize"}',
        request_line().decode().encode("utf-16"),
        request_line(id=True),
        request_line(id=1.5),
        request_line(id=[1]),
        request_line(id="\ud800"),
        request_line(jsonrpc="1.0"),
        request_line(jsonrpc=None),
        request_line(id=None),
        request_line(method="server/discover"),
        request_line(method="tools/list"),
        request_line(params=None),
        request_line(params=[]),
        request_line({}),
        request_line({**PARAMS, "protocolVersion": "2026-07-28"}),
        request_line({**PARAMS, "protocolVersion": "1.0"}),
        request_line({**PARAMS, "protocolVersion": 1}),
        request_line({**PARAMS, "_meta": {"progressToken": []}}),
        request_line({**PARAMS, "capabilities": None}),
        request_line({**PARAMS, "capabilities": {"roots": {"listChanged": "yes"}}}),
        request_line({**PARAMS, "capabilities": {"experimental": {"a": 1}}}),
        request_line({**PARAMS, "capabilities": {"tasks": {"list": 1}}}),
        request_line({**PARAMS, "capabilities": {"experimental": {"a": {"b": float("inf")}}}}),
        request_line({**PARAMS, "capabilities": {"experimental": {"a": nested(250)}}}),
        request_line({**PARAMS, "capabilities": {"extensions": {"a": {"b": [nested(250)]}}}}),
        request_line({**PARAMS, "clientInfo": {"name": "a"}}),
        request_line({**PARAMS, "clientInfo": {"name": "a", "version": None}}),
        request_line({**PARAMS, "clientInfo": {"name": "a", "version": "1", "icons": [1]}}),
        request_line(more=1),
    ],
)
def test_anything_else_waits_for_the_sdk(line: bytes) -> None:
    """What the SDK could refuse, or answer otherwise."""
    assert initialize_response(line) is None


OBJECTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(["roots", "sampling", "elicitation", "experimental", "extensions", "tasks", "listChanged"])
        | st.sampled_from(["form", "url", "context", "tools", "name", "version", "title", "websiteUrl", "icons"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)


@given(capabilities=OBJECTS, client=OBJECTS | st.fixed_dictionaries({"name": OBJECTS, "version": st.just("1")}))
def test_the_sdk_accepts_what_is_answered(capabilities: Any, client: Any) -> None:
    """Of an answered request no part is invalid."""
    line = request_line({**PARAMS, "capabilities": capabilities, "clientInfo": client})

    if initialize_response(line) is not None:
        jsonrpc_message_adapter.validate_json(line, by_name=False)
        ClientCapabilities.model_validate(capabilities, by_name=False)
        Implementation.model_validate(client, by_name=False)


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, True),
        ({"url": "http://127.0.0.1:4096"}, True),
        ({"directory": "/"}, True),
        ({"document": "live", "url": "http://127.0.0.1:4096"}, False),
        ({"log_file": "/tmp/log"}, False),
        ({"allow_directory": ("/",)}, False),
        ({"read_only": True}, False),
        ({"no_destructive": True}, False),
        ({"toolsets": ("tasks",)}, False),
        ({"tools": ("run_task",)}, False),
        ({"exclude_tools": ("run_task",)}, False),
        ({"models": ("a/*",)}, False),
        ({"max_cost": 1.0}, False),
        ({"on_event": ("true",)}, False),
    ],
)
def test_settings_that_may_refuse_the_start_are_checked_first(options: Mapping[str, Any], known: bool) -> None:
    """And so are those that decide about the instructions."""
    assert is_answer_known(Settings(**options)) is known


LOOK_AT_MODULES = """\
import os, sys
written = os.write
def look(descriptor, data):
    if descriptor == 1:
        os.write = written
        os.write(2, "\\n".join(sys.modules).encode())
    return written(descriptor, data)
os.write = look
from opencode_mcp.__main__ import main
sys.exit(main())
"""
"""The program, which writes to stderr what is imported when it first writes to stdout."""


def test_initialize_is_answered_before_the_sdk_is_imported_and_once(environ: Mapping[str, str], tmp_path: Path) -> None:
    """The next request is answered as ever, although both arrive in one piece."""
    lines = request_line() + b'\n{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
    listing = b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}\n'
    stdin, requests = os.pipe()
    os.write(requests, lines + listing)  # they are there at the start: the program waits for them for a moment only
    os.close(requests)
    done = subprocess.run(
        (sys.executable, "-c", LOOK_AT_MODULES),
        stdin=stdin,
        capture_output=True,
        env=dict(environ),
        cwd=tmp_path,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    os.close(stdin)
    answers = [json.loads(line) for line in done.stdout.splitlines()]

    assert {*IMPORTED_BY_THE_SDK} & {*done.stderr.decode().split("\n")} == set()
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[0] == initialize_response(request_line())
    assert answers[1]["result"]["tools"]


SHOW_MODULES = """\
import atexit, sys
from opencode_mcp.__main__ import main
atexit.register(lambda: print(*sys.modules, sep="\\n", file=sys.stderr))
sys.exit(main())
"""
"""The program, which writes to stderr at its end what it has imported."""


def test_what_a_server_does_not_run_is_not_imported(environ: Mapping[str, str], tmp_path: Path) -> None:
    """The client, the server framework and the cryptography of the SDK, and the command line's terminal."""
    call = {"name": "search_operations", "arguments": {"query": "list the sessions"}}
    requests = [
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
        {"id": 3, "method": "tools/call", "params": call},
        {"id": 4, "method": "prompts/list"},
        {"id": 5, "method": "resources/list"},
    ]
    lines = [request_line(), *(json.dumps({"jsonrpc": "2.0", **request}).encode() for request in requests)]
    done = subprocess.run(
        (sys.executable, "-c", SHOW_MODULES),
        input=b"\n".join(lines) + b"\n",
        capture_output=True,
        env={**environ, "OPENCODE_MCP_URL": "http://127.0.0.1:9"},
        cwd=tmp_path,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    imported = done.stderr.decode().split("\n")
    answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}

    assert not answers[3]["result"].get("isError")
    assert "mcp.server.lowlevel.server" in imported
    unused = ("mcp.client", "mcp.server.mcpserver", "cryptography", "rich")
    assert [name for name in imported if name.startswith(unused)] == []
