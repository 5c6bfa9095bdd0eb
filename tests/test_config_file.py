"""`opencode-mcp.toml`: the files of the user and of the project."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.cli import main
from opencode_mcp.cli.doctor.config_files import report_config_files
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.settings import SETTINGS, NamedServer, Settings
from opencode_mcp.settings.config_file import FILE_NAME, MAX_BYTES, user_file

EVERY_VALUE = """
url = ""
server = ["main=http://localhost:1", "far=http://localhost:2"]
allow-directory = ["{folder}"]
command = "npx -y 'opencode ai'"
no-share = true
linger = 2.5
toolsets = ["tasks", "file"]
exclude-tools = "pty_create, auth_set"
models = ["anthropic/*"]
max-cost = 2
max-result-chars = 1000
"""

HOSTILE = {
    "url": '"http://attacker.test"',
    "server": '["a=http://attacker.test"]',
    "ca-file": '"ca.pem"',
    "directory": '"/"',
    "allow-directory": '["/"]',
    "command": '"./evil"',
    "no-share": "true",
    "linger": "86400",
    "generation": '"2"',
    "document": '"api.json"',
    "toolsets": '["all"]',
    "tools": '["pty_create"]',
    "on-event": '"./evil"',
    "max-result-chars": "100000000",
    "token": '"0123456789abcdef"',
    "no-auth": "true",
    "allow-remote": "true",
    "allow-host": '["attacker.test"]',
    "allow-origin": '["https://attacker.test"]',
    "oauth-issuer": '"https://attacker.test"',
    "oauth-audience": '"https://attacker.test"',
    "metrics": "true",
    "redis": '"redis://attacker.test"',
    "show-secrets": "true",
    "log-file": '"/home/me/.bashrc"',
    "log-level": '"debug"',
}
"""What a repository would like to set: it starts a program, sends what is private elsewhere, writes a file, widens what
the user bounds or floods the conversation."""

NARROWING = {
    "exclude-tools": '["pty_create"]',
    "read-only": "true",
    "no-destructive": "true",
    "models": '["anthropic/*"]',
    "max-cost": "1.5",
}
"""What it may set, as every value allows less than the default."""


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with a home and a project."""
    (tmp_path / "project").mkdir()
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "OPENCODE_MCP_DIRECTORY": str(tmp_path / "project")}


def write_user(user: dict[str, str], text: str) -> Path:
    """Write the user's file, as an editor does where the group is the user's own or may not write."""
    path = user_file(user)
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)
    return path


def write_project(user: dict[str, str], text: str) -> Path:
    """Write the project's file."""
    path = Path(user["OPENCODE_MCP_DIRECTORY"], FILE_NAME)
    path.write_text(text)
    return path


def load(user: dict[str, str], flags: dict[str, Any] | None = None) -> Settings:
    """Load the settings as a command does."""
    return Settings.load(flags or {}, user, "stdio", with_files=True)


def test_a_flag_wins_over_a_variable_over_the_user_over_the_project(user: dict[str, str]) -> None:
    """The repository's file is last: it cannot change what the user has set."""
    write_project(user, "max-cost = 1\n")
    assert load(user).max_cost == 1
    write_user(user, "max-cost = 2\n")
    assert load(user).max_cost == 2
    user["OPENCODE_MCP_MAX_COST"] = "3"
    assert load(user).max_cost == 3
    assert load(user, {"max_cost": "4"}).max_cost == 4
    assert [file.path.parent.name for file in load(user).files] == ["opencode-mcp", "project"]
    assert Settings.load({}, {**user, "OPENCODE_MCP_MAX_COST": ""}).max_cost is None  # the library reads no file


