"""Settings: a flag, else an environment variable, else the default; parsed once. The only reader of `os.environ`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from opencode_mcp.exceptions import SettingsError

from .child_environ import without_session_variables
from .parsing import (
    MIN_KEY_CHARS,
    MIN_TOKEN_CHARS,
    NamedServer,
    boolean,
    command_line,
    directories,
    document,
    dollars,
    format_servers,
    http_url,
    linger_seconds,
    names,
    one_of,
    redis_url,
    result_chars,
    secret,
    servers,
    split_url,
)
from .plugin_folder import working_directory
from .setting import Setting, option
from .validation import (
    Problem,
    check_authentication,
    check_certificates,
    check_directories,
    check_servers,
)

DEPTH_VARIABLE = "OPENCODE_MCP_DEPTH"
PROJECT_VARIABLE = "CLAUDE_PROJECT_DIR"
"""Claude Code sets it to the project that it was opened in."""
USERNAME_VARIABLE = "OPENCODE_SERVER_USERNAME"
PASSWORD_VARIABLE = "OPENCODE_SERVER_PASSWORD"
PASSWORD_2_VARIABLE = "OPENCODE_PASSWORD"
"""OpenCode 2 reads it, and the other one if it is not set."""
ON_EVENT_VARIABLE = "OPENCODE_MCP_ON_EVENT"
DEFAULT_USERNAME = "opencode"
GENERATIONS = ("auto", "1", "2")
LOG_LEVELS = ("debug", "info", "warning", "error")
LISTS: Mapping[str, Any] = {"parse": names, "format": ",".join}
HTTP: Mapping[str, Any] = {"commands": ("http",)}
HTTP_AND_INSTALL: Mapping[str, Any] = {"commands": ("http", "install")}


@dataclass(frozen=True)
class Settings:
    """What a user can choose, each field with how it is given. None and () mean not given.

    `environ` is the whole environment of this process, which child processes get too.
    """

    url: str | None = option(
        None, "OPENCODE_MCP_URL", "use the OpenCode server at this URL instead of starting one", parse=http_url
    )
    server: tuple[NamedServer, ...] = option(
        (),
        "OPENCODE_MCP_SERVERS",
        "NAME=URL of a running OpenCode server to use; can be repeated (in the variable: separated by commas)",
        parse=servers,
        format=format_servers,
        separator=",",
    )
    username: str = option(
        DEFAULT_USERNAME,
        USERNAME_VARIABLE,
        f"user name for the server at --url, or for every --server (default {DEFAULT_USERNAME})",
        has_flag=False,
    )
    password: str | None = option(
        None,
        PASSWORD_VARIABLE,
        "password for the server at --url, or for every --server without a password of its own in "
        "OPENCODE_SERVER_PASSWORD_NAME (its name in upper case, with _ for -)",
        has_flag=False,
        is_secret=True,
    )
    password_2: str | None = option(
        None,
        PASSWORD_2_VARIABLE,
        "password for an OpenCode 2, whose user name is always opencode, instead of OPENCODE_SERVER_PASSWORD",
        has_flag=False,
        is_secret=True,
    )
    ca_file: Path | None = option(
        None,
        "OPENCODE_MCP_CA_FILE",
        "CA certificates (PEM) to trust in addition to the system's, for an https:// URL behind a private CA "
        "(default: SSL_CERT_FILE)",
        parse=Path,
    )
    directory: str | None = option(
        None,
        "OPENCODE_MCP_DIRECTORY",
        "project directory of every operation that takes one and gets none in its arguments (default: the first "
        "--allow-directory, else CLAUDE_PROJECT_DIR, else the working directory unless that is /, the home directory "
        "or a plugin's; a running server uses its own)",
    )
    allow_directory: tuple[str, ...] = option(
        (),
        "OPENCODE_MCP_ALLOW_DIRECTORY",
        "restrict all work to this directory and its subdirectories; can be repeated (in the variable: separated as "
        "in PATH)",
        parse=directories,
        format=os.pathsep.join,
        separator=os.pathsep,
    )
    command: tuple[str, ...] = option(
        (),
        "OPENCODE_MCP_COMMAND",
        "command that runs OpenCode (default: opencode on PATH, else a copy from npm)",
        parse=command_line,
        format=shlex.join if os.name != "nt" else " ".join,
    )
    no_share: bool = option(
        False,
        "OPENCODE_MCP_NO_SHARE",
        "use an OpenCode of its own, not the one that this user's assistants share",
        parse=boolean,
    )
    linger: float = option(
        15.0,
        "OPENCODE_MCP_LINGER",
        "seconds that the shared OpenCode runs after the last assistant has disconnected (default 15)",
        parse=linger_seconds,
        format="{:g}".format,
    )
    generation: str = option(
        "auto",
        "OPENCODE_MCP_GENERATION",
        "major version of OpenCode: 1, 2 or auto (default: a running or installed OpenCode 2 where that is safe; the "
        "tools are those of the OpenCode that was seen last)",
        parse=one_of(*GENERATIONS),
        choices=GENERATIONS,
    )
    document: Path | Literal["bundled", "live"] = option(
        "bundled",
        "OPENCODE_MCP_DOCUMENT",
        "OpenAPI document that tools are made from: bundled (default), live (read from --url or the first --server) "
        "or a path",
        parse=document,
    )
    toolsets: tuple[str, ...] = option(
        (),
        "OPENCODE_MCP_TOOLSETS",
        "toolsets to list, separated by commas: all (default), essential, or their names",
        **LISTS,
    )
    tools: tuple[str, ...] = option((), "OPENCODE_MCP_TOOLS", "single tools to list, separated by commas", **LISTS)
    exclude_tools: tuple[str, ...] = option(
        (), "OPENCODE_MCP_EXCLUDE_TOOLS", "tools to leave out, separated by commas", **LISTS
    )
    read_only: bool = option(
        False, "OPENCODE_MCP_READ_ONLY", "list and run only tools that change nothing", parse=boolean
    )
    no_destructive: bool = option(
        False,
        "OPENCODE_MCP_NO_DESTRUCTIVE",
        "leave out, and refuse to run, tools that can destroy data or run commands",
        parse=boolean,
    )
    models: tuple[str, ...] = option(
        (),
        "OPENCODE_MCP_MODELS",
        "models that tasks may call, as provider/model with the wildcard *, separated by commas (default: all)",
        **LISTS,
    )
    max_cost: float | None = option(
        None,
        "OPENCODE_MCP_MAX_COST",
        "US dollars that a prompt of a task may cost, subagents included; beyond that the task is stopped",
        parse=dollars,
        format="{:g}".format,
    )
    on_event: str | None = option(
        None,
        ON_EVENT_VARIABLE,
        "shell command to run when a task waits, ends or fails; it gets the event as JSON on standard input",
    )
    max_result_chars: int = option(
        40_000,
        "OPENCODE_MCP_MAX_RESULT_CHARS",
        "maximum length of a result in characters (default 40000); longer results are truncated and paged",
        parse=result_chars,
    )
    token: str | None = option(
        None,
        "OPENCODE_MCP_TOKEN",
        "HTTP: bearer token that clients must send (default: a new one, printed on stderr)",
        parse=secret(MIN_TOKEN_CHARS),
        is_secret=True,
        **HTTP_AND_INSTALL,
    )
    no_auth: bool = option(
        False,
        "OPENCODE_MCP_NO_AUTH",
        "HTTP: require no token; allowed on loopback addresses only",
        parse=boolean,
        **HTTP_AND_INSTALL,
    )
    allow_remote: bool = option(
        False, "OPENCODE_MCP_ALLOW_REMOTE", "HTTP: allow listening on non-loopback addresses", parse=boolean, **HTTP
    )
    allow_host: tuple[str, ...] = option(
        (),
        "OPENCODE_MCP_ALLOW_HOST",
        "HTTP: additional Host headers to accept, as name or name:port, separated by commas",
        **LISTS,
        **HTTP,
    )
    allow_origin: tuple[str, ...] = option(
        (),
        "OPENCODE_MCP_ALLOW_ORIGIN",
        "HTTP: origins of web pages that may call the endpoint (CORS), separated by commas",
        **LISTS,
        **HTTP,
    )
    oauth_issuer: str | None = option(
        None,
        "OPENCODE_MCP_OAUTH_ISSUER",
        "HTTP: accept access tokens (JWT) of this OAuth issuer instead of a bearer token",
        parse=http_url,
        **HTTP,
    )
    oauth_audience: str | None = option(
        None,
        "OPENCODE_MCP_OAUTH_AUDIENCE",
        "HTTP: URL of this server, which those tokens must have as audience",
        parse=http_url,
        **HTTP,
    )
    metrics: bool = option(
        False, "OPENCODE_MCP_METRICS", "HTTP: serve Prometheus metrics at /metrics", parse=boolean, **HTTP
    )
    redis: str | None = option(
        None,
        "OPENCODE_MCP_REDIS",
        "HTTP: URL of the Redis through which replicas share subscriptions; if it has a password, use the variable",
        parse=redis_url,
        is_secret=True,
        **HTTP,
    )
    state_key: str | None = option(
        None,
        "OPENCODE_MCP_STATE_KEY",
        "HTTP: key that seals state kept by clients; must be the same on every replica (default: a new one per start)",
        parse=secret(MIN_KEY_CHARS),
        has_flag=False,
        is_secret=True,
        **HTTP,
    )
    show_secrets: bool = option(
        False,
        "OPENCODE_MCP_SHOW_SECRETS",
        "do not redact keys, tokens and passwords in results",
        parse=boolean,
    )
    log_file: Path | None = option(
        None,
        "OPENCODE_MCP_LOG_FILE",
        "append the log to this file (mode 0600) instead of writing it to stderr",
        parse=Path,
    )
    log_level: str = option(
        "warning",
        "OPENCODE_MCP_LOG_LEVEL",
        "lowest level to log (default warning)",
        parse=one_of(*LOG_LEVELS),
        choices=LOG_LEVELS,
    )
    environ: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        command: str | None = None,
    ) -> Settings:
        """Parse flags and environment variables, and validate the result.

        `flags` holds text by setting, or a list of it for a flag that can be repeated; other keys are ignored.
        Variables of settings that `command` does not have are ignored, valid or not.

        Raises:
            SettingsError: a value is invalid. It names the flag, and the variable if the value comes from there.
        """
        environ = dict(os.environ if environ is None else environ)
        values: dict[str, Any] = {}
        variables: dict[str, str] = {}
        for setting in SETTINGS:
            text, from_environ = setting.text(flags or {}, environ, command)
            if from_environ and setting.has_flag:
                variables[setting.name] = setting.variable
            try:
                values |= {setting.name: setting.parse(text)} if text else {}
            except ValueError as error:
                problem = Problem(f"{setting.flag or setting.variable} {error}", (setting.name,))
                raise SettingsError(with_sources(problem, variables)) from error
        settings = cls(**values, environ=environ)
        for problem in settings._problems():
            raise SettingsError(with_sources(problem, variables))
        return settings

    def _problems(self) -> Iterator[Problem]:
        """Check the settings together."""
        flag = "--ca-file" if self.ca_file else "SSL_CERT_FILE"
        yield from check_servers(self.url, bool(self.server), self.document, self.redis)
        yield from check_certificates(flag, self.trusted_ca_file, self.urls.values())
        yield from check_directories(self.directory, self.allow_directory, local=not self.urls)
        yield from check_authentication(self.token, self.no_auth, self.oauth_issuer, self.oauth_audience)

    @property
    def changed(self) -> tuple[tuple[Setting, str], ...]:
        """The settings that differ from their defaults, with their values as text."""
        values = ((setting, getattr(self, setting.name)) for setting in SETTINGS)
        return tuple((setting, setting.format(value)) for setting, value in values if value != setting.default)

    @property
    def urls(self) -> dict[str, str]:
        """The URLs of the running servers by name; that of `url` has the name ""."""
        return {"": self.url} if self.url else {server.name: server.url for server in self.server}

    @property
    def own_passwords(self) -> dict[str, str]:
        """The passwords that belong to one of `urls` each, by the variable that holds them."""
        variables = map(password_variable, self.urls)
        return {variable: self.environ[variable] for variable in variables if self.environ.get(variable)}

    @property
    def passwords(self) -> dict[str, str]:
        """All passwords of servers, by the variable that holds them."""
        common = {PASSWORD_VARIABLE: self.password, PASSWORD_2_VARIABLE: self.password_2}
        return {variable: password for variable, password in common.items() if password} | self.own_passwords

    def password_of(self, server: str, variables: Sequence[str] = (PASSWORD_VARIABLE,)) -> str | None:
        """Return the password for one of `urls`: its own, else that of the first of the variables that is set."""
        passwords = self.passwords
        return next((passwords[name] for name in (password_variable(server), *variables) if name in passwords), None)

    @property
    def fixed_generation(self) -> int | None:
        """The generation that the user has chosen; None: the one that is found."""
        return None if self.generation == "auto" else int(self.generation)

    @property
    def secrets(self) -> frozenset[str]:
        """Every secret that was given, valid or not, including those of settings that the command does not have."""
        secret = [setting for setting in SETTINGS if setting.is_secret]
        variables = {setting.variable for setting in secret}
        own = PASSWORD_VARIABLE + "_"
        values = [value for name, value in self.environ.items() if name in variables or name.startswith(own)]
        values += [value for setting in secret if (value := getattr(self, setting.name))]
        addresses = [text for text in (*values, *self.urls.values()) if "://" in text and split_url(text).scheme]
        inner = {split_url(address).password or "" for address in addresses} - {""}
        whole = {text for text in values if text not in addresses or split_url(text).password}
        return frozenset(whole | inner | {unquote(text) for text in inner}) - {""}

    @property
    def trusted_ca_file(self) -> str | None:
        """The file of CA certificates to trust in addition to the system's."""
        return str(self.ca_file) if self.ca_file else self.environ.get("SSL_CERT_FILE") or None

    @property
    def project_directory(self) -> str | None:
        """The directory to send: as given for a running server, absolute for an OpenCode that this process starts.

        None: a running server uses its own directory; an OpenCode that this process starts has no project, as none was
        given and the working directory cannot be one, or is that of a plugin.
        """
        chosen = self.directory or next(iter(self.allow_directory), None)
        if self.urls or chosen:
            return chosen if self.urls else os.path.abspath(chosen or "")
        candidates = (self.environ.get(PROJECT_VARIABLE), working_directory(self.environ))
        return next((os.path.abspath(folder) for folder in candidates if folder and self.is_project(folder)), None)

    def is_project(self, directory: str) -> bool:
        """Whether a local directory can be a project: not a root, the home directory or Windows' system directory."""
        path = os.path.realpath(directory)
        windows = self.environ.get("SYSTEMROOT")
        excluded = (self.home, windows and os.path.join(windows, "System32"))
        excluded_paths = {os.path.normcase(os.path.realpath(folder)) for folder in excluded if folder}
        return os.path.isdir(path) and os.path.dirname(path) != path and os.path.normcase(path) not in excluded_paths

    @property
    def chooses_tools(self) -> bool:
        """Whether any setting narrows the list of tools."""
        bounded = self.models or self.max_cost is not None
        return bool(
            self.toolsets or self.tools or self.exclude_tools or self.read_only or self.no_destructive or bounded
        )

    @property
    def depth(self) -> int:
        """How many tasks deep this process runs: this server sets it in the environment of the OpenCode it starts."""
        depth = self.environ.get(DEPTH_VARIABLE, "")
        return int(depth) if depth.isdigit() else 0

    @property
    def child_environ(self) -> Mapping[str, str]:
        """The environment of an OpenCode that this process starts; the model's commands inherit it.

        It lacks the command of --on-event, which may hold the address of a private channel.
        """
        environ = {**without_session_variables(self.environ), DEPTH_VARIABLE: str(self.depth + 1)}
        environ.pop(ON_EVENT_VARIABLE, None)
        return environ

    @property
    def hook_environ(self) -> Mapping[str, str]:
        """The environment of the command of --on-event: without the secrets of this server's settings."""
        secret = {setting.variable for setting in SETTINGS if setting.is_secret}
        own = PASSWORD_VARIABLE + "_"
        inherited = without_session_variables(self.environ).items()
        return {name: value for name, value in inherited if name not in secret and not name.startswith(own)}

    @property
    def home(self) -> str | None:
        """The user's home directory."""
        return self.environ.get("HOME") or self.environ.get("USERPROFILE")


SETTINGS = tuple(
    Setting(setting.name, setting.default, **setting.metadata) for setting in fields(Settings) if setting.metadata
)
"""Every setting, in the order of `--help`."""


def with_sources(problem: Problem, variables: Mapping[str, str]) -> str:
    """Return the sentence, with the variables from which the values of its settings come."""
    named = " and ".join(variables[name] for name in problem.names if name in variables)
    return f"{problem.sentence} (from {named})" if named else problem.sentence


def password_variable(server: str) -> str:
    """Return the variable that holds a server's own password."""
    return f"{PASSWORD_VARIABLE}_{server.upper().replace('-', '_')}"
