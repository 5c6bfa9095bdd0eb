"""`install` and `uninstall` for every client, scope and transport, in an empty home."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from opencode_mcp.cli.clients import CLIENTS
from opencode_mcp.cli.clients.edit import BACKUP_SUFFIX, FORMATS
from opencode_mcp.tools.selection import ESSENTIAL_TOOLS

from .fresh_machine import (
    HTTP_ENTRIES,
    PLAIN_TOKEN,
    PROJECT_FILES,
    STDIO_ENTRIES,
    URL,
    USER_FILES,
    FreshMachine,
    client_file,
    read_client_file,
    write_client_file,
)


def cases() -> Iterator[Any]:
    """Every client, scope and transport that there is."""
    for name in CLIENTS:
        for scope, places in (("user", USER_FILES), ("project", PROJECT_FILES)):
            for transport, entries in (("stdio", STDIO_ENTRIES), ("http", HTTP_ENTRIES)):
                if name in places and name in entries:
                    yield pytest.param(name, scope, transport, id=f"{name}-{scope}-{transport}")


every_case = pytest.mark.parametrize(("name", "scope", "transport"), list(cases()))


def install_flags(scope: str, transport: str = "stdio", name: str = "") -> list[str]:
    """The flags for a scope and a transport; some clients cannot name a variable."""
    remote = ["--http", URL, *(["--with-password"] if name and not CLIENTS[name].variable else [])]
    return [*(["--project"] if scope == "project" else []), *(remote if transport == "http" else [])]


@pytest.fixture(autouse=True)
def token(machine: FreshMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's token is known here."""
    monkeypatch.setenv("OPENCODE_MCP_TOKEN", PLAIN_TOKEN)


@every_case
def test_an_empty_home_gets_the_documented_entry(machine: FreshMachine, name: str, scope: str, transport: str) -> None:
    """The file holds the entry in the client's own form, and nothing else was written."""
    machine.run("install", name, *install_flags(scope, transport, name))

    file = client_file(machine, name, scope)
    assert read_client_file(file) == (STDIO_ENTRIES if transport == "stdio" else HTTP_ENTRIES)[name]
    assert list(machine.files()) == [str(file.relative_to(machine.home.parent))]


@every_case
def test_uninstall_removes_a_file_that_install_created(
    machine: FreshMachine, name: str, scope: str, transport: str
) -> None:
    """No file is left, neither the client's nor a backup, and no folder, in which `doctor` would see the client."""
    machine.run("install", name, *install_flags(scope, transport, name))
    machine.run("uninstall", name, *install_flags(scope))

    assert machine.paths() == set()


def test_uninstall_keeps_a_folder_with_other_content_and_a_linked_one(machine: FreshMachine) -> None:
    """Whatever is in it, and though nothing is in it, as dotfiles are often links."""
    (machine.home / ".gemini").mkdir()
    (machine.home / ".gemini" / "mine").mkdir()
    (machine.home / "dotfiles").mkdir()
    (machine.home / ".cursor").symlink_to("dotfiles")
    before = machine.paths()
    for name in ("gemini", "cursor"):
        machine.run("install", name)
        machine.run("uninstall", name)

    assert machine.paths() == before


@every_case
def test_other_content_is_kept_and_restored(machine: FreshMachine, name: str, scope: str, transport: str) -> None:
    """Each line that was there is there, in its order; the backup and, after uninstall, the file are as before."""
    file, before = write_client_file(machine, name, scope)
    machine.run("install", name, *install_flags(scope, transport, name))
    after = file.read_bytes()

    lines = iter(after.decode().replace("},", "}").splitlines())
    assert all(line in lines for line in before.decode().replace("},", "}").splitlines())
    client = CLIENTS[name]
    entry = FORMATS[client.format].read(after.decode())[client.container]["opencode"]
    assert entry == (STDIO_ENTRIES if transport == "stdio" else HTTP_ENTRIES)[name][client.container]["opencode"]
    assert file.with_name(file.name + BACKUP_SUFFIX).read_bytes() == before

    machine.run("uninstall", name, *install_flags(scope))
    assert list(machine.files().values()) == [before]


@every_case
def test_a_second_install_changes_nothing(machine: FreshMachine, name: str, scope: str, transport: str) -> None:
    """The file and its backup keep their bytes, and the person is told."""
    write_client_file(machine, name, scope)
    machine.run("install", name, *install_flags(scope, transport, name))
    once = machine.files()

    assert "already has it" in machine.run("install", name, *install_flags(scope, transport, name))
    assert machine.files() == once


