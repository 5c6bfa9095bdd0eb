"""What `install` makes of the settings, flags and limits that it is given."""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from opencode_mcp.cli.clients import CLIENTS, PRINTED_CLIENTS
from opencode_mcp.cli.clients.more_clients import MORE_CLIENTS
from opencode_mcp.tools.selection import ESSENTIAL_TOOLS

from .fresh_machine import (
    PLAIN_TOKEN,
    PROGRAM,
    STDIO_ENTRIES,
    URL,
    USER_FILES,
    FreshMachine,
    client_file,
    read_client_file,
)


def test_settings_become_arguments_and_credentials_names(
    machine: FreshMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password is never written unless asked for; where the client cannot name a variable, the person is told."""
    monkeypatch.setenv("OPENCODE_SERVER_PASSWORD", "s3cret")
    settings = ["--url", "http://127.0.0.1:4096", "--toolsets", "tasks", "--read-only", "--directory", "/elsewhere"]
    expected = {
        "claude-code": "${OPENCODE_SERVER_PASSWORD:-}",
        "cursor": "${env:OPENCODE_SERVER_PASSWORD}",
        "vscode": "${env:OPENCODE_SERVER_PASSWORD}",
        "gemini": "$OPENCODE_SERVER_PASSWORD",
        "windsurf": "${env:OPENCODE_SERVER_PASSWORD}",
        "opencode": "{env:OPENCODE_SERVER_PASSWORD}",
        "copilot": "${OPENCODE_SERVER_PASSWORD}",
        "qwen": "$OPENCODE_SERVER_PASSWORD",
        "kiro": "${OPENCODE_SERVER_PASSWORD}",
        "amp": "${OPENCODE_SERVER_PASSWORD}",
        "kilo": "{env:OPENCODE_SERVER_PASSWORD}",
    }
    for name in CLIENTS:
        said = machine.run("install", name, *settings)
        text = client_file(machine, name, "user").read_text()
        entry = read_client_file(client_file(machine, name, "user"))[CLIENTS[name].container]["opencode"]
        environment = entry.get("env", entry.get("environment", {}))
        command = entry["command"] if name in {"opencode", "kilo"} else [entry["command"], *entry["args"]]

        assert command == [*PROGRAM, *settings[:2], "--directory", "/elsewhere", "--toolsets", "tasks", "--read-only"]
        assert "s3cret" not in text
        if name == "codex":
            assert entry["env_vars"] == ["OPENCODE_SERVER_PASSWORD"]
        elif name in expected:
            assert environment == {"OPENCODE_SERVER_PASSWORD": expected[name]}
        else:
            assert "OPENCODE_SERVER_PASSWORD" in said


@pytest.mark.parametrize("name", CLIENTS)
def test_with_password_writes_the_password_only_to_the_file(
    machine: FreshMachine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is in the file, which only its owner can read, but not in what a dry run shows."""
    monkeypatch.setenv("OPENCODE_SERVER_PASSWORD", "s3cret")
    wanted = ["install", name, "--url", "http://127.0.0.1:4096", "--with-password"]

    assert "s3cret" not in machine.run(*wanted, "--dry-run")
    machine.run(*wanted)
    file = client_file(machine, name, "user")
    assert "s3cret" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_variables_are_passed_on_by_name(machine: FreshMachine) -> None:
    """--env names a variable, in the way of the client."""
    machine.run("install", "gemini", "--env", "ANTHROPIC_API_KEY", "--env", "NO_PROXY")

    entry = read_client_file(machine.home / USER_FILES["gemini"])["mcpServers"]["opencode"]
    assert entry["env"] == {"ANTHROPIC_API_KEY": "$ANTHROPIC_API_KEY", "NO_PROXY": "$NO_PROXY"}


def test_several_servers_are_written_to_the_entry(machine: FreshMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their passwords by the names of the variables; one of no server given is left where it is."""
    for name in ("", "_FAR_AWAY", "_UNKNOWN"):
        monkeypatch.setenv(f"OPENCODE_SERVER_PASSWORD{name}", f"clear{name}")
    servers = ["main=http://localhost:1", "far-away=http://localhost:2"]
    said = machine.run("install", "cursor", "--server", servers[0], "--server", servers[1])

    entry = read_client_file(machine.home / USER_FILES["cursor"])["mcpServers"]["opencode"]
    at = entry["args"].index("--server")
    assert entry["args"][at + 1].split(",") == servers
    variables = ["OPENCODE_SERVER_PASSWORD", "OPENCODE_SERVER_PASSWORD_FAR_AWAY"]
    assert entry["env"] == {name: f"${{env:{name}}}" for name in variables}
    assert "clear" not in said + json.dumps(entry)

    machine.run("install", "cursor", "--server", servers[1], "--with-password")
    entry = read_client_file(machine.home / USER_FILES["cursor"])["mcpServers"]["opencode"]
    assert entry["env"] == {variables[0]: "clear", variables[1]: "clear_FAR_AWAY"}
    assert "clear" not in machine.run("uninstall", "cursor", "--dry-run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["claude-desktop", "--http", URL], "Connectors", id="no-url"),
        pytest.param(["junie", "--http", URL], "use stdio", id="commands-only"),
        pytest.param(["goose"], "by hand, in config.yaml", id="no-file"),
        pytest.param(["other", "--print", "--name", "a b"], "letters, digits", id="no-name-by-hand"),
        pytest.param(["claude-desktop", "--project"], "one file for all projects", id="no-project"),
        pytest.param(["zed", "--env", "X"], "cannot pass a variable", id="no-variables"),
        pytest.param(["cursor", "--name", "a b"], "letters, digits", id="no-name"),
        pytest.param(["codex", "--toolsets", "all", "--name", "x" * 30], "allows tool names of 64", id="long-name"),
        pytest.param(["cursor", "--toolsets", "nothing"], "unknown name 'nothing'", id="no-toolset"),
        pytest.param(["cursor", "--http", "127.0.0.1"], "is not an http:// or https:// URL", id="no-scheme"),
        pytest.param(["cursor", "--http", URL, "--toolsets", "tasks,file"], "one toolset", id="two-toolsets"),
        pytest.param(
            ["cursor", "--http", URL, "--read-only"],
            "--read-only belongs to the command that starts the server at",
            id="flag",
        ),
        pytest.param(["cursor", "--http", URL, "--server", "a=http://x"], "--server belongs", id="server"),
        pytest.param(["cursor", "--http", URL, "--directory", "."], "--directory belongs", id="directory"),
        pytest.param(["cursor", "--http", URL, "--env", "X"], "not to --http", id="http-and-env"),
        pytest.param(["cursor", "--with-password"], "--with-password needs --url", id="no-password"),
        pytest.param(["cursor", "--http", URL, "--with-password"], "OPENCODE_MCP_TOKEN is not set", id="no-token"),
        pytest.param(["zed", "--http", URL], "cannot refer to a variable", id="no-variable-for-the-token"),
    ],
)
def test_an_impossible_install_is_reported_and_writes_nothing(
    machine: FreshMachine, arguments: list[str], said: str
) -> None:
    """Wrong usage ends with exit code 2."""
    assert said in machine.run("install", *arguments, code=2)
    assert machine.files() == {}


def test_print_shows_only_the_entry(machine: FreshMachine) -> None:
    """So that it can be put anywhere by hand."""
    assert json.loads(machine.run("install", "vscode", "--print")) == STDIO_ENTRIES["vscode"]
    assert tomllib.loads(machine.run("install", "codex", "--print")) == STDIO_ENTRIES["codex"]
    assert machine.files() == {}


COMMAND = {"command": PROGRAM[0], "args": STDIO_ENTRIES["cursor"]["mcpServers"]["opencode"]["args"]}


@pytest.mark.parametrize("name", PRINTED_CLIENTS)
def test_the_entry_of_a_client_that_is_edited_by_hand_is_printed(machine: FreshMachine, name: str) -> None:
    """Most take the usual form; Goose and Continue's CLI have forms of their own, with the name of the server in it."""
    expected: dict[str, Any] = {"mcpServers": {"second": COMMAND}}
    if name == "continue-cli":
        expected = {"mcpServers": [{"name": "second", **COMMAND}]}
    if name == "goose":
        entry = {"enabled": True, "type": "stdio", "name": "second", "cmd": PROGRAM[0], "args": COMMAND["args"]}
        expected = {"extensions": {"second": {**entry, "env_keys": ["NO_PROXY"], "envs": {}, "timeout": 3600}}}
    variables = ["--env", "NO_PROXY"] if name == "goose" else []

    assert json.loads(machine.run("install", name, "--print", "--name", "second", *variables)) == expected
    assert machine.files() == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("goose", {"enabled": True, "type": "streamable_http", "name": "opencode", "uri": URL, "timeout": 3600}),
        ("roo", {"type": "streamable-http", "url": URL}),
        ("lm-studio", {"url": URL}),
        ("jetbrains", {"url": URL}),
        ("other", {"url": URL}),
    ],
)
def test_the_url_for_a_client_that_is_edited_by_hand_is_printed(
    machine: FreshMachine, name: str, expected: Mapping[str, Any]
) -> None:
    """In its own form."""
    said = machine.run("install", name, "--print", "--no-auth", "--toolsets", "all", "--http", URL)

    assert json.loads(said)[PRINTED_CLIENTS[name].container] == {"opencode": expected}


