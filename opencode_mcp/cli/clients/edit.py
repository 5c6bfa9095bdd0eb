"""Edits of a client's file by `install` and `uninstall`: planned first, then shown or applied."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any, Protocol, cast

from opencode_mcp.exceptions import SettingsError

from . import jsonc, toml


class Format(Protocol):
    """How one member of a text is read, set and removed without touching the rest."""

    def read(self, text: str) -> dict[str, Any]: ...

    def put(self, text: str, path: Sequence[str], value: Mapping[str, Any]) -> str: ...

    def drop(self, text: str, path: Sequence[str]) -> str: ...


FORMATS: Mapping[str, Format] = {"json": jsonc, "toml": toml}
BACKUP_SUFFIX = ".bak-opencode-mcp"
BOM = "\ufeff"
ENTRY_KEYS = (
    "type",
    "command",
    "args",
    "env",
    "environment",
    "env_vars",
    "url",
    "serverUrl",
    "headers",
    "httpUrl",
    "oauth",
)
"""The keys of all entry formats: an old entry's are replaced; keys that the user added stay."""

KEPT_KEYS = ("tools",)
"""Keys of an old entry whose value stays: a user's choice of tools is not widened."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file's bytes before and after the change (None: no file), with the entry that it has afterwards.

    `makes_backup`, `drops_backup`: `backup` is created or deleted too. `replaces`: an installation replaces an entry.
    `is_exact`: a removal restores the bytes from before the installation.
    """

    path: Path
    before: bytes | None
    after: bytes | None
    backup: Path
    entry: Mapping[str, Any] | None = None
    makes_backup: bool = False
    drops_backup: bool = False
    replaces: bool = False
    is_exact: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return self.before != self.after

    def diff(self, secrets: Iterable[str] = ()) -> str:
        """Return what changes, as a unified diff without secrets."""
        before, after = ((data or b"").decode().splitlines() for data in (self.before, self.after))
        old, new = (str(self.path) if data is not None else os.devnull for data in (self.before, self.after))
        text = "\n".join(unified_diff(before, after, old, new, lineterm=""))
        for secret in filter(None, secrets):
            text = text.replace(secret, "********")
        return text

    def apply(self) -> None:
        """Write the file, atomically.

        Raises:
            SettingsError: it cannot be written.
        """
        self.back_up()
        with map_write_errors(self.path):
            if self.after is None:
                self.path.unlink()
            elif self.is_needed:
                replace_file(self.path, self.after)
        self.drop_backup()

    def back_up(self) -> None:
        """Copy the file, unless there is a backup already.

        Raises:
            SettingsError: it cannot be written.
        """
        if self.makes_backup:
            with map_write_errors(self.backup):
                shutil.copy2(self.path, self.backup)

    def drop_backup(self) -> None:
        """Delete the backup, if the change drops it.

        Raises:
            SettingsError: it cannot be removed.
        """
        if self.drops_backup:
            with map_write_errors(self.backup):
                self.backup.unlink()


@contextmanager
def map_write_errors(path: Path) -> Generator[None]:
    """Map OSError to an error that names the file.

    Raises:
        SettingsError: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def plan_install(format: str, path: Path, keys: Sequence[str], entry: Mapping[str, Any]) -> Change:
    """Plan the installation of an entry.

    Raises:
        SettingsError: the file is not what the client would read.
    """
    before, backup = read_content(path), path.with_name(path.name + BACKUP_SUFFIX)
    current = read_entry(format, path, keys)
    added_by_user = {name: value for name, value in (current or {}).items() if name not in ENTRY_KEYS}
    kept = {name: value for name, value in added_by_user.items() if name in KEPT_KEYS}
    merged = {**added_by_user, **entry, **kept}
    if current == merged:
        return Change(path, before, before, backup, merged)
    after = edit_content(format, path, before, keys, merged)
    created_here = current is not None and before == edit_content(format, path, None, keys, current)
    makes_backup = before is not None and not backup.exists() and not created_here
    return Change(path, before, after, backup, merged, makes_backup, replaces=current is not None)


def plan_removal(format: str, path: Path, keys: Sequence[str]) -> Change:
    """Plan the removal of an entry; without other changes since, the original file is restored.

    Raises:
        SettingsError: the file is not what the client would read.
    """
    before, backup = read_content(path), path.with_name(path.name + BACKUP_SUFFIX)
    current = read_entry(format, path, keys)
    if current is None:
        return Change(path, before, before, backup)
    original = read_content(backup)
    exact = before == edit_content(format, path, original, keys, current)
    after = original if exact else edit_content(format, path, before, keys, None)
    return Change(path, before, after, backup, drops_backup=original is not None, is_exact=exact)


def read_entry(format: str, path: Path, keys: Sequence[str]) -> dict[str, Any] | None:
    """Return the entry that a file has.

    Raises:
        SettingsError: the file is not what the client would read.
    """
    value: Any = parse_content(format, path, decode_content(path, read_content(path)))
    for key in keys:
        value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def edit_content(
    format: str, path: Path, data: bytes | None, keys: Sequence[str], entry: Mapping[str, Any] | None
) -> bytes:
    """Return a file's bytes with an entry set or, for None, removed; verified by parsing the result.

    Raises:
        SettingsError: the edit would change something else.
    """
    text = decode_content(path, data)
    bom = BOM if text.startswith(BOM) else ""
    expected = deepcopy(parse_content(format, path, text))
    inner, new, result = expected, "", None
    try:
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        if entry is None:
            del inner[keys[-1]]
            new = FORMATS[format].drop(text.removeprefix(BOM), keys)
        else:
            inner[keys[-1]] = dict(entry)
            new = FORMATS[format].put(text.removeprefix(BOM), keys, entry)
        result = FORMATS[format].read(new)
    except (ValueError, TypeError, AttributeError):
        pass
    # An emptied table leaves no trace in TOML.
    if result not in (expected, {name: value for name, value in expected.items() if value or name != keys[0]}):
        raise SettingsError(
            f"{path} cannot be edited safely, and was not changed; --print shows the entry to add by hand"
        )
    return (bom + new).encode()


def parse_content(format: str, path: Path, text: str) -> dict[str, Any]:
    """Parse a text.

    Raises:
        SettingsError: it is not in the format.
    """
    try:
        return FORMATS[format].read(text.removeprefix(BOM))
    except ValueError as error:
        raise SettingsError(f"{path} cannot be read, and was not changed: {error}") from error


def read_content(path: Path) -> bytes | None:
    """Return a file's bytes, if there is one.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def decode_content(path: Path, data: bytes | None) -> str:
    """Return bytes as text.

    Raises:
        SettingsError: they are not UTF-8.
    """
    try:
        return (data or b"").decode()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8, and was not changed") from error


def remove_empty_folders(file: Path, below: Path) -> None:
    """Remove the folders of a deleted file that are below a folder, up to the first that is not empty, or is a link."""
    with suppress(OSError):
        for folder in file.parents:
            if below not in folder.parents:
                return
            folder.rmdir()


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically, keeping its mode; a symbolic link is followed, as dotfiles are often links."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    # A new file keeps mode 0600 of mkstemp: it may contain a password.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if target.exists():
            shutil.copymode(target, name)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
