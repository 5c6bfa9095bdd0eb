"""What is known of an MCP client: its configuration files on Linux, macOS and Windows, and its form of an entry.

Folders are computed without file system access.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

CALL_SECONDS = 3600
"""For clients with a time limit per call that can be set: a prompt blocks until OpenCode is done."""

LIST_TIMEOUT_MS = 30_000

EVERY_REQUEST = "sends every listed tool with every request; the gateway tools reach the others"
"""The reason for the preset of a client that loads no tool on demand."""

TOKEN_VARIABLE = "OPENCODE_MCP_TOKEN"
"""The variable with the bearer token of a server at a URL."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a client starts this server; `variables` are passed on by name, `env` holds plain values."""

    command: str
    args: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Remote:
    """A running server's URL; `token` is its bearer token as the client's file writes it, "" for none."""

    url: str
    token: str = ""


def bearer_header(token: str) -> dict[str, Any]:
    """Return the form of a bearer token that most clients accept."""
    return {"headers": {"Authorization": f"Bearer {token}"}}


@dataclass(frozen=True, slots=True)
class Limits:
    """A client's limits. `full_name` is its name for a tool; `reason` explains the preset."""

    preset: str
    reason: str
    tools: int | None = None
    full_name: str = "{server}_{tool}"
    name_length: int = 64
    seconds: int | None = None
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A home folder, an environment, and a platform by its name in `sys.platform`."""

    home: PurePath
    environ: Mapping[str, str]
    platform: str

    @classmethod
    def current(cls, environ: Mapping[str, str]) -> Machine:
        """Return the machine that this runs on, with the home folder that an environment names."""
        # A POSIX shell on Windows sets HOME to a folder that the clients do not use.
        home = environ.get("USERPROFILE" if sys.platform == "win32" else "HOME")
        return cls(Path(home) if home else Path.home(), environ, sys.platform)

    def folder(self, variable: str, default: PurePath) -> PurePath:
        """Return the folder that a variable of the environment names, if it is set."""
        value = self.environ.get(variable)
        return type(self.home)(value) if value else default

    @property
    def xdg(self) -> PurePath:
        """The folder of programs that follow XDG on every platform."""
        return self.folder("XDG_CONFIG_HOME", self.home / ".config")

    @property
    def applications(self) -> PurePath:
        """The folder for settings of desktop applications."""
        if self.platform == "win32":
            return self.folder("APPDATA", self.home / "AppData" / "Roaming")
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return self.xdg

    @property
    def zed(self) -> PurePath:
        """Zed's folder, which differs from that of other desktop applications."""
        if self.platform == "win32":
            return self.applications / "Zed"
        return (self.home / ".config" if self.platform == "darwin" else self.xdg) / "zed"


@dataclass(frozen=True, slots=True)
class Client:
    """A client: its configuration file in each scope (the first that exists, else the first), and its entry format.

    `project` is below the project's folder. `variable` is the client's syntax for the environment variable VARIABLE, ""
    if it has none. Without `http` the file accepts no URL, and `http_instead` names the alternative. `programs` are its
    names on PATH. `source` is where its format is documented, with the version that was tried. `by_hand` is where the
    entry belongs if this package does not edit the file; with `is_list` its container is a list of entries, which have
    their names. `note` is what else its user should know.
    """

    name: str
    title: str
    format: str
    container: str
    user: Callable[[Machine], tuple[PurePath, ...]]
    project: tuple[str, ...]
    stdio: Callable[[Client, Launch], dict[str, Any]]
    http: Callable[[str], dict[str, Any]] | None
    variable: str
    limits: Limits
    http_instead: str = ""
    authorization: Callable[[str], dict[str, Any]] = bearer_header
    starts_elsewhere: bool = False
    programs: tuple[str, ...] = ()
    source: str = ""
    by_hand: str = ""
    is_list: bool = False
    note: str = ""

    def environment(self, launch: Launch) -> dict[str, str]:
        """Return the variables of an entry, each named in the client's way or with its value."""
        return {name: self.variable_reference(name) for name in launch.variables if self.variable} | dict(launch.env)

    def variable_reference(self, variable: str) -> str:
        """Return a variable of the environment as the client's file names it, "" where it cannot."""
        return self.variable.replace("VARIABLE", variable)

    def entry(self, target: Launch | Remote) -> dict[str, Any]:
        """Return the entry for a command or for a URL."""
        if isinstance(target, Launch):
            return self.stdio(self, target)
        assert self.http is not None
        return self.http(target.url) | (self.authorization(target.token) if target.token else {})


def standard_entry(client: Client, launch: Launch) -> dict[str, Any]:
    """Return the entry format of most clients."""
    entry = {"command": launch.command, "args": list(launch.args)}
    return entry | ({"env": env} if (env := client.environment(launch)) else {})


def typed_entry(client: Client, launch: Launch) -> dict[str, Any]:
    """Return the entry with its transport's name."""
    return {"type": "stdio"} | standard_entry(client, launch)


def gemini_entry(client: Client, launch: Launch) -> dict[str, Any]:
    """Return Gemini's entry: its time limit is in milliseconds, for every call."""
    return standard_entry(client, launch) | {"timeout": CALL_SECONDS * 1000}


def codex_entry(client: Client, launch: Launch) -> dict[str, Any]:
    """Return Codex's entry: the variables that it passes on are a list of names."""
    entry: dict[str, Any] = {"command": launch.command, "args": list(launch.args)}
    entry |= {"env_vars": list(launch.variables)} if launch.variables else {}
    entry |= {"env": dict(launch.env)} if launch.env else {}
    return entry | {"tool_timeout_sec": CALL_SECONDS}


def codex_token(token: str) -> dict[str, Any]:
    """Return Codex's form of a bearer token: the name of its variable, or a header."""
    return (
        {"bearer_token_env_var": token}
        if token == TOKEN_VARIABLE
        else {"http_headers": bearer_header(token)["headers"]}
    )


def opencode_entry(client: Client, launch: Launch) -> dict[str, Any]:
    """Return OpenCode's entry; its timeout is for tools/list; a call that reports progress is not limited."""
    entry: dict[str, Any] = {"type": "local", "command": [launch.command, *launch.args], "enabled": True}
    entry |= {"environment": env} if (env := client.environment(launch)) else {}
    return entry | {"timeout": LIST_TIMEOUT_MS}


def opencode_url(url: str) -> dict[str, Any]:
    """Return OpenCode's entry for a URL, without its OAuth flow: the token is in a header."""
    return {"type": "remote", "url": url, "enabled": True, "oauth": False, "timeout": LIST_TIMEOUT_MS}