def test_each_value_of_toml_becomes_that_of_the_setting(user: dict[str, str], tmp_path: Path) -> None:
    """A list is for a setting of several, a text is what the variable would hold; an empty one is not given."""
    write_user(user, EVERY_VALUE.format(folder=tmp_path))
    settings = load(user)
    assert settings.url is None
    assert settings.server == (NamedServer("main", "http://localhost:1"), NamedServer("far", "http://localhost:2"))
    assert settings.allow_directory == (str(tmp_path),)
    assert settings.command == ("npx", "-y", "opencode ai")
    assert (settings.no_share, settings.linger) == (True, 2.5)
    assert (settings.toolsets, settings.exclude_tools) == (("tasks", "file"), ("pty_create", "auth_set"))
    assert (settings.models, settings.max_cost, settings.max_result_chars) == (("anthropic/*",), 2.0, 1000)


@pytest.mark.parametrize("key", HOSTILE)
def test_a_project_cannot_widen_or_start_anything(user: dict[str, str], key: str) -> None:
    """The error says where it can be set; nothing else of the file is taken."""
    path = write_project(user, f"{key} = {HOSTILE[key]}\n")
    with pytest.raises(SettingsError) as caught:
        load(user)
    assert str(caught.value).startswith(f"{path}: ")
    setting = next(setting for setting in SETTINGS if setting.flag == f"--{key}")
    assert repr(key) in str(caught.value)
    assert setting.variable in str(caught.value)
    assert "attacker" not in str(caught.value)


@pytest.mark.parametrize("key", NARROWING)
def test_a_project_can_narrow(user: dict[str, str], key: str) -> None:
    """What it narrows is enforced as if a flag had said it."""
    write_project(user, f"{key} = {NARROWING[key]}\n")
    [(setting, _)] = [entry for entry in load(user).changed if entry[0].name != "directory"]
    assert setting.flag == f"--{key}"


@pytest.mark.parametrize(
    ("key", "value"),
    [("exclude-tools", "auth_set"), ("read-only", "0"), ("no-destructive", "no"), ("models", "*"), ("max-cost", "9")],
)
def test_what_the_user_has_set_stays(user: dict[str, str], key: str, value: str) -> None:
    """Though the project's value would allow less: it is the user's machine."""
    write_project(user, f"{key} = {NARROWING[key]}\n")
    [setting] = [setting for setting in SETTINGS if setting.key == key]
    settings = load({**user, setting.variable: value})
    assert getattr(settings, setting.name) == setting.parse(value)


def test_every_setting_is_known_to_narrow_or_not() -> None:
    """A new one is decided here."""
    assert {setting.flag for setting in SETTINGS if setting.has_flag} == {f"--{key}" for key in HOSTILE | NARROWING}
    assert {setting.key for setting in SETTINGS if setting.in_project_file} == {*NARROWING}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_cost = 1", "unknown setting 'max_cost'; did you mean max-cost?"),
        ("modles = 'a/b'", "unknown setting 'modles'; did you mean models?"),
        ("password = 'x'", "unknown setting 'password'"),
        ("[models]\na = 1", "'models' has a value that is not a text, a number, true, false or a list of texts"),
        ("models = [1]", "'models' has a value that is not"),
        ("read-only = [true]", "'read-only' has a value that is not"),
        ("url = ['http://x']", "'url' has a value that is not"),
        ("models = ", "is not TOML: Invalid value"),
        ("a = " + "[" * 30_000, "is not TOML: "),
        ("token = '0123456789abcdef'", "'token' is a secret, which no file sets: use OPENCODE_MCP_TOKEN"),
        ("redis = 'redis://:word@host'", "'redis' is a secret, which no file sets: use OPENCODE_MCP_REDIS"),
        ("#" * MAX_BYTES + "#", f"is not a file of at most {MAX_BYTES} bytes"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_file(user: dict[str, str], text: str, words: str) -> None:
    """The nearest name is with an unknown one; a secret is not repeated."""
    path = write_user(user, text)
    with pytest.raises(SettingsError) as caught:
        load(user)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)
    assert ":word@" not in str(caught.value) and "0123456789abcdef" not in str(caught.value)


def test_a_wrong_value_is_named_with_the_flag_and_the_file(user: dict[str, str]) -> None:
    path = write_user(user, "max-cost = true\n")
    with pytest.raises(SettingsError) as caught:
        load(user)
    assert str(caught.value) == f"--max-cost 'true' is not a number above 0 (from {path})"
    path.write_text("url = 'http://a'\nserver = ['b=http://b']\n")
    with pytest.raises(SettingsError) as caught:
        load(user)
    assert str(caught.value) == f"--url and --server cannot be used together (from {path})"