def test_the_token_for_the_cli_of_continue_is_a_reference(machine: FreshMachine) -> None:
    """In its YAML file, and with the header where it looks for it; in the JSON file of the extensions it cannot be."""
    said = machine.run("install", "continue-cli", "--print", "--http", URL)

    assert json.loads(said)["mcpServers"] == [
        {
            "name": "opencode",
            "type": "streamable-http",
            "url": f"{URL}/essential",
            "requestOptions": {"headers": {"Authorization": "Bearer ${{ secrets.OPENCODE_MCP_TOKEN }}"}},
        }
    ]
    assert "cannot refer to a variable" in machine.run("install", "continue", "--http", URL, code=2)


def test_the_extensions_of_continue_are_told_from_its_cli(machine: FreshMachine) -> None:
    """Which does not read the file."""
    assert "install continue-cli --print" in machine.run("install", "continue")


def test_every_added_client_names_the_documentation_of_its_format() -> None:
    """A format that was guessed would lose a user's settings."""
    clients = [*MORE_CLIENTS.values(), *PRINTED_CLIENTS.values()]

    assert [client.name for client in clients if not client.source] == ["other"]


def test_the_reason_for_the_preset_is_printed(machine: FreshMachine) -> None:
    """It names the client's limit."""
    assert "toolsets: essential, as VS Code sends at most 128 tools" in machine.run("install", "vscode")
    assert "toolsets: all, as Claude Code" in machine.run("install", "claude-code", "--project")


