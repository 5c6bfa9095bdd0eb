"""No secret leaves by any way: through an MCP client, on a real OpenCode that is full of them."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.opencode.outgoing import REDACTED
from opencode_mcp.settings import Settings
from tests.conftest import Connect

pytestmark = pytest.mark.anyio

CONFIGURED = "sk-configured-0123456789"
INHERITED = "sk-inherited-0123456789"
SECRETS: Mapping[str, Any] = {
    "permission": {"bash": "allow"},
    "provider": {"other": {"npm": "@ai-sdk/openai-compatible", "options": {"apiKey": CONFIGURED}, "models": {"m": {}}}},
    "mcp": {
        "remote": {
            "type": "remote",
            "url": "http://me:sk-of-the-url@127.0.0.1:1/mcp",
            "enabled": False,
            "headers": {"Authorization": f"Bearer {CONFIGURED}"},
        },
        "local": {"type": "local", "command": ["x"], "enabled": False, "environment": {"X_TOKEN": CONFIGURED}},
    },
}


@pytest.fixture
def secretive(attached: Settings, project: Path) -> Settings:
    """Settings whose environment and project hold secrets."""
    (project / "opencode.json").write_text(json.dumps(SECRETS))
    (project / "notes.txt").write_text(f"the key is {INHERITED}, the password {attached.password}\u202e!\n")
    return replace(attached, environ={"SOME_API_KEY": INHERITED, "PWD": str(project)})


@pytest.fixture
async def client(connect: Connect, secretive: Settings) -> AsyncGenerator[Client]:
    """A client of a bridge with secrets."""
    async with connect(secretive) as client:
        yield client


async def said(client: Client, tool: str, **arguments: Any) -> str:
    """Return all that a result says, once it is seen that nothing in it is secret."""
    result = await client.call_tool(tool, arguments)
    words = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
    for all_of_it in (words, json.dumps(result.structured_content)):
        assert not [one for one in (CONFIGURED, INHERITED, "sk-of-the-url") if one in all_of_it]
    return words


async def test_configuration(client: Client) -> None:
    """Keys, headers and environments lose their values, and keep their names; the rest stays."""
    config = json.loads(await said(client, "config_get"))

    assert config["provider"]["other"]["options"]["apiKey"] == REDACTED
    assert config["mcp"]["remote"]["headers"] == {"Authorization": REDACTED}
    assert config["mcp"]["remote"]["url"] == f"http://{REDACTED}@127.0.0.1:1/mcp"
    assert config["mcp"]["local"]["environment"] == {"X_TOKEN": REDACTED}
    assert config["permission"] == {"bash": "allow"}


@pytest.mark.parametrize("tool", ["provider_list", "config_providers", "v2_provider_list", "mcp_status"])
async def test_providers(client: Client, tool: str) -> None:
    """What is told of a provider or a server does not tell its key."""
    assert "{" in await said(client, tool)


async def test_parts(client: Client) -> None:
    """A pointer does not lead past it."""
    part = {"operation": "config_get", "pointer": "/provider/other/options/apiKey"}

    assert REDACTED in await said(client, "read_operation", **part)


async def test_files_and_commands(client: Client, secretive: Settings) -> None:
    """A value that is known to be secret is found in what a file or a command says; nothing in it stays invisible."""
    words = await said(client, "file_read", path="notes.txt")
    assert f"the key is {REDACTED}, the password {REDACTED}<U+202E>!" in words

    session = json.loads(await said(client, "session_create"))["id"]
    words = await said(client, "session_shell", sessionID=session, agent="build", command="cat notes.txt; pwd")
    assert f"the password {REDACTED}<U+202E>!" in words
    assert secretive.directory in words


async def test_resources(client: Client) -> None:
    """The resources go the same way."""
    for uri in ("opencode://config", "opencode://file/notes.txt"):
        [item] = (await client.read_resource(uri)).contents
        assert isinstance(item, types.TextResourceContents)
        assert REDACTED in item.text
        assert CONFIGURED not in item.text
        assert INHERITED not in item.text


async def test_errors(client: Client) -> None:
    """An error that repeats what came does not repeat a secret."""
    assert REDACTED in await said(client, "session_get", sessionID=INHERITED)


async def test_progress(client: Client, attached: Settings) -> None:
    """Neither does the progress of a task."""
    told: list[str] = []

    async def keep(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    command = json.dumps({"command": f"echo {INHERITED} {attached.password}", "description": "Say it"})
    arguments = {"prompt": f"script:tool bash {command}", "permissions": "allow"}
    result = await client.call_tool("run_task", arguments, progress_callback=keep)

    assert not result.is_error
    assert any(REDACTED in one for one in told)
    assert not [one for one in told if INHERITED in one or (attached.password and attached.password in one)]


async def test_an_answer_is_not_sent_back(client: Client) -> None:
    """A configuration that was read here cannot be written back over its secrets."""
    config = json.loads(await said(client, "config_get"))
    words = await said(client, "config_update", body={"provider": config["provider"]})

    assert "it would overwrite the secret" in words


async def test_show_secrets(connect: Connect, secretive: Settings) -> None:
    """Whoever asks for them gets them."""
    async with connect(replace(secretive, show_secrets="true")) as client:
        result = await client.call_tool("config_get", {})

    assert result.structured_content is not None
    assert result.structured_content["provider"]["other"]["options"]["apiKey"] == CONFIGURED


def test_the_log(tmp_path: Path, secretive: Settings) -> None:
    """A log file is its owner's alone, also one that was there, and has no secret in it."""
    file = tmp_path / "log"
    file.write_text("before\n")
    file.chmod(0o644)
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        set_up_logging(replace(secretive, log_file=str(file)))
        logging.getLogger("any").warning("it is %s", INHERITED)
    finally:
        for one in root.handlers:
            one.close()
        root.handlers = handlers

    assert file.stat().st_mode & 0o777 == 0o600
    assert f"WARNING any: it is {REDACTED}\n" in file.read_text()
    with pytest.raises(SettingsError, match="cannot be written"):
        set_up_logging(replace(secretive, log_file=str(tmp_path / "no" / "log")))
