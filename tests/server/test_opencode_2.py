"""A server of the tools of OpenCode 2, through an MCP client: the list, the gateway, what settings forbid, secrets."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode.engine import TRAITS
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tasks import TASK_TOOLS, task_tools_for
from opencode_mcp.tools.gateway import GATEWAY_TOOLS
from tests.contract_server import ContractServer, serve_contract

pytestmark = pytest.mark.anyio

KEY = "sk-proj-Zk3vQ81mTr9Lx0Ws5Yb2Nc7Ad4"
CREDENTIAL = {"id": "cred_1", "integrationID": "openai", "label": "work", "active": True}
ANSWERS: dict[str, Any] = {
    "credential.list": {"data": [{**CREDENTIAL, "value": {"type": "key", "key": KEY}}]},
    "provider.list": {
        "location": {"directory": "/project"},
        "data": [
            {"id": "openai", "name": "OpenAI", "activation": "enabled", "package": "p", "settings": {"apiKey": KEY}}
        ],
    },
}


TOKENS = {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}


@asynccontextmanager
async def connect(generation: int, server: ContractServer, **options: str) -> AsyncGenerator[Client]:
    """Provide a client of an MCP server of one generation, whose OpenCode is the contract server."""
    with serve_contract(server) as url:
        settings = Settings.load({"url": url, "generation": str(generation), **options}, {})
        async with Client(create_server(settings, Catalog.from_snapshot(generation))) as client:
            yield client


async def listed(client: Client) -> dict[str, types.Tool]:
    """Return the tools by name."""
    return {tool.name: tool for tool in (await client.list_tools()).tools}


async def test_all_operations_are_listed_beside_what_both_generations_have() -> None:
    """Task tools, the gateway, resources and prompts keep their names; OpenCode 2 has no to-do lists."""
    kept: list[Any] = []
    for generation in (1, 2):
        async with connect(generation, ContractServer(generation)) as client:
            tools = await listed(client)
            assert set(tools) == {*TASK_TOOLS, *GATEWAY_TOOLS, *Catalog.from_snapshot(generation)}
            resources = [str(resource.uri) for resource in (await client.list_resources()).resources]
            listed_always = [uri for uri in resources if not uri.startswith("opencode://session/")]
            templates = [
                template.uri_template for template in (await client.list_resource_templates()).resource_templates
            ]
            if generation == 1:
                templates.remove("opencode://session/{id}/todo")
            kept.append((listed_always, templates, [prompt.name for prompt in (await client.list_prompts()).prompts]))

    assert kept[0] == kept[1]


@pytest.mark.parametrize("replaced", TRAITS[2].words)
def test_what_the_task_tools_say_of_opencode_1_is_replaced(replaced: str) -> None:
    """A phrase that is worded anew would stay in the tools of OpenCode 2."""
    said = [json.dumps([{**tool.input_schema}], ensure_ascii=False) for tool in task_tools_for(generation=1).values()]
    says_now = [
        json.dumps([{**tool.input_schema}], ensure_ascii=False) for tool in task_tools_for(generation=2).values()
    ]
    written = json.dumps(replaced)[1:-1]
    assert any(written in text for text in said)
    assert not any(written in text for text in says_now)


async def test_the_gateway_finds_describes_and_calls_an_operation() -> None:
    """By its tool name or its operationId, with the caller of its class."""
    server = ContractServer(2)
    async with connect(2, server, toolsets="essential") as client:
        found = await client.call_tool("search_operations", {"query": "switch the model of a session"})
        described = await client.call_tool("describe_operation", {"operation": "session.switchModel"})
        call = {"sessionID": "ses_1", "model": {"id": "m", "providerID": "p"}}
        arguments = {"operation": "session_switch_model", "arguments": call}
        refused = await client.call_tool("read_operation", arguments)
        called = await client.call_tool("change_operation", arguments)

    assert "session_switch_model" in str(found.content)
    assert "change_operation" in str(described.content)
    assert refused.is_error and "change_operation" in str(refused.content)
    assert not called.is_error, called.content
    assert server.requests[-1] == "session.switchModel"
    assert server.faults == []


async def test_keys_are_redacted_in_every_result() -> None:
    """By the operation's own tool, and in a part that the gateway returns."""
    async with connect(2, ContractServer(2, answers=ANSWERS)) as client:
        for name in ("credential_list", "provider_list"):
            whole = await client.call_tool(name, {})
            part = await client.call_tool("read_operation", {"operation": name, "pointer": "/data/0"})
            for result in (whole, part):
                assert not result.is_error, result.content
                assert KEY not in result.model_dump_json()
            assert "openai" in whole.model_dump_json()


@pytest.mark.parametrize(("option", "hint"), [("read_only", "read_only_hint"), ("no_destructive", "destructive_hint")])
async def test_a_safety_setting_leaves_out_what_it_forbids(option: str, hint: str) -> None:
    """Also of the gateway: nothing is sent."""
    server = ContractServer(2)
    async with connect(2, server, **{option: "true"}) as client:
        tools = await listed(client)
        call = {"operation": "session_shell", "arguments": {"sessionID": "ses_1", "command": "rm -r ."}}
        refused = await client.call_tool("change_operation", call)

    assert {getattr(tool.annotations, hint) for tool in tools.values()} == {hint == "read_only_hint"}
    assert {"session_get", "agent_list"} <= tools.keys()
    assert not {"session_shell", "shell_create", "server_connect", "rpc_call"} & tools.keys()
    assert refused.is_error
    assert server.requests == []


async def test_the_allowlist_applies_to_every_way_to_name_a_directory(tmp_path: Path) -> None:
    """A location, a path, a session's directory by its id; and operations of all directories are refused."""
    session = {"id": "ses_1", "projectID": "p", "cost": 0, "tokens": TOKENS, "time": {"created": 1, "updated": 1}}
    outside = {"data": {**session, "location": {"directory": "/elsewhere"}}}
    project: dict[str, Any] = {
        "id": "p",
        "canonical": str(tmp_path),
        "time": {"created": 1, "updated": 1},
        "sandboxes": [],
    }
    server = ContractServer(2, answers={"session.get": outside, "project.list": [project]})
    calls: dict[str, dict[str, Any]] = {
        "agent_list": {"location": {"directory": "/elsewhere"}},
        "experimental_fs_write": {"path": "/elsewhere/x", "body": "eA=="},
        "fs_list": {"path": "../elsewhere"},
        "session_list": {"directory": "/elsewhere"},
        "session_move": {"sessionID": "ses_1", "directory": str(tmp_path)},
        "session_prompt": {"sessionID": "ses_1", "text": "x", "files": [{"uri": "file:///etc/passwd"}]},
        "worktree_create": {"projectID": "p", "from": "/elsewhere", "directory": str(tmp_path / "tree")},
        "session_active": {},
        "rpc_call": {"rpcID": "r", "method": "m"},
        "location_reload": {},
    }
    options = {"directory": str(tmp_path), "allow_directory": str(tmp_path)}
    async with connect(2, server, **options) as client:
        for name, arguments in calls.items():
            refused = await client.call_tool(name, arguments)
            assert refused.is_error and "--allow-directory" in str(refused.content), (name, refused.content)

    assert {*server.requests} <= {"server.info", "session.get", "project.list"}
