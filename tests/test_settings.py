"""Settings: a flag over an environment variable over the default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.settings import SETTINGS, NamedServer, Setting, Settings
from opencode_mcp.settings.parsing import ORDINARY_URL, is_http_url

UNUSUAL_URL = re.compile(
    r"\s?https?://[\w.@ä-]*(?:[0-9]{1,3}(?:\.[0-9]{1,3}){1,3}|\[[0-9a-f:.v]*\])?(?::[0-9]*)?[/\s]?"
)

VARIABLES = {setting.name: setting.variable for setting in SETTINGS}
"""The environment variable of each setting."""

GIVEN = {
    "url": ("http://flag.test", "http://variable.test"),
    "directory": ("/flag", "/variable"),
    "command": ("flag-opencode", "variable-opencode"),
    "document": ("/flag.json", "/variable.json"),
    "log_level": ("debug", "error"),
}
"""For each flag a value, and another for its variable."""


EXAMPLES = {
    "url": "http://localhost",
    "server": (NamedServer("a", "http://x"), NamedServer("b", "http://y")),
    "password": "secret",
    "password_2": "other secret",
    "ca_file": Path("/ca.pem"),
    "directory": "/project",
    "allow_directory": ("/one", "/two"),
    "command": ("npx", "-y", "opencode ai"),
    "toolsets": ("tasks", "file"),
    "models": ("anthropic/*", "openai/gpt-5*"),
    "max_cost": 2.5,
    "on_event": "jq -r '.message' | wall",
    "token": 16 * "t",
    "oauth_issuer": "https://issuer",
    "oauth_audience": "https://audience",
    "redis": "redis://localhost",
    "state_key": 32 * "k",
    "log_file": Path("/log"),
}
"""A value of each setting whose default is none."""


@pytest.mark.parametrize("name", GIVEN)
def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default(name: str) -> None:
    """Each setting can be given both ways."""
    flag, variable = GIVEN[name]
    base = {"OPENCODE_MCP_URL": "http://localhost"}
    environ = {**base, VARIABLES[name]: variable}

    assert setting_texts(Settings.load({name: flag}, environ))[name] == flag
    assert setting_texts(Settings.load({name: None}, environ))[name] == variable
    assert setting_texts(Settings.load({}, base)).get(name) not in {flag, variable}


def setting_texts(settings: Settings) -> dict[str, str]:
    """Return what was given, by setting."""
    return {setting.name: text for setting, text in settings.changed}


def test_every_value_has_its_type() -> None:
    """They are parsed once, when they are loaded."""
    flags = {
        "server": ["main=http://localhost:1", "far=http://localhost:2"],
        "ca_file": "ca.pem",
        "allow_directory": ["/one", "/two"],
        "command": "npx -y 'opencode ai'",
        "document": "api.json",
        "toolsets": "tasks, file",
        "read_only": "Yes",
        "no_destructive": "off",
        "max_result_chars": "1000",
    }
    settings = Settings.load(flags, {})

    assert settings.server == (
        NamedServer("main", "http://localhost:1"),
        NamedServer("far", "http://localhost:2"),
    )
    assert (settings.ca_file, settings.document) == (Path("ca.pem"), Path("api.json"))
    assert settings.allow_directory == ("/one", "/two")
    assert settings.command == ("npx", "-y", "opencode ai")
    assert settings.toolsets == ("tasks", "file")
    assert (settings.read_only, settings.no_destructive) == (True, False)
    assert settings.max_result_chars == 1000
    assert (settings.url, settings.password, settings.log_file) == (None, None, None)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_formatted_value_parses_to_the_same_value(setting: Setting) -> None:
    """`format` and `parse` are inverse to each other, as entries of clients repeat the flags that were given."""
    value = EXAMPLES.get(setting.name, setting.default)

    assert setting.parse(setting.format(value)) == value


def test_an_error_names_the_variable_if_the_value_comes_from_there() -> None:
    """The flag is named always, as `--help` explains it."""
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {"OPENCODE_MCP_MAX_RESULT_CHARS": "12"})
    told = "--max-result-chars '12' is not a number of at least 1000 (from OPENCODE_MCP_MAX_RESULT_CHARS)"
    assert str(caught.value) == told

    with pytest.raises(SettingsError) as caught:
        Settings.load({"server": ["a=http://x"]}, {"OPENCODE_MCP_URL": "http://y"})
    assert str(caught.value) == "--url and --server cannot be used together (from OPENCODE_MCP_URL)"

    with pytest.raises(SettingsError) as caught:
        Settings.load({"log_level": "loud"}, {"OPENCODE_MCP_LOG_LEVEL": "info"})
    assert str(caught.value) == "--log-level 'loud' is not one of debug, info, warning, error"


@pytest.mark.parametrize("nothing", ["", "${user_config.anything}"])
@pytest.mark.parametrize("name", [*GIVEN, "username", "password"])
def test_an_empty_value_and_an_unfilled_placeholder_are_ignored(name: str, nothing: str) -> None:
    """A bundle's manifest passes every variable, the unset ones empty or as they stand in it."""
    environ = {**dict.fromkeys(VARIABLES.values(), nothing), "OPENCODE_MCP_URL": "http://localhost"}
    default = Settings.load({}, {"OPENCODE_MCP_URL": "http://localhost"})

    assert getattr(Settings.load({name: nothing}, environ), name) == getattr(default, name)


