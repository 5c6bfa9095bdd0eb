"""`install` and `uninstall` for every client, scope and transport, in an empty home."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from opencode_mcp.cli.clients import CLIENTS
from opencode_mcp.cli.clients.change import BACKUP_SUFFIX, FORMATS
from opencode_mcp.tools.toolsets import ESSENTIAL_TOOLS

from .person import CLEAR, HTTP, PROJECT, STDIO, URL, USER, Person, filled, held, place


def cases() -> Iterator[Any]:
    """Every client, scope and transport that there is."""
    for name in CLIENTS:
        for scope, places in (("user", USER), ("project", PROJECT)):
            for transport, entries in (("stdio", STDIO), ("http", HTTP)):
                if name in places and name in entries:
                    yield pytest.param(name, scope, transport, id=f"{name}-{scope}-{transport}")


every_case = pytest.mark.parametrize(("name", "scope", "transport"), list(cases()))


def flags(scope: str, transport: str = "stdio", name: str = "") -> list[str]:
    """The flags for a scope and a transport; Zed cannot name a variable."""
    remote = ["--http", URL, *(["--with-password"] if name == "zed" else [])]
    return [*(["--project"] if scope == "project" else []), *(remote if transport == "http" else [])]


@pytest.fixture(autouse=True)
def token(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's token is known here."""
    monkeypatch.setenv("OPENCODE_MCP_TOKEN", CLEAR)


@every_case
def test_an_empty_home_gets_the_documented_entry(person: Person, name: str, scope: str, transport: str) -> None:
    """The file holds the entry in the client's own form, and nothing else was written."""
    person.run("install", name, *flags(scope, transport, name))

    file = place(person, name, scope)
    assert held(file) == (STDIO if transport == "stdio" else HTTP)[name]
    assert list(person.files()) == [str(file.relative_to(person.home.parent))]


@every_case
def test_uninstall_removes_a_file_that_install_created(person: Person, name: str, scope: str, transport: str) -> None:
    """No file is left, neither the client's nor a backup."""
    person.run("install", name, *flags(scope, transport, name))
    person.run("uninstall", name, *flags(scope))

    assert person.files() == {}


@every_case
def test_everything_else_stays_and_comes_back(person: Person, name: str, scope: str, transport: str) -> None:
    """Each line that was there is there, in its order; the backup and, after uninstall, the file are as before."""
    file, before = filled(person, name, scope)
    person.run("install", name, *flags(scope, transport, name))
    after = file.read_bytes()

    lines = iter(after.decode().replace("},", "}").splitlines())
    assert all(line in lines for line in before.decode().replace("},", "}").splitlines())
    client = CLIENTS[name]
    entry = FORMATS[client.format].read(after.decode())[client.container]["opencode"]
    assert entry == (STDIO if transport == "stdio" else HTTP)[name][client.container]["opencode"]
    assert file.with_name(file.name + BACKUP_SUFFIX).read_bytes() == before

    person.run("uninstall", name, *flags(scope))
    assert list(person.files().values()) == [before]


@every_case
def test_a_second_install_changes_nothing(person: Person, name: str, scope: str, transport: str) -> None:
    """The file and its backup keep their bytes, and the person is told."""
    filled(person, name, scope)
    person.run("install", name, *flags(scope, transport, name))
    once = person.files()

    assert "already has it" in person.run("install", name, *flags(scope, transport, name))
    assert person.files() == once


@every_case
def test_a_dry_run_writes_nothing(person: Person, name: str, scope: str, transport: str) -> None:
    """It shows a diff in which only the entry is added, for both commands."""
    file, _ = filled(person, name, scope)
    before = person.files()
    said = person.run("install", name, "--dry-run", *flags(scope, transport, name))

    assert f"--- {file}\n+++ {file}\n" in said
    assert person.files() == before

    person.run("install", name, *flags(scope, transport, name))
    installed = person.files()
    assert "\n-" in person.run("uninstall", name, "--dry-run", *flags(scope))
    assert person.files() == installed


@pytest.mark.parametrize("name", CLIENTS)
def test_what_a_person_adds_after_install_outlives_uninstall(person: Person, name: str) -> None:
    """Then the entry is cut out of the file as it is."""
    file, before = filled(person, name, "user")
    person.run("install", name)
    comment = b"# later\n" if file.suffix == ".toml" else b"// later\n"
    file.write_bytes(file.read_bytes() + comment)
    person.run("uninstall", name)

    assert person.files() == {str(file.relative_to(person.home.parent)): before + comment}


@pytest.mark.parametrize("name", CLIENTS)
def test_two_servers_come_and_go_one_by_one(person: Person, name: str) -> None:
    """Each name is an entry of its own, and the last to go takes the file along."""
    person.run("install", name)
    person.run("install", name, "--name", "second")
    person.run("uninstall", name)
    assert set(held(place(person, name, "user"))[CLIENTS[name].container]) == {"second"}

    person.run("uninstall", name, "--name", "second")
    assert person.files() == {}


@pytest.mark.parametrize("name", CLIENTS)
def test_uninstall_of_what_is_not_there_says_so(person: Person, name: str) -> None:
    """It is no error, and no file appears."""
    assert "has no server 'opencode'" in person.run("uninstall", name)
    assert person.files() == {}


@pytest.mark.parametrize("name", HTTP)
def test_install_with_other_flags_replaces_only_what_is_ours(person: Person, name: str) -> None:
    """What a person added to the entry stays; what only the other transport has goes; the undo is as before."""
    file, before = filled(person, name, "user")
    person.run("install", name)
    client = CLIENTS[name]
    kept = {**STDIO[name][client.container]["opencode"], "mine": True}
    text = FORMATS[client.format].put(file.read_text(), (client.container, "opencode"), kept)
    file.write_text(text)
    person.run("install", name, *flags("user", "http", name))

    entry = FORMATS[client.format].read(file.read_text())[client.container]["opencode"]
    assert entry == {"mine": True, "timeout": entry.get("timeout"), **HTTP[name][client.container]["opencode"]} or (
        entry == {"mine": True, **HTTP[name][client.container]["opencode"]}
    )
    person.run("uninstall", name)
    assert list(person.files().values()) == [before]


@pytest.mark.usefixtures("spawns")
@pytest.mark.anyio
@pytest.mark.parametrize("name", ["claude-code", "cursor", "opencode"])
async def test_the_command_of_the_entry_works(person: Person, name: str) -> None:
    """Started as a client would, in a folder with a module that must not be taken for ours, it lists its tools."""
    (person.project / "anyio.py").write_text("raise SystemExit('not this one')")
    person.run("install", name)
    entry = held(place(person, name, "user"))[CLIENTS[name].container]["opencode"]
    command = entry["command"] if name == "opencode" else [entry["command"], *entry["args"]]
    server = StdioServerParameters(command=command[0], args=command[1:], cwd=str(person.project))

    async with Client(stdio_client(server)) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
    assert tools == set(ESSENTIAL_TOOLS) if name != "claude-code" else tools > set(ESSENTIAL_TOOLS)
