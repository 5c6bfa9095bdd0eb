"""Where the clients' files are, and how one is changed without touching what else is in it."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from copy import deepcopy
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as some

from opencode_mcp.cli.clients import CLIENTS, Machine, jsonc, toml

from .fresh_machine import STDIO_ENTRIES, USER_FILES, FreshMachine, client_file, read_client_file

KEYS = ("mcpServers", "opencode")
ENTRY = {"command": "x", "args": ["y"]}
COMMENTS = ("// c", "/* d */")
GAPS = some.sampled_from(["", " ", "\n", "\r\n\t", "\n  ", " // c\n", "/* d */"])
LEAVES = some.one_of(
    some.none(), some.booleans(), some.integers(), some.text(max_size=4).map(lambda text: text + '"//{')
)
VALUES = some.recursive(
    LEAVES, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner, max_size=3)
)


@some.composite
def texts(draw: some.DrawFn) -> str:
    """JSON with comments and trailing commas wherever they may be."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            members = cast("dict[str, Any]", value).items()
            parts = [f"{text(key)}{draw(GAPS)}:{draw(GAPS)}{text(element)}" for key, element in members]
            opening, closing = "{}"
        elif isinstance(value, list):
            parts, (opening, closing) = [text(element) for element in cast("list[Any]", value)], "[]"
        else:
            return json.dumps(value)
        inner = f"{draw(GAPS)},{draw(GAPS)}".join(parts) + ("," if parts and draw(some.booleans()) else "")
        return f"{opening}{draw(GAPS)}{inner}{draw(GAPS)}{closing}"

    servers: some.SearchStrategy[Any] = some.dictionaries(some.text(max_size=3), VALUES, max_size=2)
    optional: dict[str, some.SearchStrategy[Any]] = {"a": VALUES, "mcpServers": servers, "z": VALUES}
    whole = draw(some.fixed_dictionaries({}, optional=optional))
    return draw(GAPS) + text(whole) + draw(GAPS)


@given(texts())
def test_an_entry_is_added_to_any_json_and_removed_again(text: str) -> None:
    """Whatever comments and commas there are, the rest keeps its value, and every comment stays."""
    before = jsonc.read(text)
    with_entry, expected = jsonc.put(text, KEYS, ENTRY), deepcopy(before)
    expected.setdefault(KEYS[0], {})[KEYS[1]] = ENTRY
    assert jsonc.read(with_entry) == expected

    changed = jsonc.put(with_entry, KEYS, {})
    assert jsonc.read(changed) == {**expected, KEYS[0]: {**expected[KEYS[0]], KEYS[1]: {}}}

    without = jsonc.drop(changed, KEYS)
    assert jsonc.read(without) == {**before, KEYS[0]: before.get(KEYS[0], {})}
    assert [without.count(comment) for comment in COMMENTS] == [text.count(comment) for comment in COMMENTS]


@pytest.mark.parametrize(
    "text", ["{", "[]", "{} {}", '{"a"}', '{"a": 1 "b": 2}', '{"a": [1 2]}', '{"a": }', "{/*", '{"a": tru}', "{,}"]
)
def test_broken_json_is_refused(text: str) -> None:
    """The line is named."""
    with pytest.raises(ValueError, match=r"^line 1: "):
        jsonc.read(text)


def test_a_table_is_changed_in_its_place() -> None:
    """The tables below it and around it, and comments, are told apart."""
    text = "[m.o]\ncommand = 1\n[m.o.env]\nA = 1\n\n# of x\n[x]\ny = [\n  [1],\n]\n\n[m.o.tools]\nB = 1\n"

    assert toml.put(text, ("m", "o"), {"a b": {"c": [True]}}) == (
        '[m.o]\n"a b" = { c = [true] }\n\n# of x\n[x]\ny = [\n  [1],\n]\n\n'
    )
    assert toml.drop(text, ("m", "o")) == "# of x\n[x]\ny = [\n  [1],\n]\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("cursor", b'{"mcpServers": {,}}', id="broken-json"),
        pytest.param("cursor", b"[]", id="no-object"),
        pytest.param("cursor", b'{"mcpServers": []}', id="servers-are-a-list"),
        pytest.param("cursor", b"\xff{}", id="not-utf-8"),
        pytest.param("codex", b"x = ", id="broken-toml"),
        pytest.param("codex", b"mcp_servers = { a = { command = 'b' } }\n", id="inline-table"),
    ],
)
def test_a_file_that_cannot_be_changed_safely_is_not_written(machine: FreshMachine, name: str, text: bytes) -> None:
    """The person is told which file it is."""
    file = client_file(machine, name, "user")
    file.parent.mkdir(parents=True)
    file.write_bytes(text)

    assert str(file) in machine.run("install", name, code=2)
    assert list(machine.files().values()) == [text]


def test_an_existing_jsonc_file_of_opencode_is_used(machine: FreshMachine) -> None:
    """The first of a client's files that exists counts."""
    file = machine.home / ".config/opencode/opencode.jsonc"
    file.parent.mkdir(parents=True)
    file.write_text("{\n  // nothing yet\n}\n")
    machine.run("install", "opencode")

    assert '{\n  // nothing yet\n  "mcp": {\n' in file.read_text()
    machine.run("uninstall", "opencode")
    assert list(machine.files().values()) == [b"{\n  // nothing yet\n}\n"]


