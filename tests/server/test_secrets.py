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
from opencode_mcp.redaction import MARKER
from opencode_mcp.server.lifespan import warn_about_weak_passwords
from opencode_mcp.settings import Settings
from opencode_mcp.tools import facts_of
from tests.conftest import Connect, make_project
from tests.facts import facts

pytestmark = pytest.mark.anyio

CONFIGURED = "sk-configured-0123456789"
INHERITED = "sk-proj-q7Zp2xVd9TkLm4Rw8sBn"
SECRETS: Mapping[str, Any] = {
    "permission": {"bash": "allow"},
    "provider": {"other": {"npm": "@ai-sdk/openai-compatible", "options": {"apiKey": CONFIGURED}, "models": {"m": {}}}},
    "mcp": {
        "by-token": {
            "type": "remote",
            "url": f"http://{CONFIGURED}@127.0.0.1:1/mcp?api_key={CONFIGURED}",
            "headers": {"X-Auth": CONFIGURED},
        },
        "remote": {
            "type": "remote",
            "url": "http://me:sk-of-the-url@127.0.0.1:1/mcp",
            "enabled": False,
            "headers": {"Authorization": f"Bearer {CONFIGURED}"},
        },
        "local": {
            "type": "local",
            "command": ["x", "--token", CONFIGURED],
            "enabled": False,
            "environment": {"X_TOKEN": CONFIGURED, "GITHUB_PAT": CONFIGURED, "DB_PASS": CONFIGURED, "MODE": "test"},
        },
    },
}


