"""Resources, completions, prompts and subscriptions of a bridge to an OpenCode 2."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import mcp_types as types
import pytest
from mcp import Client, MCPError

from examples.scripted_model import ScriptedModel
from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.server.conftest import read, read_json
from tests.server.test_completions import complete
from tests.server.test_subscriptions import UpdateRecorder, subscribe_while

from .client import FakeClient, open_client
from .fake import PASSWORD

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def open_bridge(client: FakeClient, recorder: UpdateRecorder | None = None) -> AsyncGenerator[Client]:
    """Open an MCP client of a bridge to a fake, which has answered already."""
    settings = Settings(url=client.fake.url, password=PASSWORD, directory=str(client.directory), generation="2")
    handler = recorder.record if recorder is not None else None
    async with Client(create_server(settings, Catalog.from_snapshot(2)), message_handler=handler) as bridge:
        await bridge.call_tool("server_info", {})
        yield bridge
    assert (client.fake.contract.faults, client.fake.answer_faults, client.fake.not_played) == ([], [], [])


async def test_a_session_and_its_views_are_read(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """As those of OpenCode 1, but for the to-do list, which OpenCode 2 does not have."""
    async with open_client(model, tmp_path) as client, open_bridge(client) as bridge:
        session_id = await client.run("script:write", title="views")
        uri = f"opencode://session/{session_id}"
        shown = await read_json(bridge, uri)
        [listed] = await read_json(bridge, "opencode://sessions")
        transcript = await read(bridge, f"{uri}/transcript")
        diff = await read(bridge, f"{uri}/diff")
        templates = (await bridge.list_resource_templates()).resource_templates
        with pytest.raises(MCPError, match=r"OpenCode 2 does not have this \(To-do list of a session\)"):
            await read(bridge, f"{uri}/todo")
        with pytest.raises(MCPError, match=r"OpenCode 2 does not have this"):
            async with subscribe_while(bridge, f"{uri}/todo"):
                pass
        resources = (await bridge.list_resources()).resources
    assert (shown["state"], shown["session"]["title"], shown["pending"]) == ("completed", "views", [])
    assert (listed["id"], listed["title"], listed["status"]) == (session_id, "views", "idle")
    assert "> write scripted.txt: completed" in transcript
    assert "+written by the scripted model" in diff
    assert f"{uri}" in {resource.uri for resource in resources}
    assert "opencode://session/{id}/todo" not in {template.uri_template for template in templates}
    assert "opencode://session/{id}/diff" in {template.uri_template for template in templates}


async def test_what_a_project_has_is_read(model: ScriptedModel, tmp_path: Path) -> None:
    """Agents, models, configuration and files; a key of the configuration is not shown."""
    async with open_client(model, tmp_path) as client, open_bridge(client) as bridge:
        agents = await read_json(bridge, "opencode://agents")
        [scripted] = await read_json(bridge, "opencode://models")
        config = await read(bridge, "opencode://config")
        file = await read(bridge, "opencode://file/README.md")
        with pytest.raises(MCPError, match=r"There is no file 'none\.md'"):
            await read(bridge, "opencode://file/none.md")
    assert {"build", "plan"} <= {agent["name"] for agent in agents}
    assert (scripted["model"], scripted["default"]) == ("scripted/scripted", True)
    assert scripted["limit"]["context"] and scripted["cost"].keys() >= {"input", "output"}
    assert "baseURL" in config and "no-key" not in config
    assert file == "hello from the project\n"


async def test_arguments_are_completed(model: ScriptedModel, tmp_path: Path) -> None:
    """By the same searches as of OpenCode 1."""
    prompt = types.PromptReference(name="delegate_task")
    file = types.ResourceTemplateReference(uri="opencode://file/{+path}")
    session = types.ResourceTemplateReference(uri="opencode://session/{id}")
    async with open_client(model, tmp_path) as client, open_bridge(client) as bridge:
        session_id = await client.create(title="Paint it red")
        assert (await complete(bridge, prompt, "agent", "buil")).values == ["build"]
        assert (await complete(bridge, prompt, "model", "script")).values == ["scripted/scripted"]
        assert (await complete(bridge, file, "path", "rdm")).values == ["README.md"]
        assert (await complete(bridge, session, "id", "RED")).values == [session_id]


async def test_prompts_name_the_tools_of_opencode_2(model: ScriptedModel, tmp_path: Path) -> None:
    """Its commands are no prompts: it does not say what they send to the model."""
    async with open_client(model, tmp_path) as client, open_bridge(client) as bridge:
        listed = (await bridge.list_prompts()).prompts
        review = await bridge.get_prompt("review_changes", {"session_id": "ses_1"})
        tools = {tool.name for tool in (await bridge.list_tools()).tools}
    assert {prompt.name for prompt in listed} == {"delegate_task", "review_changes", "hand_over_session"}
    content = review.messages[0].content
    assert isinstance(content, types.TextContent)
    assert "with fs_read and fs_find." in content.text and {"fs_read", "fs_find"} <= tools


async def test_a_session_that_works_is_updated(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """Its transcript and the list too, again with its next turn."""
    recorder = UpdateRecorder()
    async with open_client(model, tmp_path) as client, open_bridge(client, recorder) as bridge:
        session_id = await client.create()
        uri = f"opencode://session/{session_id}"
        followed = (uri, f"{uri}/transcript", "opencode://sessions")
        async with subscribe_while(bridge, *followed):
            await client.prompt(session_id, "script:bash")
            for one in followed:
                await recorder.wait_for_update(one)
            await client.wait(session_id)
            assert (await read_json(bridge, uri))["state"] == "completed"
            count = recorder.uris.count(uri)
            await client.run("script:text another session")
            await client.prompt(session_id, "script:text again")
            await recorder.wait_for_update(uri, count)
