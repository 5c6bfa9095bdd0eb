"""Settings: flag over environment variable over default. The only reader of `os.environ`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any
from urllib.parse import unquote

from .checks import LOG_LEVELS, ON, check, split
from .inherited import inherited

DEPTH_VARIABLE = "OPENCODE_MCP_DEPTH"
CLIENT_PROJECT = "CLAUDE_PROJECT_DIR"
"""Where Claude Code tells a server the project that it was opened in."""
OWN_PASSWORD = "OPENCODE_SERVER_PASSWORD_"
"""What a server's name follows."""
HTTP = ("http",)
"""The command that serves HTTP."""


def setting(default: str, variable: str, help: str, **extra: Any) -> Any:
    """Declare a setting: its environment variable and one line of help; the field's name is the flag's.

    With `only`, it is one of these commands alone. With `separator`, it can be given several times, and that
    stands between the values of the variable.
    """
    secret = variable.endswith(("_KEY", "_PASSWORD", "_REDIS", "_TOKEN"))
    return field(default=default, repr=not secret, metadata={"variable": variable, "help": help, **extra})


@dataclass(frozen=True)
class Settings:
    """What a user can choose. Every value is text as given; "" means not given."""

    url: str = setting("", "OPENCODE_MCP_URL", "use the OpenCode server at this URL instead of starting one")
    server: str = setting(
        "",
        "OPENCODE_MCP_SERVERS",
        "NAME=URL of one of several OpenCode servers to use instead; can be given several times, in the variable "
        "separated by commas",
        separator=",",
    )
    username: str = setting(
        "opencode",
        "OPENCODE_SERVER_USERNAME",
        "user name of the server at --url, or of every --server (default opencode)",
        flag=False,
    )
    password: str = setting(
        "",
        "OPENCODE_SERVER_PASSWORD",
        "password of the server at --url, or of every --server that has none of its own in "
        "OPENCODE_SERVER_PASSWORD_NAME (upper case, - as _)",
        flag=False,
    )
    ca_file: str = setting(
        "",
        "OPENCODE_MCP_CA_FILE",
        "certificates (PEM) to trust beside the system's, for an https:// URL behind a private CA "
        "(default: SSL_CERT_FILE)",
    )
    directory: str = setting(
        "",
        "OPENCODE_MCP_DIRECTORY",
        "project directory for every operation that takes one and was given none "
        "(default: the first --allow-directory, CLAUDE_PROJECT_DIR, or the working directory unless that is / or the "
        "home folder; of a server that runs already its own)",
    )
    allow_directory: str = setting(
        "",
        "OPENCODE_MCP_ALLOW_DIRECTORY",
        "work only in this directory and below; can be given several times, in the variable separated as PATH is",
        separator=os.pathsep,
    )
    command: str = setting(
        "",
        "OPENCODE_MCP_COMMAND",
        "how to run OpenCode (default: opencode on PATH, else a copy from npm)",
    )
    document: str = setting(
        "bundled",
        "OPENCODE_MCP_DOCUMENT",
        "the OpenAPI document that tools are made from: bundled (default), live (that of --url or the first --server) "
        "or a path",
    )
    toolsets: str = setting(
        "", "OPENCODE_MCP_TOOLSETS", "toolsets to list, separated by commas: all (default), essential, or their names"
    )
    tools: str = setting("", "OPENCODE_MCP_TOOLS", "single tools to list, separated by commas")
    exclude_tools: str = setting("", "OPENCODE_MCP_EXCLUDE_TOOLS", "tools to leave out, separated by commas")
    read_only: str = setting(
        "", "OPENCODE_MCP_READ_ONLY", "only tools that change nothing, in the list and in every call", switch=True
    )
    no_destructive: str = setting(
        "", "OPENCODE_MCP_NO_DESTRUCTIVE", "no tools that may destroy anything or run commands", switch=True
    )
    max_result_chars: str = setting(
        "40000",
        "OPENCODE_MCP_MAX_RESULT_CHARS",
        "longest result, in characters (default 40000); longer ones are cut and paged",
    )
    token: str = setting(
        "",
        "OPENCODE_MCP_TOKEN",
        "HTTP: bearer token that clients send (default: a new one, printed on stderr)",
        only=(*HTTP, "install"),
    )
    no_auth: str = setting(
        "",
        "OPENCODE_MCP_NO_AUTH",
        "HTTP: serve whoever reaches a loopback address",
        switch=True,
        only=(*HTTP, "install"),
    )
    allow_remote: str = setting(
        "", "OPENCODE_MCP_ALLOW_REMOTE", "HTTP: listen on other than loopback addresses", switch=True, only=HTTP
    )
    allow_host: str = setting(
        "",
        "OPENCODE_MCP_ALLOW_HOST",
        "HTTP: more names, or name:port, by which clients reach it, separated by commas",
        only=HTTP,
    )
    allow_origin: str = setting(
        "", "OPENCODE_MCP_ALLOW_ORIGIN", "HTTP: origins whose web pages may use it, separated by commas", only=HTTP
    )
    oauth_issuer: str = setting(
        "", "OPENCODE_MCP_OAUTH_ISSUER", "HTTP: take the access tokens (JWT) of this OAuth issuer instead", only=HTTP
    )
    oauth_audience: str = setting(
        "", "OPENCODE_MCP_OAUTH_AUDIENCE", "HTTP: this server's URL as those tokens name it", only=HTTP
    )
    metrics: str = setting(
        "", "OPENCODE_MCP_METRICS", "HTTP: tell Prometheus at /metrics what is going on", switch=True, only=HTTP
    )
    redis: str = setting(
        "",
        "OPENCODE_MCP_REDIS",
        "HTTP: the Redis through which replicas share subscriptions; a URL with a password belongs in the variable",
        only=HTTP,
    )
    state_key: str = setting(
        "",
        "OPENCODE_MCP_STATE_KEY",
        "HTTP: the same on every replica: seals what comes back through a client (default: a new one at every start)",
        flag=False,
        only=HTTP,
    )
    show_secrets: str = setting(
        "", "OPENCODE_MCP_SHOW_SECRETS", "leave keys, tokens and passwords in what OpenCode answers", switch=True
    )
    log_file: str = setting(
        "", "OPENCODE_MCP_LOG_FILE", "log to the end of this file, which you alone can read, instead of stderr"
    )
    log_level: str = setting(
        "warning", "OPENCODE_MCP_LOG_LEVEL", "the least that is logged (default warning)", choices=LOG_LEVELS
    )
    environ: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        command: str | None = None,
    ) -> Settings:
        """Read the flags that were given, then the environment, as far as its settings hold for the command.

        An empty value, and an unexpanded `${user_config.…}` of a bundle's manifest, count as not given.

        Raises:
            SettingsError: a value makes no sense.
        """
        environ = dict(os.environ if environ is None else environ)
        values: dict[str, str] = {}
        for one in fields(cls):
            if one.metadata:
                flag: str | list[str] | None = (flags or {}).get(one.name)
                given = one.metadata["separator"].join(flag) if isinstance(flag, list) else flag
                for value in (given, environ.get(one.metadata["variable"]) if holds(one, command) else None):
                    if value and not value.startswith("${user_config."):
                        values[one.name] = value
                        break
        settings = cls(**values, environ=environ)
        check(settings)
        return settings

    @property
    def urls(self) -> dict[str, str]:
        """The URLs of the servers that run already, by name; that of `url` has none."""
        given = {name: url for name, _, url in (one.partition("=") for one in self.names("server"))}
        return {"": self.url} if self.url else given

    @property
    def own_passwords(self) -> dict[str, str]:
        """The variables that hold passwords of single servers, as far as they are set, with their values."""
        variables = map(password_variable, self.urls)
        return {variable: self.environ[variable] for variable in variables if self.environ.get(variable)}

    @property
    def secrets(self) -> frozenset[str]:
        """All that is secret in settings that were given, whether they hold or not."""
        hidden = [one for one in fields(self) if one.metadata and not one.repr]
        variables = {one.metadata["variable"] for one in hidden}
        given = [value for name, value in self.environ.items() if name in variables or name.startswith(OWN_PASSWORD)]
        given += [getattr(self, one.name) for one in hidden]
        addresses = [one for one in (*given, *self.urls.values()) if "://" in one and split(one).scheme]
        inner = {split(one).password or "" for one in addresses} - {""}
        whole = {one for one in given if one not in addresses or split(one).password}
        return frozenset(whole | inner | {unquote(one) for one in inner}) - {""}

    def password_of(self, server: str) -> str | None:
        """Return the password of one of `urls`, if it has any."""
        return self.own_passwords.get(password_variable(server), self.password) or None

    @property
    def trusted(self) -> str | None:
        """The file of certificates to trust beside the system's."""
        return self.ca_file or self.environ.get("SSL_CERT_FILE") or None

    @property
    def project_directory(self) -> str | None:
        """The directory to send: absolute when we start OpenCode here, as given for a server elsewhere.

        None leaves the choice to a server elsewhere. Here it means that there is no project: none was given, and
        the working directory is one that no one works in.
        """
        chosen = self.directory or next(iter(self.allowed_directories), "")
        if self.urls:
            return chosen or None
        if chosen:
            return os.path.abspath(chosen)
        candidates = (self.environ.get(CLIENT_PROJECT, ""), os.getcwd())
        return next((os.path.abspath(one) for one in candidates if one and self.is_project(one)), None)

    def is_project(self, directory: str) -> bool:
        """Whether a directory of this machine can be a project: neither a root, the home folder nor Windows' own."""
        place = os.path.realpath(directory)
        home, windows = (self.environ.get(name) for name in ("HOME", "SYSTEMROOT"))
        homes = (home or self.environ.get("USERPROFILE"), windows and os.path.join(windows, "System32"))
        unfit = {os.path.normcase(os.path.realpath(one)) for one in homes if one}
        return os.path.isdir(place) and os.path.dirname(place) != place and os.path.normcase(place) not in unfit

    @property
    def allowed_directories(self) -> tuple[str, ...]:
        """`allow_directory`, one by one."""
        return tuple(one for one in self.allow_directory.split(os.pathsep) if one)

    @property
    def chooses_tools(self) -> bool:
        """Whether any setting narrows the list of tools."""
        return any(
            getattr(self, name) for name in ("toolsets", "tools", "exclude_tools", "read_only", "no_destructive")
        )

    def names(self, setting: str) -> tuple[str, ...]:
        """Split one of the settings that are lists."""
        return tuple(name.strip() for name in getattr(self, setting).split(",") if name.strip())

    def is_on(self, setting: str) -> bool:
        """Whether one of the settings that are switches is on."""
        return getattr(self, setting).lower() in ON

    @property
    def result_chars(self) -> int:
        """`max_result_chars` as a number."""
        return int(self.max_result_chars)

    @property
    def depth(self) -> int:
        """How many tasks deep this process is: a bridge marks the environment of the OpenCode that it starts."""
        marked = self.environ.get(DEPTH_VARIABLE, "")
        return int(marked) if marked.isdigit() else 0

    @property
    def child_environ(self) -> Mapping[str, str]:
        """The environment of an OpenCode that this process starts: ours, without an assistant's session."""
        return {**inherited(self.environ), DEPTH_VARIABLE: str(self.depth + 1)}

    @property
    def command_line(self) -> tuple[str, ...]:
        """`command`, split as a shell would."""
        return tuple(shlex.split(self.command, posix=os.name != "nt"))


def holds(setting: Field[Any], command: str | None) -> bool:
    """Whether a setting is one of a command's; without a command, one of every command's."""
    return command in setting.metadata.get("only", (command,))


def password_variable(server: str) -> str:
    """Return the variable that holds a server's own password."""
    return OWN_PASSWORD + server.upper().replace("-", "_")
