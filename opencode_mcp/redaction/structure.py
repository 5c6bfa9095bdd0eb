"""Redaction by key and position, in responses that describe configuration, credentials, MCP servers or processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Any, cast

from .entropy import PATH
from .keys import MARKER, hidden, is_credential, is_placeholder, without_keys
from .names import is_secret, is_secret_entry, words_of


class Position(Enum):
    """The position of a value in a response; it decides how the value is redacted."""

    CONTENT = auto()
    """Content of the project or of a conversation: only known secret values are replaced."""
    IDENTITY = auto()
    """An id, a path or a directory: never altered."""
    ENTRY = auto()
    """A value of a configuration; keys of its objects can name secrets."""
    NAMES = auto()
    """An object whose keys are names that a user chose, such as those of MCP servers."""
    PAIRS = auto()
    """Headers or an environment."""
    ARGUMENTS = auto()
    """A command with its arguments, as a list or a text."""
    HEADER = auto()
    """A header as one text, `Name: value`."""
    LOGIN = auto()
    """`user:password` as one text."""
    ADDRESS = auto()
    """The URL of a server, whose path can hold a key."""
    MESSAGES = auto()
    """Messages: content, except the response headers of a provider in their errors."""
    EVENTS = auto()
    """Events: messages, and some that describe processes."""
    SECRET = auto()
    """A secret: every text below is replaced; numbers, empty texts and the shape stay."""


IDENTITY_KEYS = frozenset(
    (
        *("absolute", "cwd", "directory", "file", "filename", "filePath", "home", "id", "path", "paths", "root"),
        *("session_id", "session_ids", "request_id", "parent_id", "worktree", "worktree_of"),
    )
)
IDENTITY_ENDINGS = ("ID", "IDs", "Path", "Directory")
CONTENT_KEYS = frozenset({"description", "permission", "prompt", "template"})
"""Configuration keys whose values are the user's text or patterns."""

NAMES_KEYS = frozenset(
    (
        *("agent", "command", "default", "formatter", "lsp", "mcp", "mode", "models", "provider", "tools"),
        "variants",
    )
)
PAIRS_KEYS = frozenset({"env", "environment", "headers"})
ARGUMENTS_KEYS = frozenset({"args", "argv", "cmd", "command", "env", "environment"})
PROCESS_EVENTS = ("pty.",)

CREDENTIAL_KEYS = frozenset({"access", "key", "refresh"})
"""Keys that hold a secret in OpenCode's credentials and providers (1.18.33); elsewhere they hold anything."""

SPECIAL_KEYS = CONTENT_KEYS | NAMES_KEYS | PAIRS_KEYS | ARGUMENTS_KEYS | CREDENTIAL_KEYS | {"url"}
CONVERSATION = frozenset({Position.CONTENT, Position.MESSAGES, Position.EVENTS})
CREDENTIAL_TYPES = frozenset({"api", "key", "oauth"})
HEADER_FLAGS = frozenset({"-H", "--header", "--headers"})
LOGIN_FLAGS = frozenset({"-u", "--user", "--proxy-user"})
FLAG = re.compile(r"(?P<quote>[\"']?)(?P<name>-{0,2}[A-Za-z_][\w.-]*)(?P<equals>=)(?P<value>.*)", re.DOTALL)
HEADER = re.compile(r"(?P<name>[A-Za-z][\w-]*)(?P<colon>:\s*)(?P<value>.*)", re.DOTALL)


def field_position(position: Position, name: str, value: Any, owner: Mapping[str, Any]) -> Position:
    """Return the position of a field; `owner` is the object that it belongs to."""
    if position is Position.ENTRY:
        return Position.ENTRY if is_ordinary(name) else entry_position(name, value, owner)
    if position in CONVERSATION:
        return content_position(position, name, value, owner)
    match position:
        case Position.SECRET:
            return Position.SECRET
        case Position.IDENTITY:  # the list of a result, and what came beside it
            return Position.IDENTITY if name == "result" else Position.CONTENT
        case Position.PAIRS:
            return Position.SECRET if is_secret_entry(name) and not is_path_of(name, value) else Position.PAIRS
        case Position.NAMES:
            return Position.ENTRY
        case _:
            return entry_position(name, value, owner)


def content_position(position: Position, name: str, value: Any, owner: Mapping[str, Any]) -> Position:
    """Return the position of a field of content, of messages, or of events."""
    if position is Position.EVENTS and str(owner.get("type", "")).startswith(PROCESS_EVENTS):
        return Position.ENTRY
    if position is not Position.CONTENT and name == "responseHeaders" and "isRetryable" in owner:
        return Position.PAIRS
    return Position.IDENTITY if is_identity(name, value) else position


def entry_position(name: str, value: Any, owner: Mapping[str, Any]) -> Position:
    """Return the position of a field of a configuration."""
    if name in CONTENT_KEYS:
        return Position.CONTENT
    if isinstance(value, Mapping):
        for keys, position in ((PAIRS_KEYS, Position.PAIRS), (NAMES_KEYS, Position.NAMES)):
            if name in keys:
                return position
    elif name in ARGUMENTS_KEYS and isinstance(value, (list, str)):
        return Position.ARGUMENTS
    if holds_secret(name, value, owner):
        return Position.SECRET
    if is_identity(name, value):
        return Position.IDENTITY
    return Position.ADDRESS if name == "url" else Position.ENTRY


@lru_cache(maxsize=4096)
def is_ordinary(name: str) -> bool:
    """Whether a configuration key has no rule of its own."""
    special = name in SPECIAL_KEYS or names_identity(name)
    return not special and not is_secret(name)


