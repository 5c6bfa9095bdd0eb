"""`opencode-mcp.toml`: a configuration file of the user, and one of the project. Its names are those of the flags.

flag > environment variable > file of the user > file of the project > default

The file of a project comes with the repository, which may be hostile. It sets only what allows a client less than the
default does (`NARROWS` in `options.py`), and never overrides what the user has set. No file sets a secret.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.suggestions import did_you_mean

from .options import SETTINGS
from .setting import Setting

FILE_NAME = "opencode-mcp.toml"
MAX_BYTES = 64 * 1024
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file: the text of each setting that it has, by the setting's name, as its variable would be."""

    path: Path
    texts: Mapping[str, str]


def user_file(environ: Mapping[str, str], windows: bool = os.name == "nt") -> Path | None:
    """Return the path of the user's file; None without an absolute folder for it."""
    folders = [environ.get("XDG_CONFIG_HOME")]
    if windows:
        folders.append(environ.get("APPDATA"))
    elif home := environ.get("HOME"):
        folders.append(os.path.join(home, ".config"))
    # A relative folder would be one of the project.
    folder = next((folder for folder in folders if folder and os.path.isabs(folder)), None)
    return None if folder is None else Path(folder, "opencode-mcp", FILE_NAME)


def read_user_file(environ: Mapping[str, str]) -> ConfigFile | None:
    """Return the settings in the user's file; None if there is none.

    Raises:
        SettingsError: it cannot be read, another user could have written it, or it has a name that is not a setting.
    """
    path = user_file(environ)
    if path is None or not os.path.lexists(path):
        return None
    status = stat_file(path)
    if os.name != "nt" and status.st_uid not in {os.geteuid(), 0}:
        raise SettingsError(f"{path} belongs to another user, so it is not read")
    if os.name != "nt" and status.st_mode & WRITABLE_BY_OTHERS:
        raise SettingsError(f"{path} can be written by other users, so it is not read; `chmod go-w` it")
    return ConfigFile(path, parse_file(path, lambda setting: ""))


def read_project_file(directory: str, environ: Mapping[str, str]) -> ConfigFile | None:
    """Return the settings in a project's file; None if there is none.

    Raises:
        SettingsError: it cannot be read, or has a name that is not a setting, or is not one for a project.
    """
    path = Path(directory, FILE_NAME)
    if not os.path.lexists(path):
        return None
    stat_file(path)

    def refusal(setting: Setting) -> str:
        if setting.in_project_file:
            return ""
        return (
            f"a project's file cannot set {setting.key!r}, as it comes with the repository: use {setting.flag}, "
            f"{setting.variable} or {user_file(environ) or 'your own file'}"
        )

    return ConfigFile(path, parse_file(path, refusal))


def stat_file(path: Path) -> os.stat_result:
    """Return the status of a file before it is read: a repository may have a link to a device.

    Raises:
        SettingsError: it cannot be read, is not a regular file, or is too long.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        raise SettingsError(f"{path} is not a file of at most {MAX_BYTES} bytes")
    return status


def parse_file(path: Path, refusal: Callable[[Setting], str]) -> dict[str, str]:
    """Return the text of each setting in a file. `refusal` says why the file may not have a setting, or "".

    Raises:
        SettingsError: it is not TOML, or has a name or value that it may not have.
    """
    import tomllib

    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    settings = {setting.flag.removeprefix("--"): setting for setting in SETTINGS if setting.has_flag}
    texts: dict[str, str] = {}
    for name, value in values.items():
        setting = settings.get(name)
        if setting is None:
            raise SettingsError(
                "; ".join(filter(None, (f"{path}: unknown setting {name!r}", did_you_mean(name, settings))))
            )
        if not setting.key:
            raise SettingsError(f"{path}: {name!r} is a secret, which no file sets: use {setting.variable}")
        if reason := refusal(setting):
            raise SettingsError(f"{path}: {reason}")
        text = to_text(setting, value)
        if text is None:
            raise SettingsError(
                f"{path}: {name!r} has a value that is not a text, a number, true, false or a list of texts"
            )
        texts[setting.name] = text
    return texts


def to_text(setting: Setting, value: Any) -> str | None:
    """Return a value of TOML as the text of a setting, None if it cannot be one. A list is for a setting of several."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not isinstance(setting.default, tuple) or not all(isinstance(item, str) for item in items):
        return None
    return setting.separator.join(items) if setting.separator else setting.format(tuple(items))
