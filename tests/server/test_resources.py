"""Resources: listed, read from a real OpenCode, and missed with the right error."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError

from opencode_mcp import board
from opencode_mcp.catalog import Catalog
from opencode_mcp.redaction import MARKER
from opencode_mcp.server.resources.readers import Content
from opencode_mcp.settings import Settings
from opencode_mcp.skills import read_skills
from tests.conftest import Connect
from tests.eventually import eventually

from .conftest import call, new_session, prompt, read, read_json

pytestmark = pytest.mark.anyio

FIXED = [
    *(f"opencode://{name}" for name in ("sessions", "agents", "models", "config", "operations")),
    *(skill.uri for skill in read_skills()),
    board.URI,
]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@pytest.mark.unchanged_project
async def test_capabilities_match_what_the_server_serves(client: Client) -> None:
    """Both eras announce what is sent, and nothing that is not."""
    capabilities = client.server_capabilities

    assert capabilities.resources == types.ResourcesCapability(subscribe=True, list_changed=False)
    assert capabilities.prompts == types.PromptsCapability(list_changed=True)
    assert capabilities.tools == types.ToolsCapability(list_changed=False)
    assert capabilities.completions is not None


async def test_the_list_has_fixed_resources_and_the_newest_sessions(client: Client) -> None:
    """Sessions are listed by their titles, the newest first, and no more than twenty of them."""
    ids = [await new_session(client, title=f"number {number}") for number in range(22)]

    async def with_sessions() -> list[types.Resource]:
        resources = (await client.list_resources()).resources
        return resources if len(resources) > len(FIXED) else []

    listed = await eventually(with_sessions)

    assert [one.uri for one in listed[: len(FIXED)]] == FIXED
    assert {one.uri for one in listed[len(FIXED) :]} == {f"opencode://session/{id}" for id in ids[2:]}
    newest = next(one for one in listed if one.name == ids[-1])
    assert (newest.title, newest.mime_type) == ("number 21", "application/json")
    assert newest.annotations is not None
    assert newest.annotations.last_modified is not None


@pytest.mark.unchanged_project
async def test_the_template_list_is_complete(client: Client) -> None:
    """Every resource with a variable is a template."""
    listed = await client.list_resource_templates()

    assert [one.uri_template for one in listed.resource_templates] == [
        "opencode://session/{id}",
        "opencode://session/{id}/transcript",
        "opencode://session/{id}/diff",
        "opencode://session/{id}/todo",
        "opencode://file/{+path}",
        "opencode://operation/{name}",
        "opencode://operation/{name}/{+pointer}",
    ]
    assert all(one.title and one.description for one in listed.resource_templates)


@pytest.mark.snapshots
async def test_a_session_and_its_views_can_be_read(client: Client) -> None:
    """A session that has written a file and a to-do list says so in each of its views."""
    id = await new_session(client, title="views")
    fresh = await read_json(client, f"opencode://session/{id}")
    await prompt(client, id, "script:write")
    await prompt(client, id, "script:todowrite")
    worked = await read_json(client, f"opencode://session/{id}")
    (listed,) = await read_json(client, "opencode://sessions")
    transcript = await read(client, f"opencode://session/{id}/transcript")
    diff = await read(client, f"opencode://session/{id}/diff")
    todo = await read_json(client, f"opencode://session/{id}/todo")

    assert (fresh["state"], fresh["error"], fresh["answer"]) == ("idle", None, "")
    assert (worked["state"], worked["answer"], worked["pending"]) == ("completed", "done: todowrite", [])
    assert worked["session"]["title"] == "views"
    assert worked["session"]["tokens"]["input"] > 0
    assert (listed["id"], listed["title"], listed["status"]) == (id, "views", "idle")
    assert "script:write" in transcript
    assert "> write scripted.txt: completed" in transcript
    assert "+written by the scripted model" in diff
    assert todo == [{"content": "try it", "status": "pending", "priority": "high"}]


async def test_a_waiting_session_has_its_pending_requests(client: Client) -> None:
    """A session that asks something says what."""
    id = await new_session(client)
    await call(client, "start_task", session_id=id, prompt="script:question", permissions="report")
    with anyio.fail_after(60):
        while (waiting := await read_json(client, f"opencode://session/{id}"))["state"] != "waiting_question":
            assert waiting["state"] in {"idle", "running"}
    (listed,) = await read_json(client, "opencode://sessions")
    await call(client, "stop_task", session_id=id)

    assert [request["wants"] for request in waiting["pending"]] == ["Which one is best?"]
    assert listed["status"] == "busy"


async def test_files_can_be_read(client: Client, project: Path) -> None:
    """A file is read byte for byte: texts with their last newline, whatever they are called, and bytes as bytes."""
    (project / "src").mkdir()
    texts = {"src/a b.py": "x = 1\n\n", "page.html": "<p>hi</p>\n", "data.json": '{"a": 1}\n', "one.ts": "let a\n"}
    for name, text in {**texts, "empty.txt": ""}.items():
        (project / name).write_text(text)
    (project / "pixel.png").write_bytes(PIXEL)

    for name, text in texts.items():
        assert await read(client, f"opencode://file/{name.replace(' ', '%20')}") == text
    assert await read(client, "opencode://file/empty.txt") == ""
    (image,) = (await client.read_resource("opencode://file/pixel.png")).contents
    assert isinstance(image, types.BlobResourceContents)
    assert (image.mime_type, base64.b64decode(image.blob)) == ("image/png", PIXEL)


@pytest.mark.unchanged_project
async def test_agents_and_models_can_be_read(client: Client) -> None:
    """What can be chosen is listed as it is to be named, without what OpenCode keeps to itself."""
    agents = {agent["name"]: agent for agent in await read_json(client, "opencode://agents")}
    (model,) = await read_json(client, "opencode://models")

    assert agents["build"]["mode"] == "primary"
    assert agents["general"]["mode"] == "subagent"
    assert "title" not in agents
    assert (model["model"], model["default"], model["limit"]["context"]) == ("scripted/scripted", True, 128_000)


async def test_the_default_model_comes_from_the_configuration(client: Client, project: Path) -> None:
    """Not the one that OpenCode would take of each provider if nothing were configured."""
    models = {name: {"name": name.title()} for name in ("aaa", "zzz")}
    (project / "opencode.json").write_text(json.dumps({"provider": {"scripted": {"models": models}}}))

    listed = await read_json(client, "opencode://models")

    assert [one["model"] for one in listed if one["default"]] == ["scripted/scripted"]
    assert len(listed) == 3
    of_the_provider = (await call(client, "config_providers"))["provider_defaults"]
    assert of_the_provider["scripted"] != "scripted", "both would be the same"


async def test_the_configuration_has_no_secrets(client: Client, project: Path) -> None:
    """Secrets of providers and MCP servers are left out; the rest is there."""
    server = {
        "type": "remote",
        "url": "https://mcp.test/x",
        "enabled": False,
        "headers": {"Authorization": "Bearer do-not-tell", "X-Region": "eu"},
    }
    (project / "opencode.json").write_text(json.dumps({"mcp": {"remote": server}}))

    text = await read(client, "opencode://config")
    config = json.loads(text)

    assert "do-not-tell" not in text
    assert config["provider"]["scripted"]["options"]["apiKey"] == MARKER
    assert config["mcp"]["remote"]["headers"] == {"Authorization": MARKER, "X-Region": "eu"}
    assert config["model"] == "scripted/scripted"


MISSING = {
    "opencode://nothing": "Unknown resource",
    "opencode://session/ses_x/nothing": "Unknown resource",
    "https://example.com": "Unknown resource",
    "opencode://session/ses_missing": "Session not found: ses_missing",
    "opencode://session/ses_missing/transcript": "Session not found: ses_missing",
    "opencode://session/ses_missing/diff": "Session not found: ses_missing",
    "opencode://session/ses_missing/todo": "Session not found: ses_missing",
    "opencode://session/x": "must be a session's id",
    "opencode://session/ses_x%2F..%2Fy/todo": "sessionID",
    "opencode://file/missing.txt": "no file 'missing.txt'",
    "opencode://file/.git": "no file '.git'",
    "opencode://file/../other": "dot segment",
    "opencode://file//etc/passwd": "relative",
    "opencode://operation/missing": "no operation 'missing'",
}


@pytest.mark.unchanged_project
async def test_a_missing_resource_is_an_error(client: Client) -> None:
    """It is -32602 in both eras, with the URI and words that say what is missing."""
    for uri, words in MISSING.items():
        with pytest.raises(MCPError, match=re.escape(words)) as raised:
            await client.read_resource(uri)

        assert raised.value.code == types.INVALID_PARAMS, uri
        assert raised.value.data == {"uri": uri}


@pytest.mark.unchanged_project
async def test_operations_need_no_opencode(
    connect: Connect, mode: str, unreachable_settings: Settings, catalog: Catalog
) -> None:
    """The API is described wherever OpenCode is."""
    async with connect(unreachable_settings, mode=mode) as client:
        listed = await read_json(client, "opencode://operations")
        described = await read_json(client, "opencode://operation/session_get")

    assert [one["operation"] for one in listed] == list(catalog)
    assert described["request"] == "GET /session/{sessionID}"
    assert described["input_schema"]["required"] == ["sessionID"]


@pytest.mark.unchanged_project
async def test_lists_do_not_wait_for_opencode(connect: Connect, mode: str, unreachable_settings: Settings) -> None:
    """Without an answer within a second the lists have what is fixed."""
    async with connect(unreachable_settings, mode=mode) as client:
        with anyio.fail_after(15):
            listed = await client.list_resources()
            templates = await client.list_resource_templates()

    assert [one.uri for one in listed.resources] == FIXED
    assert len(templates.resource_templates) == 7


@pytest.mark.unchanged_project
@pytest.mark.parametrize("unreachable_settings", ["refuses", "is not started"], indirect=True)
async def test_reading_without_opencode_says_why(connect: Connect, mode: str, unreachable_settings: Settings) -> None:
    """What cannot be read for another reason than that it is missing is an internal error with words."""
    async with connect(unreachable_settings, mode=mode) as client:
        with pytest.raises(MCPError) as raised:
            await client.read_resource("opencode://agents")

    assert raised.value.code == types.INTERNAL_ERROR
    assert "OpenCode" in raised.value.message or "/nowhere/opencode" in raised.value.message


@pytest.mark.unchanged_project
async def test_an_unexpected_exception_is_logged_and_not_sent(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception is answered with a fixed sentence, as its words may hold anything."""

    def broken(value: Any, *more: Any) -> Content:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("opencode_mcp.server.resources.readers.as_json", broken)
    with pytest.raises(MCPError) as raised:
        await client.read_resource("opencode://agents")

    assert "hunter2" not in raised.value.message
    assert "hunter2" in caplog.text


@pytest.mark.unchanged_project
async def test_only_constant_answers_may_be_cached(connect: Connect) -> None:
    """Clients may keep what never changes, and nothing else."""
    async with connect(mode="auto") as client:
        kept = await client.list_resource_templates(), await client.read_resource("opencode://operation/find_text")
        changing = await client.list_resources(), await client.read_resource("opencode://sessions")

    assert [(one.ttl_ms, one.cache_scope) for one in kept] == [(3_600_000, "private")] * 2
    assert [(one.ttl_ms, one.cache_scope) for one in changing] == [(0, "private")] * 2
