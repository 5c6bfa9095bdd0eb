"""The entry that a client is to have: how this server is started with the settings that were given, or its URL."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.openapi import Catalog
from opencode_mcp.settings import Settings
from opencode_mcp.tools import VIEWS
from opencode_mcp.tools.toolsets import select

from .table import TOKEN, Client, Launch, Remote

CREDENTIALS = ("username", "password")


def launch(client: Client, settings: Settings, variables: Sequence[str] = (), with_password: bool = False) -> Launch:
    """Return how a client starts this server.

    Settings go into the arguments, credentials and the variables that were named into the
    environment: by name, or the credentials in clear when that was asked for.

    Raises:
        SettingsError: `variables` or `with_password` cannot be done.
    """
    given = {credential(name): getattr(settings, name) for name in CREDENTIALS if not is_default(settings, name)}
    given = given | settings.own_passwords if settings.urls else {}
    if with_password and not given.keys() - {credential("username")}:
        raise SettingsError(f"--with-password: there has to be a --url or --server, and its {credential('password')}")
    if variables and not client.variable:
        raise SettingsError(
            f"--env: {client.title} has no way to pass a variable on by its name; put its value into the file by hand"
        )
    names = dict.fromkeys([*variables, *(() if with_password else given)])
    clear = tuple(given.items()) if with_password else ()
    program = command()
    return Launch(program[0], (*program[1:], *flags(client, settings)), tuple(names), clear)


def command() -> tuple[str, ...]:
    """Return the absolute command that runs this server."""
    for name in (sys.argv[0], f"{sys.argv[0]}.exe"):
        script = Path(os.path.abspath(name))
        if script.stem == "opencode-mcp" and script.is_file():
            return (str(script),)
    # -P: else a module of the folder that the client works in could take the place of one of ours.
    return (sys.executable, "-P", "-m", "opencode_mcp")


def flags(client: Client, settings: Settings) -> Iterator[str]:
    """Yield the flags for the settings that were given, and for the client's preset if no tools were chosen."""
    chosen = settings.toolsets or settings.tools
    for one in fields(Settings):
        if not one.metadata or one.name in CREDENTIALS or is_default(settings, one.name) or "only" in one.metadata:
            continue
        flag = f"--{one.name.replace('_', '-')}"
        value = getattr(settings, one.name)
        if one.metadata.get("switch"):
            if settings.is_on(one.name):
                yield flag
        # The client starts it in a folder of its own choice.
        elif (
            (one.name == "directory" and not settings.urls)
            or (one.name == "document" and value not in ("bundled", "live"))
            or one.name in ("log_file", "ca_file")
        ):
            yield from (flag, os.path.abspath(value))
        else:
            yield from (flag, value)
    if not chosen and client.limits.preset != "all":
        yield from ("--toolsets", client.limits.preset)


def remote(client: Client, settings: Settings, given: str, with_password: bool = False) -> Remote:
    """Return the URL for a client, with the token by its variable's name, or in clear when that was asked for.

    Raises:
        SettingsError: the client takes no such URL, or cannot name a variable.
    """
    address = url(client, settings, given)
    if settings.is_on("no_auth"):
        return Remote(address)
    if with_password:
        if not settings.token:
            raise SettingsError(f"--with-password: {TOKEN} is not set")
        return Remote(address, settings.token)
    if not client.variable:
        raise SettingsError(
            f"{client.title} has no way to name a variable: --with-password writes {TOKEN} in clear, and --no-auth is "
            "for a server without a token"
        )
    return Remote(address, client.named(TOKEN))


def url(client: Client, settings: Settings, given: str) -> str:
    """Return the URL for a client: that of a server that runs, narrowed to the toolset or the client's preset.

    Raises:
        SettingsError: the client takes no URL, it is none, or several toolsets were named.
    """
    if client.http is None:
        raise SettingsError(f"--http: {client.title} does not take it: {client.http_instead}")
    if urlsplit(given).scheme not in {"http", "https"}:
        raise SettingsError(f"--http {given!r} is no http:// or https:// URL")
    for name in (
        "tools",
        "exclude_tools",
        "read_only",
        "no_destructive",
        "allow_directory",
        "show_secrets",
        "url",
        "server",
    ):
        if getattr(settings, name):
            raise SettingsError(f"--{name.replace('_', '-')} is to be given to the server at {given}, not to its URL")
    toolsets = settings.toolsets or client.limits.preset
    bare = given.rstrip("/")
    if toolsets == "all" or any(urlsplit(bare).path.endswith(f"/{view}") for view in VIEWS):
        return given
    view = toolsets if toolsets in VIEWS else f"toolset/{toolsets}"
    if view not in VIEWS:
        raise SettingsError(f"--toolsets {toolsets}: a URL is narrowed by one toolset, essential or all")
    return f"{bare}/{view}"


def check_names(client: Client, name: str, settings: Settings) -> None:
    """Refuse unknown tools, and a server name with which the client would cut or leave out tools.

    Raises:
        SettingsError: what does not fit.
    """
    chosen = settings.names("toolsets") or (() if settings.tools else (client.limits.preset,))
    listed = select(Catalog.bundled(), chosen, settings.names("tools"), settings.names("exclude_tools")).listed
    longest = client.limits.full_name.format(server=name, tool=max(listed, key=len, default=""))
    if len(longest) > client.limits.name_length:
        raise SettingsError(
            f"--name {name}: {client.title} takes tool names of {client.limits.name_length} characters, "
            f"and {longest} has {len(longest)}"
        )


def is_default(settings: Settings, name: str) -> bool:
    """Whether a setting has the value that it has when nothing is given."""
    return getattr(settings, name) == getattr(Settings(), name)


def credential(name: str) -> str:
    """Return the variable of a credential."""
    return next(one.metadata["variable"] for one in fields(Settings) if one.name == name)
