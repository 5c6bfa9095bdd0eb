"""Secrets that this process knows by their value: its own, those of its environment, and OpenCode's credentials."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

from .credentials import is_random, is_secret_entry, is_simple_word
from .structure import CREDENTIAL_KEYS

MIN_SECRET_CHARS = 8
"""A shorter one would match parts of unrelated words."""

CREDENTIAL_FILES = ("auth.json", "mcp-auth.json")
"""Files in OpenCode's data folder (1.18.33): API keys of providers, tokens of MCP servers."""

SERVICE_FILE = "service.json"
"""The registration of that service, and its configuration."""

CREDENTIAL_VARIABLE = "OPENCODE_AUTH_CONTENT"
"""What OpenCode 1.18.33 reads instead of auth.json."""

COMPACT_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
"""JSON as JavaScript writes it, which escapes each character by itself. `json.dumps` makes an encoder for each call."""

log = logging.getLogger(__name__)


class KnownSecrets:
    """The values to replace, longest first, since one may contain another; `json_values` has them as in COMPACT_JSON.

    `own_secrets` are this process's, replaced unless they are simple words. From `environ`, random values of variables
    with a secret name and random passwords in URLs are replaced. `files`, and the JSON
    files in `folders`, are read again when they change.
    """

    def __init__(
        self,
        own_secrets: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
        files: Iterable[Path] = (),
        folders: Iterable[Path] = (),
    ) -> None:
        variables = environ or {}
        self._fixed = {secret for secret in own_secrets if is_distinctive(secret)}
        self._fixed |= {secret for secret in environment_secrets(variables) if is_random(secret)}
        self._fixed |= set(parse_credentials(variables.get(CREDENTIAL_VARIABLE, "")))
        self._files = tuple(files)
        self._folders = tuple(folders)
        self._file_stamps: dict[Path | str, tuple[int, int]] = {}
        self._set_values(self._fixed)
        self.refresh()

    def _set_values(self, secrets: Iterable[str]) -> None:
        self.values = encoded_forms(secrets)
        self.json_values = tuple(COMPACT_JSON.encode(value)[1:-1] for value in self.values)

    def refresh(self) -> None:
        """Read the credential files that have changed."""
        files = [*self._files, *(path for folder in self._folders for path in json_files(folder))]
        stamps = {path: stamp for path in files if (stamp := modification_stamp(path)) is not None}
        if stamps != self._file_stamps:
            self._file_stamps = stamps
            self._set_values({*self._fixed, *(secret for path in stamps for secret in read_credential_file(path))})


def credential_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the credential files of an OpenCode with this environment."""
    home = environ.get("HOME") or environ.get("USERPROFILE")
    data = environ.get("XDG_DATA_HOME") or (home and str(Path(home, ".local", "share")))
    return tuple(Path(data, "opencode", name) for name in CREDENTIAL_FILES) if data else ()


def service_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files with the password of the background service of OpenCode 2."""
    home = environ.get("HOME") or environ.get("USERPROFILE")
    folders = ((environ.get("XDG_STATE_HOME"), ".local/state"), (environ.get("XDG_CONFIG_HOME"), ".config"))
    return tuple(
        Path(folder or Path(home or "", default), "opencode", SERVICE_FILE)
        for folder, default in folders
        if folder or home
    )


def is_distinctive(value: str) -> bool:
    """Whether replacing a secret of this process cannot hit ordinary words."""
    return len(value) >= MIN_SECRET_CHARS and not is_simple_word(value)


def encoded_forms(values: Iterable[str]) -> tuple[str, ...]:
    """Return values, and the forms that they have in URLs and in JSON, the longest first.

    Each random line of a value with several, such as a private key, is one too: a diff or an excerpt has single lines.
    """
    texts = {text for value in values for text in (value, *filter(is_random, value.splitlines()))}
    forms = {*texts, *(quote(text, safe="") for text in texts)}
    forms |= {encode(text)[1:-1] for text in texts for encode in (json.dumps, COMPACT_JSON.encode)}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def environment_secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of variables with a secret name, and the passwords of URLs in all of them."""
    for name, value in environ.items():
        if is_secret_entry(name):
            yield value
        yield from url_passwords(value)


def url_passwords(url: str) -> Iterator[str]:
    """Yield the password of a URL, or its user name if that is all it has, as written and decoded."""
    if "@" not in url or "://" not in url:
        return
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    for secret in (parts.password or parts.username or "",):
        yield from {secret, unquote(secret)} - {""}


def json_files(folder: Path) -> list[str]:
    """Return the paths of the JSON files in a folder; none if it does not exist. `Path.glob` takes ten times as long,
    and this is done for every result."""
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".json")]
    except OSError:
        return []


def modification_stamp(path: Path | str) -> tuple[int, int] | None:
    """Return a file's modification time (ns) and size; None if the file does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def read_credential_file(path: Path | str) -> tuple[str, ...]:
    """Return the secrets of a credential file; one that cannot be read is logged."""
    try:
        return tuple(parse_credentials(Path(path).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        log.warning("cannot read the credentials in %s, so they are not redacted: %s", path, error)
        return ()


def parse_credentials(text: str) -> Iterator[str]:
    """Yield the random values below the keys of credentials in a JSON text."""
    try:
        value = json.loads(text)
    except ValueError:
        return
    yield from (text_value for text_value in iter_credential_texts(value) if is_random(text_value))


def iter_credential_texts(value: Any, secret: bool = False) -> Iterator[str]:
    """Yield the texts below keys that hold a secret."""
    if isinstance(value, str):
        yield from (value,) if secret else ()
    elif isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            names_secret = name in CREDENTIAL_KEYS or name == "codeVerifier" or is_secret_entry(name)
            yield from iter_credential_texts(inner, names_secret and isinstance(inner, str))
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from iter_credential_texts(inner, secret)