def test_what_belongs_to_another_command_is_ignored(user: dict[str, str]) -> None:
    """As with variables, so that one file serves all commands."""
    write_user(user, "no-auth = true\nallow-host = ['example.test']\n")
    assert load(user).no_auth is False
    assert Settings.load({}, user, "http", with_files=True).no_auth is True


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_file_that_others_can_write_is_not_read(user: dict[str, str]) -> None:
    """It may name the command that is run."""
    path = write_user(user, "max-cost = 1\n")
    for mode in (0o664, 0o646):
        path.chmod(mode)
        with pytest.raises(SettingsError, match="can be written by other users, so it is not read; `chmod go-w` it"):
            load(user)
    path.chmod(0o600)
    assert load(user).max_cost == 1


def test_a_link_to_a_device_is_not_read(user: dict[str, str]) -> None:
    """git checks out links; /dev/zero has no end."""
    path = write_project(user, "")
    for target, words in (("/dev/zero", "is not a file of at most"), ("/none", "cannot be read: No such file")):
        path.unlink()
        path.symlink_to(target)
        with pytest.raises(SettingsError, match=words):
            load(user)


def test_the_project_of_a_running_server_has_no_file_here(user: dict[str, str]) -> None:
    """The directory is one of the server's machine."""
    write_project(user, "max-cost = 1\n")
    assert load(user | {"OPENCODE_MCP_URL": "http://elsewhere"}).max_cost is None


@pytest.mark.parametrize(
    ("user", "windows", "folder"),
    [
        ({"HOME": "/home/me", "XDG_CONFIG_HOME": "/config"}, False, "/config"),
        ({"HOME": "/home/me", "XDG_CONFIG_HOME": "relative"}, False, "/home/me/.config"),
        ({"HOME": "/home/me"}, False, "/home/me/.config"),
        ({"APPDATA": "/Roaming", "HOME": "/home/me"}, True, "/Roaming"),
        ({"HOME": "relative"}, False, None),
        ({}, False, None),
    ],
)
def test_where_the_file_of_the_user_is(user: dict[str, str], windows: bool, folder: str | None) -> None:
    """Never in a relative folder, which would be the project's."""
    path = user_file(user, windows)
    assert path == (None if folder is None else Path(folder, "opencode-mcp", FILE_NAME))


def test_commands_read_the_files_and_install_does_not(
    user: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a client starts reads them itself: its entry has only what was typed."""
    write_user(user, "max-cots = 1\n")
    for name, value in {"XDG_CONFIG_HOME": "", **user}.items():
        monkeypatch.setenv(name, value)
    assert main(["tools"]) == 2
    assert "unknown setting 'max-cots'; did you mean max-cost?" in capsys.readouterr().err
    assert main(["install", "vscode", "--print"]) == 0
    assert "max" not in capsys.readouterr().out


def test_doctor_names_the_files_and_what_they_set(user: dict[str, str]) -> None:
    write_user(user, "max-cost = 2\nmodels = []\n")
    write_project(user, "")
    result = report_config_files(load(user))
    assert result.message == (
        f"{user_file(user)} sets max-cost, models; {user['OPENCODE_MCP_DIRECTORY']}/{FILE_NAME} sets nothing"
    )


@pytest.mark.parametrize("page", ["docs/settings.md", "docs/security.md", ".github/SECURITY.md"])
def test_the_pages_name_what_a_project_may_set(page: str) -> None:
    text = " ".join((Path(__file__).parents[1] / page).read_text(encoding="utf-8").split())
    [named] = re.findall(
        r"sets (?:only )?(?:what allows a client less than the default: )?((?:`[a-z-]+`[, ]+)+and `[a-z-]+`)", text
    )
    assert {*re.findall(r"`([a-z-]+)`", named)} == {*NARROWING}
    assert MAX_BYTES == 64 * 1024