def test_an_empty_flag_does_not_hide_the_variable() -> None:
    """A script that passes `--directory "$1"` gets the variable when it was given nothing."""
    settings = Settings.load({"directory": ""}, {"OPENCODE_MCP_DIRECTORY": "/variable", "OPENCODE_MCP_URL": "http://x"})

    assert settings.directory == "/variable"


def test_credentials_come_from_the_variables_that_opencode_itself_reads() -> None:
    """No flag has them, as command lines can be seen by others."""
    environ = {"OPENCODE_SERVER_USERNAME": "me", "OPENCODE_SERVER_PASSWORD": "secret"}
    settings = Settings.load({}, environ)

    assert (settings.username, settings.password) == ("me", "secret")
    assert Settings.load({}, {}).username == "opencode"


def test_a_password_is_not_shown() -> None:
    """Neither is the environment, which holds it and more."""
    settings = Settings.load({}, {"OPENCODE_SERVER_PASSWORD": "the-secret", "OTHER_TOKEN": "the-token"})

    assert "the-secret" not in repr(settings)
    assert "the-token" not in repr(settings)


def test_several_servers_are_given_by_flags_or_by_one_variable() -> None:
    """Each has a name; the order is that in which they were given."""
    urls = {"main": "http://localhost:1", "far-away": "https://example.test/opencode"}
    given = [f"{name}={url}" for name, url in urls.items()]

    assert Settings.load({"server": given}, {}).urls == urls
    assert Settings.load({}, {"OPENCODE_MCP_SERVERS": ", ".join(given)}).urls == urls
    assert list(Settings.load({"server": given[::-1]}, {}).urls) == ["far-away", "main"]
    assert Settings.load({"url": "http://localhost:1"}, {}).urls == {"": "http://localhost:1"}
    assert Settings.load({"server": given}, {}).project_directory is None


def test_a_server_has_its_own_password_or_the_shared_one() -> None:
    """An empty variable counts as not given, and none of them is shown."""
    environ = {
        "OPENCODE_MCP_SERVERS": "main=http://localhost:1,far-away=http://localhost:2,third=http://localhost:3",
        "OPENCODE_SERVER_PASSWORD": "of-all",
        "OPENCODE_SERVER_PASSWORD_FAR_AWAY": "of-its-own",
        "OPENCODE_SERVER_PASSWORD_THIRD": "",
        "OPENCODE_SERVER_PASSWORD_UNKNOWN": "of-nobody",
    }
    settings = Settings.load({}, environ)

    assert [settings.password_of(name) for name in settings.urls] == ["of-all", "of-its-own", "of-all"]
    assert settings.own_passwords == {"OPENCODE_SERVER_PASSWORD_FAR_AWAY": "of-its-own"}
    assert "of-its-own" not in repr(settings)
    assert Settings.load({"server": ["main=http://localhost"]}, {}).password_of("main") is None


def test_replica_secrets_are_not_shown() -> None:
    """A URL of Redis may hold a password; neither it nor the key is shown, be it wrong or right."""
    base = {"OPENCODE_MCP_URL": "http://localhost"}
    key, redis = "the key of the replicas, which is long", "redis://:the-password@localhost"
    settings = Settings.load({}, {**base, "OPENCODE_MCP_STATE_KEY": key, "OPENCODE_MCP_REDIS": redis}, "http")
    assert (settings.state_key, settings.redis) == (key, redis)
    assert key not in repr(settings)
    assert "the-password" not in repr(settings)

    with pytest.raises(SettingsError) as caught:
        Settings.load({}, {**base, "OPENCODE_MCP_REDIS": "rediss//:the-password@localhost"}, "http")
    assert "the-password" not in str(caught.value)


@pytest.mark.parametrize("command", [None, "stdio", "call"])
def test_a_variable_of_one_command_is_ignored_by_others(command: str | None) -> None:
    """Neither is it taken, nor is it an error there that it makes no sense. Secret it is all the same."""
    variables = {"OPENCODE_MCP_TOKEN": "short", "OPENCODE_MCP_METRICS": "perhaps", "OPENCODE_MCP_REDIS": "redis://[:no"}
    settings = Settings.load({}, variables, command)

    assert (settings.token, settings.metrics, settings.redis) == (None, False, None)
    assert settings.secrets == {"short", "redis://[:no"}
    with pytest.raises(SettingsError):
        Settings.load({}, variables, "http")