@pytest.fixture(scope="module")
def secret_project(module_environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose configuration holds secrets."""
    project = make_project(tmp_path_factory.mktemp("secret") / "project", module_environ)
    (project / "opencode.json").write_text(json.dumps(SECRETS))
    return project


@pytest.fixture
def secret_settings(attached: Settings, secret_project: Path) -> Settings:
    """Settings whose environment and project hold secrets, in a file too."""
    (secret_project / "notes.txt").write_text(f"the key is {INHERITED}, the password {attached.password}\u202e!\n")
    return replace(
        attached, directory=str(secret_project), environ={"SOME_API_KEY": INHERITED, "PWD": str(secret_project)}
    )


@pytest.fixture
async def client(connect: Connect, secret_settings: Settings) -> AsyncGenerator[Client]:
    """A client of a bridge with secrets."""
    async with connect(secret_settings) as client:
        yield client


async def call_redacted(client: Client, tool: str, **arguments: Any) -> str:
    """Return all that a result says, once it is seen that nothing in it is secret."""
    result = await client.call_tool(tool, arguments)
    words = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
    for text in (words, json.dumps(facts_of(result))):
        assert not [secret for secret in (CONFIGURED, INHERITED, "sk-of-the-url") if secret in text]
    return words


async def test_configuration_is_redacted(client: Client) -> None:
    """Keys, headers and environments lose their values, and keep their names; the rest stays."""
    config = json.loads(await call_redacted(client, "config_get"))

    assert config["provider"]["other"]["options"]["apiKey"] == MARKER
    assert config["mcp"]["remote"]["headers"] == {"Authorization": MARKER}
    assert config["mcp"]["remote"]["url"] == f"http://{MARKER}@127.0.0.1:1/mcp"
    assert config["mcp"]["by-token"] == {
        "type": "remote",
        "url": f"http://{MARKER}@127.0.0.1:1/mcp?api_key={MARKER}",
        "headers": {"X-Auth": MARKER},
    }
    environment = {"X_TOKEN": MARKER, "GITHUB_PAT": MARKER, "DB_PASS": MARKER, "MODE": "test"}
    assert config["mcp"]["local"]["environment"] == environment
    assert config["mcp"]["local"]["command"] == ["x", "--token", MARKER]
    assert config["permission"] == {"bash": "allow"}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("provider_list", {}),
        ("config_providers", {}),
        ("config_providers", {"full": True}),
        ("v2_provider_list", {}),
        ("mcp_status", {}),
    ],
)
async def test_providers_are_redacted(client: Client, tool: str, arguments: dict[str, Any]) -> None:
    """The facts about a provider or a server do not contain its key."""
    assert "{" in await call_redacted(client, tool, **arguments)


async def test_a_pointer_into_a_redacted_answer_is_redacted(client: Client) -> None:
    """A pointer does not lead past it."""
    part = {"operation": "config_get", "pointer": "/provider/other/options/apiKey"}

    assert MARKER in await call_redacted(client, "read_operation", **part)


async def test_files_and_command_output_are_redacted(client: Client, secret_settings: Settings) -> None:
    """A value that is known to be secret is found in what a file or a command says; nothing in it stays invisible."""
    words = await call_redacted(client, "file_read", path="notes.txt")
    assert f"the key is {MARKER}, the password {MARKER}<U+202E>!" in words

    session = json.loads(await call_redacted(client, "session_create"))["id"]
    words = await call_redacted(client, "session_shell", sessionID=session, agent="build", command="cat notes.txt; pwd")
    assert f"the password {MARKER}<U+202E>!" in words
    assert str(secret_settings.directory) in words


async def test_resources_are_redacted(client: Client) -> None:
    """The resources go the same way."""
    for uri in ("opencode://config", "opencode://file/notes.txt"):
        [item] = (await client.read_resource(uri)).contents
        assert isinstance(item, types.TextResourceContents)
        assert MARKER in item.text
        assert CONFIGURED not in item.text
        assert INHERITED not in item.text


async def test_errors_are_redacted(client: Client) -> None:
    """An error that repeats what came does not repeat a secret."""
    assert MARKER in await call_redacted(client, "session_get", sessionID=INHERITED)


async def test_progress_is_redacted(client: Client, attached: Settings) -> None:
    """Neither does the progress of a task."""
    told: list[str] = []

    async def keep(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    command = json.dumps({"command": f"echo {INHERITED} {attached.password}", "description": "Say it"})
    arguments = {"prompt": f"script:tool bash {command}", "permissions": "allow"}
    result = await client.call_tool("run_task", arguments, progress_callback=keep)

    assert not result.is_error
    assert any(MARKER in one for one in told)
    assert not [one for one in told if INHERITED in one or (attached.password and attached.password in one)]


async def test_a_redacted_configuration_cannot_be_written_back(client: Client) -> None:
    """A configuration that was read here cannot be written back over its secrets."""
    config = json.loads(await call_redacted(client, "config_get"))
    words = await call_redacted(client, "config_update", body={"provider": config["provider"]})

    assert "it would overwrite the secret" in words


EVERYDAY: Mapping[str, str] = {
    "POSTGRES_PASSWORD": "postgres",
    "DB_PASSWORD": "password",
    "COOKIE_DOMAIN": "localhost",
    "WORDPRESS_DB_PASSWORD": "wordpress",
}
CODE = """\
import postgres from "postgres";
const fixture = '{"url":"http://localhost:3000","email":"me@example.com"}';
const mirror = `https://${USER}:${PASS}@host`, dsn = "postgres://{}:{}@{}";
const image = "docker://alpine:3.18@sha256:c5b1261d6d3e43071626931fc004f70149baeba2c8ec672bd4f27761f8e1ad6b";
const options = { apiKey: "password", token: "postgres" };
"""


async def test_an_everyday_environment_changes_no_code(connect: Connect, attached: Settings, project: Path) -> None:
    """Files, listings, searches and patches of a project are as they are, and what was read can be applied."""
    (project / "wordpress").mkdir()
    (project / "wordpress" / "db.js").write_text(CODE)
    (project / "README.md").write_text('hello from postgres at {"url":"http://localhost","email":"me@example.com"}\n')
    async with connect(replace(attached, environ=EVERYDAY)) as client:
        read = await client.call_tool("v2_fs_read", {"path": "wordpress/db.js"})
        listed = await client.call_tool("file_list", {"path": "wordpress"})
        found = await client.call_tool("find_text", {"pattern": "import postgres"})
        patch = await client.call_tool("vcs_diff_raw", {})
        (project / "README.md").write_text("hello from the project\n")
        (project / "wordpress" / "db.js").unlink()
        applied = await client.call_tool("vcs_apply", {"patch": facts(patch)["result"]})

    assert facts(read) == {"result": CODE}
    assert "wordpress/db.js" in json.dumps(facts(listed))
    assert MARKER not in json.dumps([facts(listed), facts(found), facts(patch)])
    assert not applied.is_error, applied.content
    assert (project / "README.md").read_text().startswith("hello from postgres at {")
    assert (project / "wordpress" / "db.js").read_text() == CODE


async def test_a_result_says_how_many_secrets_are_replaced(client: Client) -> None:
    """In its content, for the model, and in its metadata."""
    read = await client.call_tool("file_read", {"path": "notes.txt"})
    plain = await client.call_tool("path_get", {})
    resource = (await client.read_resource("opencode://file/notes.txt")).contents[0]

    assert facts(read)["_redacted"].startswith(f"2 secrets are replaced by {MARKER} here")
    assert (read.meta or {})["redacted"] == 2
    assert "redacted" not in (plain.meta or {})
    assert "_redacted" not in facts(plain)
    assert resource.meta == {"redacted": 2}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("vcs_apply", {"patch": f"--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-hello\n+import {MARKER}\n"}),
        ("run_task", {"prompt": f"Write import {MARKER} into db.js"}),
        ("start_task", {"prompt": "Do it", "system": f"The password is {MARKER}"}),
        ("answer_question", {"request_id": "que_1", "answers": [[f"use {MARKER}"]]}),
        ("session_create", {"title": f"about {MARKER}"}),
        ("change_operation", {"operation": "auth_set", "arguments": {"providerID": "x", "body": {"key": MARKER}}}),
    ],
)
async def test_arguments_with_the_redaction_marker_are_refused(
    client: Client, tool: str, arguments: dict[str, Any]
) -> None:
    """Wherever it stands in an argument, the call is refused before anything is sent."""
    words = await call_redacted(client, tool, **arguments)

    assert "nothing was sent" in words
    assert "it would overwrite the secret" in words


async def test_the_marker_can_be_searched_for(client: Client) -> None:
    """A call that changes nothing may have it."""
    result = await client.call_tool("find_text", {"pattern": "redacted:opencode-mcp"})

    assert not result.is_error


async def test_show_secrets_turns_redaction_off(connect: Connect, secret_settings: Settings) -> None:
    """With --show-secrets they are returned."""
    async with connect(replace(secret_settings, show_secrets=True)) as client:
        result = await client.call_tool("config_get", {})

    assert facts(result)["provider"]["other"]["options"]["apiKey"] == CONFIGURED


def test_a_warning_is_logged_when_the_password_is_a_common_word(caplog: pytest.LogCaptureFixture) -> None:
    """It is not looked for in what leaves, and the log says so."""
    for password in ("opencode", "Vx7-q2Lm9_Zt"):
        with caplog.at_level(logging.WARNING):
            warn_about_weak_passwords(Settings(password=password))

    assert caplog.text.count("OPENCODE_SERVER_PASSWORD is short or a common word") == 1


def test_the_log_file_is_private_and_redacted(tmp_path: Path, secret_settings: Settings) -> None:
    """A log file is its owner's alone, also one that was there, and has no secret in it."""
    file = tmp_path / "log"
    file.write_text("before\n")
    file.chmod(0o644)
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        set_up_logging(replace(secret_settings, log_file=file))
        logging.getLogger("any").warning("it is %s", INHERITED)
    finally:
        for one in root.handlers:
            one.close()
        root.handlers = handlers

    assert file.stat().st_mode & 0o777 == 0o600
    assert f"WARNING any: it is {MARKER}\n" in file.read_text()
    with pytest.raises(SettingsError, match="cannot be written"):
        set_up_logging(replace(secret_settings, log_file=tmp_path / "no" / "log"))