def test_symlinks_and_file_modes_are_kept(machine: FreshMachine) -> None:
    """Dotfiles are often links into a repository."""
    real = machine.home / "dotfiles.json"
    real.write_text("{}")
    real.chmod(0o640)
    link = machine.home / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(real)
    machine.run("install", "cursor")

    assert link.is_symlink()
    assert read_client_file(real) == STDIO_ENTRIES["cursor"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_windows_line_endings_and_a_byte_order_mark_are_kept(machine: FreshMachine) -> None:
    """What is added has the line ends of the file."""
    file = machine.home / USER_FILES["cursor"]
    file.parent.mkdir()
    file.write_bytes(b'\xef\xbb\xbf{\r\n\t"mcpServers": {\r\n\t\t"a": {}\r\n\t}\r\n}\r\n')
    before = file.read_bytes()
    machine.run("install", "cursor")

    after = file.read_bytes()
    assert after.startswith(
        b'\xef\xbb\xbf{\r\n\t"mcpServers": {\r\n\t\t"a": {},\r\n\t\t"opencode": {\r\n\t\t\t"command"'
    )
    assert after.count(b"\n") == after.count(b"\r\n")
    machine.run("uninstall", "cursor")
    assert file.read_bytes() == before


LINUX = (PurePosixPath("/home/me"), "linux")
MAC = (PurePosixPath("/Users/me"), "darwin")
WINDOWS = (PureWindowsPath("C:/Users/me"), "win32")
SUPPORT = "Library/Application Support"
ROAMING = "AppData/Roaming"


@pytest.mark.parametrize(
    ("name", "linux", "mac", "windows"),
    [
        ("claude-code", ".claude.json", ".claude.json", ".claude.json"),
        ("claude-desktop", ".config/Claude/{}", f"{SUPPORT}/Claude/{{}}", f"{ROAMING}/Claude/{{}}"),
        ("cursor", ".cursor/mcp.json", ".cursor/mcp.json", ".cursor/mcp.json"),
        ("vscode", ".config/Code/User/{}", f"{SUPPORT}/Code/User/{{}}", f"{ROAMING}/Code/User/{{}}"),
        ("codex", ".codex/config.toml", ".codex/config.toml", ".codex/config.toml"),
        ("gemini", ".gemini/settings.json", ".gemini/settings.json", ".gemini/settings.json"),
        ("windsurf", *[".codeium/windsurf/mcp_config.json"] * 3),
        ("zed", ".config/zed/{}", ".config/zed/{}", f"{ROAMING}/Zed/{{}}"),
        ("opencode", *[".config/opencode/opencode.json"] * 3),
        ("copilot", *[".copilot/mcp-config.json"] * 3),
        ("qwen", *[".qwen/settings.json"] * 3),
        ("cline", *[".cline/data/settings/cline_mcp_settings.json"] * 3),
        ("continue", *[".continue/mcpServers/opencode-mcp.json"] * 3),
        ("kiro", *[".kiro/settings/mcp.json"] * 3),
        ("amp", *[".config/amp/settings.json"] * 3),
        ("junie", *[".junie/mcp/mcp.json"] * 3),
        ("kilo", *[".config/kilo/kilo.json"] * 3),
        ("warp", *[".warp/.mcp.json"] * 3),
        ("visual-studio", *[".mcp.json"] * 3),
    ],
)
def test_each_platform_has_its_file_locations(name: str, linux: str, mac: str, windows: str) -> None:
    """The file is where the client looks for it."""
    file = {"claude-desktop": "claude_desktop_config.json", "vscode": "mcp.json", "zed": "settings.json"}.get(name, "")
    for (home, platform), expected in ((LINUX, linux), (MAC, mac), (WINDOWS, windows)):
        assert CLIENTS[name].user(Machine(home, {}, platform))[0] == home / expected.format(file)


@pytest.mark.parametrize(
    ("name", "machine", "environ", "expected"),
    [
        ("vscode", WINDOWS, {"APPDATA": "D:/Roaming"}, PureWindowsPath("D:/Roaming/Code/User/mcp.json")),
        ("zed", LINUX, {"XDG_CONFIG_HOME": "/etc/me"}, PurePosixPath("/etc/me/zed/settings.json")),
        ("zed", MAC, {"XDG_CONFIG_HOME": "/etc/me"}, PurePosixPath("/Users/me/.config/zed/settings.json")),
        ("opencode", MAC, {"XDG_CONFIG_HOME": "/etc/me"}, PurePosixPath("/etc/me/opencode/opencode.json")),
        ("codex", LINUX, {"CODEX_HOME": "/codex"}, PurePosixPath("/codex/config.toml")),
        ("copilot", LINUX, {"COPILOT_HOME": "/copilot"}, PurePosixPath("/copilot/mcp-config.json")),
        ("cline", LINUX, {"CLINE_MCP_SETTINGS_PATH": "/cline.json"}, PurePosixPath("/cline.json")),
        (
            "continue",
            LINUX,
            {"CONTINUE_GLOBAL_DIR": "/continue"},
            PurePosixPath("/continue/mcpServers/opencode-mcp.json"),
        ),
        ("claude-code", LINUX, {"CLAUDE_CONFIG_DIR": "/claude"}, PurePosixPath("/claude/.claude.json")),
    ],
)
def test_environment_variables_change_the_file_locations(
    name: str, machine: tuple[PurePath, str], environ: Mapping[str, str], expected: PurePath
) -> None:
    """Each client's own variable counts."""
    home, platform = machine

    assert CLIENTS[name].user(Machine(home, environ, platform))[0] == expected