def test_the_token_is_a_setting_of_http_and_install() -> None:
    """`install --http` writes it into an entry."""
    for command in ("http", "install"):
        assert Settings.load({}, {"OPENCODE_MCP_TOKEN": 16 * "t"}, command).token == 16 * "t"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"url": "localhost:4096"}, "--url 'localhost:4096' is not an http:// or https:// URL"),
        ({"url": "ftp://localhost"}, "--url 'ftp://localhost' is not an http:// or https:// URL"),
        ({"url": "http://"}, "--url 'http://' is not an http:// or https:// URL"),
        ({"url": "http://localhost:port"}, "--url 'http://localhost:port' is not an http:// or https:// URL"),
        ({"url": "http://300.1.1.1"}, "--url 'http://300.1.1.1' is not an http:// or https:// URL"),
        ({"url": "http://[v1.x]"}, "--url 'http://[v1.x]' is not an http:// or https:// URL"),
        ({"url": "http://ä..b"}, "--url 'http://ä..b' is not an http:// or https:// URL"),
        ({"url": "http://-ä-"}, "--url 'http://-ä-' is not an http:// or https:// URL"),
        ({"url": " http://localhost"}, "--url ' http://localhost' is not an http:// or https:// URL"),
        ({"url": "http://localhost\n"}, "--url 'http://localhost\\n' is not an http:// or https:// URL"),
        ({"server": ["a=http://300.1.1.1"]}, "--server 'a=http://300.1.1.1' is not NAME=URL"),
        ({"server": ["http://localhost"]}, "--server 'http://localhost' is not NAME=URL"),
        ({"server": ["Main=http://localhost"]}, "--server 'Main=http://localhost' is not NAME=URL"),
        ({"server": ["main=localhost:4096"]}, "--server 'main=localhost:4096' is not NAME=URL"),
        (
            {"server": ["a=http://x", "b=http://y", "a=http://z"]},
            "--server 'a=http://z': another server is already named 'a'",
        ),
        ({"server": ["a=http://x"], "url": "http://y"}, "--url and --server cannot be used together"),
        ({"document": "live"}, "--document live reads the document from --url or --server"),
        ({"log_level": "loud"}, "--log-level 'loud' is not one of debug, info, warning, error"),
        ({"directory": "/no/such/folder"}, "--directory '/no/such/folder' is not a directory"),
        ({"command": "opencode 'unclosed"}, '--command "opencode \'unclosed"'),
        ({"redis": "http://localhost", "url": "http://x"}, "--redis is not a redis://, rediss:// or unix:// URL"),
        ({"redis": "redis://localhost"}, "--redis is for replicas that share the OpenCode at --url"),
        ({"state_key": "short"}, "OPENCODE_MCP_STATE_KEY has 5 characters, and must have at least 32"),
    ],
)
def test_an_invalid_value_is_an_error_that_names_the_flag(flags: dict[str, Any], words: str) -> None:
    """Whoever gave it by a variable finds that in the help of the flag."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(flags, {})
    assert words in str(caught.value)


@given(url=st.from_regex(ORDINARY_URL, fullmatch=True) | st.from_regex(UNUSUAL_URL, fullmatch=True))
def test_a_valid_url_is_one_for_the_client(url: str) -> None:
    """Of a URL that is taken without it the host is the same, and of another one it is valid."""
    if is_http_url(url):
        parsed = httpx2.URL(url)
        assert (parsed.scheme, bool(parsed.host)) == (url.partition(":")[0].lower(), True)
        assert not ORDINARY_URL.fullmatch(url) or parsed.host == urlsplit(url).hostname


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:4096",
        "http://127.0.0.1:4096/",
        "https://opencode:secret@DEV-7.example.test:8443/opencode",
        "http://192.168.100.255",
        "http://host.docker.internal:4096/a?b=c",
    ],
)
def test_an_ordinary_url_needs_no_import(url: str) -> None:
    """That of the HTTP client would delay the answer to `initialize`."""
    assert ORDINARY_URL.fullmatch(url)
    assert is_http_url(url)


@pytest.mark.parametrize("url", ["http://[::1]:4096", "http://bücher.example", "http://a_b:80", "HTTP://localhost"])
def test_an_unusual_url_is_valid_too(url: str) -> None:
    """An IPv6 address, or a name in another script."""
    assert not ORDINARY_URL.fullmatch(url)
    assert Settings.load({"url": url}, {}).url == url


def test_the_project_of_a_managed_opencode_is_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is made absolute, as OpenCode may have another working directory."""
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path)

    assert Settings.load({}, {}).project_directory == str(tmp_path)
    assert Settings.load({"directory": "inner"}, {}).project_directory == str(tmp_path / "inner")


def test_an_attached_server_has_no_default_project() -> None:
    """Our working directory means nothing to it; a path that is given need not be there for us."""
    assert Settings.load({"url": "http://elsewhere"}, {}).project_directory is None
    assert Settings.load({"url": "http://elsewhere", "directory": "C:\\work"}, {}).project_directory == "C:\\work"


def test_a_command_may_have_arguments() -> None:
    """It is split as a shell would split it."""
    settings = Settings.load({"command": "npx -y 'opencode ai'"}, {})

    assert settings.command == ("npx", "-y", "opencode ai")
    assert Settings.load({}, {}).command == ()
