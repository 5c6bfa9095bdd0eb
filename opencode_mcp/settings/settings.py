"""Settings: a flag, else an environment variable, else a configuration file, else the default; parsed once.

The only reader of `os.environ`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from opencode_mcp.exceptions import SettingsError

from .child_environ import without_session_variables
from .config_file import ConfigFile, read_project_file, read_user_file
from .options import ON_EVENT_VARIABLE, PASSWORD_2_VARIABLE, PASSWORD_VARIABLE, SETTINGS, Options
from .parsing import split_url
from .plugin_folder import working_directory
from .setting import Setting
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


@dataclass(frozen=True)
class Settings(Options):
    """The values of the settings, and what follows from them.

    `environ` is the whole environment of this process, which child processes get too; `files` are the configuration
    files that were read.
    """

    environ: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    files: tuple[ConfigFile, ...] = ()

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        command: str | None = None,
        with_files: bool = False,
    ) -> Settings:
        """Parse flags, environment variables and, `with_files`, configuration files, and validate the result.

        `flags` holds text by setting, or a list of it for a flag that can be repeated; other keys are ignored.
        Variables and lines of settings that `command` does not have are ignored, valid or not. The file of the project
        comes last: the repository, which it comes with, cannot change what the user has set.

        Raises:
            SettingsError: a value is invalid. It names the flag, and the variable or file that the value comes from.
        """
        flags, environ = flags or {}, dict(os.environ if environ is None else environ)
        user_file = read_user_file(environ) if with_files else None
        files = () if user_file is None else (user_file,)
        settings = cls._parse(flags, environ, files, command)
        if not with_files or settings.urls or settings.project_directory is None:
            return settings
        project_file = read_project_file(settings.project_directory, environ)
        return settings if project_file is None else cls._parse(flags, environ, (*files, project_file), command)

    @classmethod
    def _parse(
        cls, flags: Mapping[str, Any], environ: Mapping[str, str], files: tuple[ConfigFile, ...], command: str | None
    ) -> Settings:
        """Parse the values of each setting's first source that has one, and validate the result.

        Raises:
            SettingsError: as for `load`.
        """
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        texts = {str(file.path): file.texts for file in files}
        for setting in SETTINGS:
            text, source = setting.find_text(flags, environ, texts, command)
            if source and setting.has_flag:
                sources[setting.name] = source
            try:
                values |= {setting.name: setting.parse(text)} if text else {}
            except ValueError as error:
                problem = Problem(f"{setting.flag or setting.variable} {error}", (setting.name,))
                raise SettingsError(with_sources(problem, sources)) from error
        settings = cls(**values, environ=environ, files=files)
        for problem in settings._problems():
            raise SettingsError(with_sources(problem, sources))
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


def with_sources(problem: Problem, sources: Mapping[str, str]) -> str:
    """Return the sentence, with the variables and files from which the values of its settings come."""
    named = " and ".join(dict.fromkeys(sources[name] for name in problem.names if name in sources))
    return f"{problem.sentence} (from {named})" if named else problem.sentence


def password_variable(server: str) -> str:
    """Return the variable that holds a server's own password."""
    return f"{PASSWORD_VARIABLE}_{server.upper().replace('-', '_')}"
