"""What `install` makes of the settings, flags and limits that it is given."""

from __future__ import annotations

import json
import stat
import tomllib

import pytest

from opencode_mcp.cli.clients import CLIENTS
from opencode_mcp.tools.toolsets import ESSENTIAL_TOOLS

from .person import CLEAR, PROGRAM, STDIO, URL, USER, Person, held, place


def test_settings_become_arguments_and_credentials_names(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
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
    }
    for name in CLIENTS:
        said = person.run("install", name, *settings)
        text = place(person, name, "user").read_text()
        entry = held(place(person, name, "user"))[CLIENTS[name].container]["opencode"]
        environment = entry.get("env", entry.get("environment", {}))
        command = entry["command"] if name == "opencode" else [entry["command"], *entry["args"]]

        assert command == [*PROGRAM, *settings[:2], "--directory", "/elsewhere", "--toolsets", "tasks", "--read-only"]
        assert "s3cret" not in text
        if name == "codex":
            assert entry["env_vars"] == ["OPENCODE_SERVER_PASSWORD"]
        elif name in expected:
            assert environment == {"OPENCODE_SERVER_PASSWORD": expected[name]}
        else:
            assert "OPENCODE_SERVER_PASSWORD" in said


@pytest.mark.parametrize("name", CLIENTS)
def test_a_password_in_clear_is_asked_for(person: Person, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It is in the file, which only its owner can read, but not in what a dry run shows."""
    monkeypatch.setenv("OPENCODE_SERVER_PASSWORD", "s3cret")
    wanted = ["install", name, "--url", "http://127.0.0.1:4096", "--with-password"]

    assert "s3cret" not in person.run(*wanted, "--dry-run")
    person.run(*wanted)
    file = place(person, name, "user")
    assert "s3cret" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_variables_are_passed_on_by_name(person: Person) -> None:
    """--env names a variable, in the way of the client."""
    person.run("install", "gemini", "--env", "ANTHROPIC_API_KEY", "--env", "NO_PROXY")

    entry = held(person.home / USER["gemini"])["mcpServers"]["opencode"]
    assert entry["env"] == {"ANTHROPIC_API_KEY": "$ANTHROPIC_API_KEY", "NO_PROXY": "$NO_PROXY"}


def test_several_servers_go_into_the_entry(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their passwords by the names of the variables; one of no server given is left where it is."""
    for name in ("", "_FAR_AWAY", "_UNKNOWN"):
        monkeypatch.setenv(f"OPENCODE_SERVER_PASSWORD{name}", f"clear{name}")
    servers = ["main=http://localhost:1", "far-away=http://localhost:2"]
    said = person.run("install", "cursor", "--server", servers[0], "--server", servers[1])

    entry = held(person.home / USER["cursor"])["mcpServers"]["opencode"]
    at = entry["args"].index("--server")
    assert entry["args"][at + 1].split(",") == servers
    variables = ["OPENCODE_SERVER_PASSWORD", "OPENCODE_SERVER_PASSWORD_FAR_AWAY"]
    assert entry["env"] == {name: f"${{env:{name}}}" for name in variables}
    assert "clear" not in said + json.dumps(entry)

    person.run("install", "cursor", "--server", servers[1], "--with-password")
    entry = held(person.home / USER["cursor"])["mcpServers"]["opencode"]
    assert entry["env"] == {variables[0]: "clear", variables[1]: "clear_FAR_AWAY"}
    assert "clear" not in person.run("uninstall", "cursor", "--dry-run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["claude-desktop", "--http", URL], "Connectors", id="no-url"),
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
def test_what_cannot_be_done_is_said_and_nothing_written(person: Person, arguments: list[str], said: str) -> None:
    """Wrong usage ends with exit code 2."""
    assert said in person.run("install", *arguments, code=2)
    assert person.files() == {}


def test_print_shows_the_entry_alone(person: Person) -> None:
    """So that it can be put anywhere by hand."""
    assert json.loads(person.run("install", "vscode", "--print")) == STDIO["vscode"]
    assert tomllib.loads(person.run("install", "codex", "--print")) == STDIO["codex"]
    assert person.files() == {}


def test_the_reason_for_the_preset_is_said(person: Person) -> None:
    """It names the client's limit."""
    assert "toolsets: essential, as VS Code sends at most 128 tools" in person.run("install", "vscode")
    assert "toolsets: all, as Claude Code" in person.run("install", "claude-code", "--project")


def test_the_presets_fit_the_limits() -> None:
    """No client that counts tools is given more than it takes."""
    limits = [client.limits for client in CLIENTS.values() if client.limits.tools]

    assert {one.preset for one in limits} == {"essential"}
    assert min(one.tools or 0 for one in limits) >= len(ESSENTIAL_TOOLS)


def test_a_server_without_token_needs_none(person: Person) -> None:
    """And the person who starts a client is told when it does."""
    said = person.run("install", "zed", "--http", URL, "--no-auth", "--print")
    assert json.loads(said) == {"context_servers": {"opencode": {"url": f"{URL}/essential"}}}
    assert "OPENCODE_MCP_TOKEN" not in person.run("install", "zed", "--http", URL, "--no-auth")
    assert "start Cursor with OPENCODE_MCP_TOKEN set" in person.run("install", "cursor", "--http", URL)


def test_the_token_of_the_environment_stays_out_of_an_entry_for_stdio(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for HTTP alone; what is shown of one in clear hides it."""
    monkeypatch.setenv("OPENCODE_MCP_TOKEN", CLEAR)
    person.run("install", "cursor")
    assert CLEAR not in (person.home / USER["cursor"]).read_text()
    assert CLEAR not in person.run("install", "zed", "--http", URL, "--with-password", "--dry-run")
    person.run("install", "zed", "--http", URL, "--with-password")
    assert CLEAR not in person.run("uninstall", "zed", "--dry-run")


def test_a_url_is_narrowed_by_one_toolset(person: Person) -> None:
    """All leaves it as it is; one that is narrowed already stays so."""
    for given, toolsets, expected in (
        (URL, "all", URL),
        (f"{URL}/", "tasks", f"{URL}/toolset/tasks"),
        (f"{URL}/readonly", "", f"{URL}/readonly"),
    ):
        said = person.run("install", "cursor", "--print", "--http", given, "--toolsets", toolsets)
        assert json.loads(said)["mcpServers"]["opencode"]["url"] == expected