def holds_secret(name: str, value: Any, owner: Mapping[str, Any]) -> bool:
    """Whether a field holds a secret. For a value with a `type`, its own keys decide."""
    kind = owner.get("type")  # in a JSON Schema it may be a list
    credential = (isinstance(kind, str) and kind in CREDENTIAL_TYPES) or "env" in owner
    typed = isinstance(value, Mapping) and "type" in value  # a JSON Schema, or a credential
    if credential and name in CREDENTIAL_KEYS:
        return True
    return is_secret(name) and not typed and not is_path_of(name, value)


def is_path_of(name: str, value: Any) -> bool:
    """Whether `…CREDENTIALS` names a file that holds them."""
    return isinstance(value, str) and words_of(name)[-1:] == ("credentials",) and PATH.match(value) is not None


def is_identity(name: str, value: Any) -> bool:
    """Whether a field is an id, a path or a directory, or a list of these."""
    return names_identity(name) and not isinstance(value, Mapping)


@lru_cache(maxsize=4096)
def names_identity(name: str) -> bool:
    """Whether a key names an id, a path or a directory."""
    return name in IDENTITY_KEYS or name.endswith(IDENTITY_ENDINGS)


def item_positions(position: Position, items: Iterable[Any]) -> Iterator[tuple[Any, Position]]:
    """Yield the items of a list with their positions: what follows a flag such as `--token` is its value."""
    following = position
    for item in items:
        yield item, following
        following = position
        if position is Position.ARGUMENTS and isinstance(item, str):
            following = following_position(item)


def following_position(argument: str) -> Position:
    """Return the position of the argument that follows this one."""
    if argument in HEADER_FLAGS:
        return Position.HEADER
    if argument in LOGIN_FLAGS:
        return Position.LOGIN
    flag = argument.startswith("-") and "=" not in argument and is_secret_entry(argument.lstrip("-"))
    return Position.SECRET if flag else Position.ARGUMENTS


def redact_text(text: str, position: Position) -> str:
    """Return a text without the secrets that its position implies."""
    match position:
        case Position.CONTENT | Position.IDENTITY | Position.MESSAGES | Position.EVENTS:
            return text
        case Position.SECRET:
            return hidden(text)
        case Position.LOGIN:
            return hidden(text) if ":" in text else text
        case Position.HEADER:
            return redact_header(text)
        case Position.PAIRS:
            return redact_value(text)
        case Position.ARGUMENTS:
            return redact_arguments(text)
        case _:
            return without_keys(text, paths=position is Position.ADDRESS)


def redact_value(text: str) -> str:
    """Return the value of a header, variable or flag without a credential; it may be JSON with more of them."""
    if is_credential(text):
        return MARKER
    if text.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(text)
        except ValueError:
            return without_keys(text)
        shown = redact_structure(value, Position.PAIRS)
        return text if shown == value else json.dumps(shown, ensure_ascii=False)
    return without_keys(text, paths=True)


def redact_header(text: str) -> str:
    """Return a header without its credential."""
    found = HEADER.fullmatch(text)
    if found is None:
        return redact_value(text)
    value = hidden(found["value"]) if is_secret_entry(found["name"]) else redact_value(found["value"])
    return found["name"] + found["colon"] + value


def redact_arguments(text: str) -> str:
    """Return an argument, or a whole command line, without its credentials."""
    if not any(character.isspace() for character in text):
        return redact_argument(text)
    if text.lstrip().startswith(("{", "[")):
        return redact_value(text)
    shown: list[str] = []
    following = Position.ARGUMENTS
    for word in re.split(r"(\s+)", text):
        if not word or word.isspace():
            shown.append(word)
            continue
        shown.append(redact_argument(word) if following is Position.ARGUMENTS else redact_text(word, following))
        following = following_word(word, following)
    return "".join(shown)


def following_word(word: str, position: Position) -> Position:
    """Return the position of the word after another in a command line, where quoted headers are several words."""
    bare = word.strip("\"'")
    if bare.lower() in {"basic", "bearer", "token"}:
        return Position.SECRET
    if bare.endswith(":") and (position is Position.HEADER or is_secret_entry(bare)):
        return Position.SECRET if is_secret_entry(bare) else Position.PAIRS
    return following_position(bare)


def redact_argument(text: str) -> str:
    """Return one argument without its credential: `--token=…`, `NAME=…`, `Name: …`, a URL, a key."""
    if "://" not in text.partition("=")[0] and (found := FLAG.fullmatch(text)):
        return found["quote"] + found["name"] + found["equals"] + flag_value(found["name"], found["value"])
    if "://" not in text and (found := HEADER.fullmatch(text)) and is_secret_entry(found["name"]):
        return redact_header(text)
    return redact_value(text) if not is_placeholder(text) else text


def flag_value(name: str, value: str) -> str:
    """Return the value of `name=value` without its credential; of `--env` it is a pair again."""
    if name in HEADER_FLAGS:
        return redact_header(value)
    if is_secret_entry(name.lstrip("-")):
        return hidden(value)
    return redact_argument(value) if name.startswith("-") and not is_credential(value) else redact_value(value)


def redact_structure(value: Any, position: Position) -> Any:
    """Return a copy of a JSON value without secrets, which its keys and positions identify."""
    if isinstance(value, str):
        return redact_text(value, position)
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {
            name: redact_structure(inner, field_position(position, name, inner, fields))
            for name, inner in fields.items()
        }
    if isinstance(value, list):
        return [redact_structure(item, at) for item, at in item_positions(position, cast("list[Any]", value))]
    return value