@every_case
def test_a_dry_run_writes_nothing(machine: FreshMachine, name: str, scope: str, transport: str) -> None:
    """It shows a diff in which only the entry is added, for both commands."""
    file, _ = write_client_file(machine, name, scope)
    before = machine.files()
    said = machine.run("install", name, "--dry-run", *install_flags(scope, transport, name))

    assert f"--- {file}\n+++ {file}\n" in said
    assert machine.files() == before

    machine.run("install", name, *install_flags(scope, transport, name))
    installed = machine.files()
    assert "\n-" in machine.run("uninstall", name, "--dry-run", *install_flags(scope))
    assert machine.files() == installed


@pytest.mark.parametrize("name", CLIENTS)
def test_later_edits_of_the_user_survive_uninstall(machine: FreshMachine, name: str) -> None:
    """Then the entry is cut out of the file as it is."""
    file, before = write_client_file(machine, name, "user")
    machine.run("install", name)
    comment = b"# later\n" if file.suffix == ".toml" else b"// later\n"
    file.write_bytes(file.read_bytes() + comment)
    machine.run("uninstall", name)

    assert machine.files() == {str(file.relative_to(machine.home.parent)): before + comment}


@pytest.mark.parametrize("name", CLIENTS)
def test_two_servers_are_added_and_removed_independently(machine: FreshMachine, name: str) -> None:
    """Each name is an entry of its own, and the last to go takes the file along."""
    machine.run("install", name)
    machine.run("install", name, "--name", "second")
    machine.run("uninstall", name)
    assert set(read_client_file(client_file(machine, name, "user"))[CLIENTS[name].container]) == {"second"}

    machine.run("uninstall", name, "--name", "second")
    assert machine.files() == {}


@pytest.mark.parametrize("name", CLIENTS)
def test_uninstall_without_an_entry_says_so(machine: FreshMachine, name: str) -> None:
    """It is no error, and no file appears."""
    assert "has no server 'opencode'" in machine.run("uninstall", name)
    assert machine.files() == {}


@pytest.mark.parametrize("name", HTTP_ENTRIES)
def test_install_with_other_flags_replaces_only_its_entry(machine: FreshMachine, name: str) -> None:
    """What a person added to the entry stays; what only the other transport has goes; the undo is as before."""
    file, before = write_client_file(machine, name, "user")
    machine.run("install", name)
    client = CLIENTS[name]
    kept = {**STDIO_ENTRIES[name][client.container]["opencode"], "mine": True}
    text = FORMATS[client.format].put(file.read_text(), (client.container, "opencode"), kept)
    file.write_text(text)
    machine.run("install", name, *install_flags("user", "http", name))

    entry = FORMATS[client.format].read(file.read_text())[client.container]["opencode"]
    assert entry == {
        "mine": True,
        "timeout": entry.get("timeout"),
        **HTTP_ENTRIES[name][client.container]["opencode"],
    } or (entry == {"mine": True, **HTTP_ENTRIES[name][client.container]["opencode"]})
    machine.run("uninstall", name)
    assert list(machine.files().values()) == [before]


def test_a_choice_of_tools_is_not_widened(machine: FreshMachine) -> None:
    """Copilot CLI calls the tools that the entry lists: a second install keeps the user's list."""
    machine.run("install", "copilot")
    file = client_file(machine, "copilot", "user")
    file.write_text(file.read_text().replace('"*"', '"run_task"'))
    machine.run("install", "copilot", "--read-only")

    entry = read_client_file(file)["mcpServers"]["opencode"]
    assert (entry["tools"], "--read-only" in entry["args"]) == (["run_task"], True)


@pytest.mark.usefixtures("spawns")
@pytest.mark.anyio
@pytest.mark.parametrize("name", ["claude-code", "cursor", "opencode"])
async def test_the_command_of_the_entry_works(machine: FreshMachine, name: str) -> None:
    """Started as a client would, in a folder with a module that must not be taken for ours, it lists its tools."""
    (machine.project / "anyio.py").write_text("raise SystemExit('not this one')")
    machine.run("install", name)
    entry = read_client_file(client_file(machine, name, "user"))[CLIENTS[name].container]["opencode"]
    command = entry["command"] if name == "opencode" else [entry["command"], *entry["args"]]
    server = StdioServerParameters(command=command[0], args=command[1:], cwd=str(machine.project))

    async with Client(stdio_client(server)) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
    assert tools == set(ESSENTIAL_TOOLS) if name != "claude-code" else tools > set(ESSENTIAL_TOOLS)