def test_the_presets_fit_the_limits() -> None:
    """No client that counts tools is given more than it takes."""
    limits = [client.limits for client in CLIENTS.values() if client.limits.tools]

    assert {one.preset for one in limits} == {"essential"}
    assert min(one.tools or 0 for one in limits) >= len(ESSENTIAL_TOOLS)


def test_a_server_without_token_needs_none(machine: FreshMachine) -> None:
    """And the person who starts a client is told when it does."""
    said = machine.run("install", "zed", "--http", URL, "--no-auth", "--print")
    assert json.loads(said) == {"context_servers": {"opencode": {"url": f"{URL}/essential"}}}
    assert "OPENCODE_MCP_TOKEN" not in machine.run("install", "zed", "--http", URL, "--no-auth")
    assert "start Cursor with OPENCODE_MCP_TOKEN set" in machine.run("install", "cursor", "--http", URL)


def test_the_token_of_the_environment_stays_out_of_an_entry_for_stdio(
    machine: FreshMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for HTTP alone; what is shown of one in clear hides it."""
    monkeypatch.setenv("OPENCODE_MCP_TOKEN", PLAIN_TOKEN)
    machine.run("install", "cursor")
    assert PLAIN_TOKEN not in (machine.home / USER_FILES["cursor"]).read_text()
    assert PLAIN_TOKEN not in machine.run("install", "zed", "--http", URL, "--with-password", "--dry-run")
    machine.run("install", "zed", "--http", URL, "--with-password")
    assert PLAIN_TOKEN not in machine.run("uninstall", "zed", "--dry-run")


def test_a_url_is_narrowed_by_one_toolset(machine: FreshMachine) -> None:
    """All leaves it as it is; one that is narrowed already stays so."""
    for given, toolsets, expected in (
        (URL, "all", URL),
        (f"{URL}/", "tasks", f"{URL}/toolset/tasks"),
        (f"{URL}/readonly", "", f"{URL}/readonly"),
    ):
        said = machine.run("install", "cursor", "--print", "--http", given, "--toolsets", toolsets)
        assert json.loads(said)["mcpServers"]["opencode"]["url"] == expected


def test_a_chosen_generation_is_part_of_the_entry(machine: FreshMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the password of an OpenCode 2 by name, and which tools there are."""
    monkeypatch.setenv("OPENCODE_PASSWORD", "s3cret")
    said = machine.run("install", "cursor", "--url", "http://127.0.0.1:4096", "--generation", "2")
    entry = read_client_file(client_file(machine, "cursor", "user"))["mcpServers"]["opencode"]

    assert entry["args"][entry["args"].index("--generation") + 1] == "2"
    assert entry["env"] == {"OPENCODE_PASSWORD": "${env:OPENCODE_PASSWORD}"}
    assert "the tools are those of OpenCode 2" in said
