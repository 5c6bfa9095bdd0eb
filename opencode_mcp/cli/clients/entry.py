"""The entry for a client: the command that starts this server with the given settings, or its URL."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from opencode_mcp.catalog import Catalog
from opencode_mcp.connect import expected_generation
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.settings import DEFAULT_USERNAME, PASSWORD_VARIABLE, USERNAME_VARIABLE, Settings
from opencode_mcp.tools import VIEWS
from opencode_mcp.tools.selection import select_tools

from .client import TOKEN_VARIABLE, Client, Launch, Remote


def make_launch(
    client: Client, settings: Settings, variables: Sequence[str] = (), with_password: bool = False
) -> Launch:
    """Return how a client starts this server.

    Settings become arguments; credentials and `variables` go into the environment by name, or with `with_password` the
    credentials as plain text.

    Raises:
        SettingsError: `variables` or `with_password` is not possible.
    """
    passwords = settings.passwords if settings.urls else {}
    username = {USERNAME_VARIABLE: settings.username} if settings.urls and settings.username != DEFAULT_USERNAME else {}
    credentials = username | passwords
    if with_password and not passwords:
        raise SettingsError(f"--with-password needs --url or --server, and its {PASSWORD_VARIABLE}")
    if variables and not client.variable:
        raise SettingsError(
            f"--env: {client.title} cannot pass a variable on by name; add its value to the file by hand"
        )
    names = dict.fromkeys([*variables, *(() if with_password else credentials)])
    clear_values = tuple(credentials.items()) if with_password else ()
    program = server_command()
    return Launch(program[0], (*program[1:], *setting_flags(client, settings)), tuple(names), clear_values)


def server_command() -> tuple[str, ...]:
    """Return the absolute command that runs this server."""
    for name in (sys.argv[0], f"{sys.argv[0]}.exe"):
        script = Path(os.path.abspath(name))
        if script.stem == "opencode-mcp" and script.is_file():
            return (str(script),)
    # -P: else a module in the client's working directory could shadow one of this package.
    return (sys.executable, "-P", "-m", "opencode_mcp")


def setting_flags(client: Client, settings: Settings) -> Iterator[str]:
    """Yield the flags of the given settings, and of the client's preset if no tools are selected."""
    for setting, text in with_absolute_paths(settings).changed:
        if setting.has_flag and not setting.commands:
            yield from (setting.flag,) if setting.is_switch else (setting.flag, text)
    if not (settings.toolsets or settings.tools) and client.limits.preset != "all":
        yield from ("--toolsets", client.limits.preset)


def with_absolute_paths(settings: Settings) -> Settings:
    """Return settings that mean the same in any working directory: the client chooses that of the server."""
    return replace(
        settings,
        directory=settings.directory
        if settings.urls or not settings.directory
        else os.path.abspath(settings.directory),
        document=absolute(settings.document) if isinstance(settings.document, Path) else settings.document,
        log_file=settings.log_file and absolute(settings.log_file),
        ca_file=settings.ca_file and absolute(settings.ca_file),
    )


def absolute(path: Path) -> Path:
    """Return a path without `.` and `..`, from the root on."""
    return Path(os.path.abspath(path))


def make_remote(client: Client, settings: Settings, server_url: str, with_password: bool = False) -> Remote:
    """Return the URL for a client, with the token by variable name, or with `with_password` as plain text.

    Raises:
        SettingsError: the client does not accept the URL, or cannot name a variable.
    """
    address = client_url(client, settings, server_url)
    if settings.no_auth:
        return Remote(address)
    if with_password:
        if not settings.token:
            raise SettingsError(f"--with-password: {TOKEN_VARIABLE} is not set")
        return Remote(address, settings.token)
    if not client.variable:
        raise SettingsError(
            f"{client.title} cannot refer to a variable: --with-password writes {TOKEN_VARIABLE} as plain text, and "
            "--no-auth is for a server without a token"
        )
    return Remote(address, client.variable_reference(TOKEN_VARIABLE))


def client_url(client: Client, settings: Settings, server_url: str) -> str:
    """Return the URL for a client: the running server's, with the path of the toolset or the client's preset.

    Raises:
        SettingsError: the client does not accept URLs, the URL is not valid, or several toolsets are given.
    """
    if client.http is None:
        raise SettingsError(f"--http: {client.title} does not support it: {client.http_instead}")
    if urlsplit(server_url).scheme not in {"http", "https"}:
        raise SettingsError(f"--http {server_url!r} is not an http:// or https:// URL")
    chosen = {
        "--tools": settings.tools,
        "--exclude-tools": settings.exclude_tools,
        "--read-only": settings.read_only,
        "--no-destructive": settings.no_destructive,
        "--allow-directory": settings.allow_directory,
        "--show-secrets": settings.show_secrets,
        "--url": settings.url,
        "--server": settings.server,
    }
    for flag in (flag for flag, value in chosen.items() if value):
        raise SettingsError(f"{flag} belongs to the command that starts the server at {server_url}, not to its URL")
    toolsets = ",".join(settings.toolsets) or client.limits.preset
    bare = server_url.rstrip("/")
    if toolsets == "all" or any(urlsplit(bare).path.endswith(f"/{view}") for view in VIEWS):
        return server_url
    view = toolsets if toolsets in VIEWS else f"toolset/{toolsets}"
    if view not in VIEWS:
        raise SettingsError(f"--toolsets {toolsets}: a URL can select one toolset, essential or all")
    return f"{bare}/{view}"


def check_names(client: Client, name: str, settings: Settings) -> None:
    """Reject unknown tools, and a server name so long that the client would truncate or drop tool names.

    Raises:
        SettingsError: a tool is unknown, or the name is too long.
    """
    chosen = settings.toolsets or (() if settings.tools else (client.limits.preset,))
    catalog = Catalog.from_snapshot(expected_generation(settings))
    listed = select_tools(catalog, chosen, settings.tools, settings.exclude_tools).listed
    longest = client.limits.full_name.format(server=name, tool=max(listed, key=len, default=""))
    if len(longest) > client.limits.name_length:
        raise SettingsError(
            f"--name {name}: {client.title} allows tool names of {client.limits.name_length} characters, "
            f"and {longest} has {len(longest)}"
        )
