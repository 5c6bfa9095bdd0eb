"""The declaration of every setting: flag, variable, type, default and help."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

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
    join_command,
    linger_seconds,
    names,
    one_of,
    redis_url,
    result_chars,
    secret,
    servers,
)
from .setting import Setting, option

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
NARROWS: Mapping[str, Any] = {"in_project_file": True}
"""Of a setting whose every value allows a client less than its default: a project's file may set it."""


@dataclass(frozen=True)
class Options:
    """What a user can choose, each field with how it is given. None and () mean not given."""

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
        format=join_command,
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
        (), "OPENCODE_MCP_EXCLUDE_TOOLS", "tools to leave out, separated by commas", **LISTS, **NARROWS
    )
    read_only: bool = option(
        False, "OPENCODE_MCP_READ_ONLY", "list and run only tools that change nothing", parse=boolean, **NARROWS
    )
    no_destructive: bool = option(
        False,
        "OPENCODE_MCP_NO_DESTRUCTIVE",
        "leave out, and refuse to run, tools that can destroy data or run commands",
        parse=boolean,
        **NARROWS,
    )
    models: tuple[str, ...] = option(
        (),
        "OPENCODE_MCP_MODELS",
        "models that tasks may call, as provider/model with the wildcard *, separated by commas (default: all)",
        **LISTS,
        **NARROWS,
    )
    max_cost: float | None = option(
        None,
        "OPENCODE_MCP_MAX_COST",
        "US dollars that a prompt of a task may cost, subagents included; beyond that the task is stopped",
        parse=dollars,
        format="{:g}".format,
        **NARROWS,
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


SETTINGS = tuple(
    Setting(setting.name, setting.default, **setting.metadata) for setting in fields(Options) if setting.metadata
)
"""Every setting, in the order of `--help`."""
