"""The registration of the OpenCode that bridges share: which bridges share it, and where its supervisor listens.

Bridges share an OpenCode if they have the same program, version and environment (but for VOLATILE_VARIABLES): the
model's shell commands inherit the server's environment.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opencode_mcp.exceptions import ServerStartError

from .cache import is_owned_by_user, secure_cache_folder, shared_folder
from .executable import Program
from .private_file import read_private_file
from .supervisor import process_start

PROTOCOL = 1
"""Part of the key, so that only bridges that speak the same protocol share a supervisor."""
ABOUT_VARIABLE = "OPENCODE_MCP_REGISTERED"
"""Holds, in the environment of a supervisor, what it registers: the version, and the digests of variables."""
VOLATILE_VARIABLES = frozenset(
    {
        # Shells, their prompts and histories
        "_",
        "ATUIN_HISTORY_ID",
        "ATUIN_SESSION",
        "ATUIN_SHLVL",
        "COLUMNS",
        "LINES",
        "MCFLY_SESSION_ID",
        "OLDPWD",
        "P9K_TTY",
        "PWD",
        "SHLVL",
        "STARSHIP_SESSION_KEY",
        "_P9K_SSH_TTY",
        "_P9K_TTY",
        # Terminals and multiplexers
        "COLORTERM",
        "LC_TERMINAL",
        "LC_TERMINAL_VERSION",
        "SHELL_SESSION_ID",
        "SSH_CLIENT",
        "SSH_CONNECTION",
        "SSH_TTY",
        "STY",
        "TERM",
        "TERM_PROGRAM",
        "TERM_PROGRAM_VERSION",
        "TERMINATOR_UUID",
        "TERM_SESSION_ID",
        "TILIX_ID",
        "TMUX",
        "TMUX_PANE",
        "VTE_VERSION",
        "WINDOW",
        "WINDOWID",
        # Desktops and service managers
        "DESKTOP_STARTUP_ID",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
        "SECURITYSESSIONID",
        "SYSTEMD_EXEC_PID",
        "XDG_ACTIVATION_TOKEN",
        "XDG_SESSION_ID",
        "XPC_FLAGS",
        "XPC_SERVICE_NAME",
        "__CFBundleIdentifier",
        # Package runners
        "INIT_CWD",
        "UV",
        "UV_RUN_RECURSION_DEPTH",
    }
)
"""Variables that do not keep bridges apart: the shared OpenCode has the values of the bridge that started it."""
VOLATILE_PREFIXES = (
    "ALACRITTY_",
    "GHOSTTY_",
    "GIO_LAUNCHED_DESKTOP_FILE",
    "GNOME_TERMINAL_",
    "ITERM_",
    "KITTY_",
    "KONSOLE_",
    "OPENCODE_MCP_",
    "VSCODE_",
    "WEZTERM_",
    "WT_",
    "ZELLIJ",
    "npm_",
)
"""Variables with these prefixes do not either. `OPENCODE_MCP_` are settings of the bridge, not of OpenCode."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = logging.getLogger(__name__)


def is_volatile(name: str) -> bool:
    """Whether a variable differs between windows of the same user, and does not change how commands run."""
    return name in VOLATILE_VARIABLES or name.startswith(VOLATILE_PREFIXES)


@dataclass(frozen=True)
class Registration:
    """The registration of a supervisor. `address` is a path, or a host and port; `since` is in seconds of the epoch.

    `variables` has the digest of each environment variable that keeps bridges apart (`digest_variables`).
    """

    pid: int
    started: str
    address: str | tuple[str, int]
    token: str = field(repr=False)
    password: str = field(repr=False)
    opencode_pid: int
    since: float
    path: Path
    version: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def has_supervisor(self) -> bool:
        """Whether the supervisor still runs."""
        return bool(self.started) and process_start(self.pid) == self.started

    def differing_variables(self, environ: Mapping[str, str]) -> list[str]:
        """Return the names of the variables that keep a bridge with this environment from sharing the server."""
        own = digest_variables(environ, self.password)
        return sorted(name for name in own.keys() | self.variables.keys() if own.get(name) != self.variables.get(name))


def make_shared_folder(environ: Mapping[str, str]) -> Path:
    """Create the folder of registrations, private to the user, and return it.

    Raises:
        ServerStartError: it cannot be created, or another user could replace it.
    """
    folder = shared_folder(environ)
    try:
        secure_cache_folder(folder.parent)
    except ServerStartError as error:
        raise ServerStartError(f"{error} With --no-share, an OpenCode on PATH needs no cache folder.") from error
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if os.name != "nt":
            if folder.is_symlink() or not is_owned_by_user(folder):
                raise ServerStartError(f"{folder} is a link or belongs to another user. Remove it, or use --no-share.")
            folder.chmod(0o700)
    except OSError as error:
        raise ServerStartError(f"cannot use {folder}: {error}. --no-share does not need it.") from error
    return folder


def compute_key(program: Program, environ: Mapping[str, str]) -> str:
    """Return the name under which bridges with this program and environment find each other."""
    own_variables = {**environ, **dict(program.environ)}  # the database, for one
    variables = sorted((name, value) for name, value in own_variables.items() if not is_volatile(name))
    facts = [PROTOCOL, namespaces(), program.command, program.path, program.version, variables]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def describe_for_registration(program: Program, environ: Mapping[str, str], password: str) -> dict[str, str]:
    """Return the variable with what a supervisor registers about the server that it starts."""
    about = {"version": program.version, "variables": digest_variables(environ, password)}
    return {ABOUT_VARIABLE: json.dumps(about)}


def digest_variables(environ: Mapping[str, str], password: str) -> dict[str, str]:
    """Return a digest of each variable that keeps bridges apart. The password is its salt: values cannot be guessed."""
    salt = password.encode()[: hashlib.blake2b.MAX_KEY_SIZE]
    return {
        name: hashlib.blake2b(os.fsencode(value), digest_size=8, key=salt).hexdigest()
        for name, value in environ.items()
        if not is_volatile(name)
    }


def namespaces() -> list[str]:
    """Return what decides which processes, files and addresses this process sees: the boot and, on Linux, namespaces.

    Containers, sandboxes and machines can have the same home folder, and not the same processes.
    """
    seen: list[str] = []
    with suppress(OSError):  # not Linux, or without /proc
        seen.append(BOOT_ID.read_text(encoding="ascii"))
        seen += [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "net", "pid", "user")]
    return seen


def read_registration(path: Path) -> Registration | None:
    """Read a registration; None if there is none, or its supervisor does not run any more."""
    registration = parse_registration(path)
    return registration if registration is not None and registration.has_supervisor else None


def parse_registration(path: Path) -> Registration | None:
    """Read a registration, whether its supervisor runs or not; None if there is none, or it is not trusted."""
    try:
        record: dict[str, Any] = json.loads(read_private_file(path))
        address = record["address"]
        registration = Registration(
            int(record["pid"]),
            str(record["started"]),
            address if isinstance(address, str) else (str(address[0]), int(address[1])),
            str(record["key"]["token"]),
            str(record["key"]["password"]),
            int(record["opencode_pid"]),
            float(record["since"]),
            path,
            record["about"]["version"],
            record["about"]["variables"],
        )
    except PermissionError as error:
        log.warning("%s", error)
        return None
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
    return registration
