"""Redaction by key and position, in responses that describe configuration, credentials, MCP servers or processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Any, cast

from .credentials import (
    MARKER,
    PATH,
    is_credential,
    is_placeholder,
    is_secret,
    is_secret_entry,
    mask,
    mask_credentials,
    split_words,
)


class Position(Enum):
    """The position of a value in a response; it decides how the value is redacted."""

    CONTENT = auto()
    """Content of the project or of a conversation: only known secret values are replaced."""
    IDENTIFIER = auto()
    """An id, a path or a directory: never altered."""
    CONFIG = auto()
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


IDENTIFIER_KEYS = frozenset(
    (
        *("absolute", "cwd", "directory", "file", "filename", "filePath", "home", "id", "path", "paths", "root"),
        *("session_id", "session_ids", "request_id", "parent_id", "worktree", "worktree_of"),
    )
)
IDENTIFIER_ENDINGS = ("ID", "IDs", "Path", "Directory")
CONTENT_KEYS = frozenset({"description", "permission", "prompt", "template"})
"""Configuration keys whose values are the user's text or patterns."""

NAMES_KEYS = frozenset(
    ("agent", "command", "default", "formatter", "lsp", "mcp", "mode", "models", "provider", "tools", "variants")
)
PAIRS_KEYS = frozenset({"env", "environment", "headers"})
ARGUMENTS_KEYS = frozenset({"args", "argv", "cmd", "command", "env", "environment"})
PROCESS_EVENTS = ("pty.",)

CREDENTIAL_KEYS = frozenset({"access", "key", "refresh"})
"""Keys that hold a secret in OpenCode's credentials and providers (1.18.33); elsewhere they hold anything."""

SPECIAL_KEYS = CONTENT_KEYS | NAMES_KEYS | PAIRS_KEYS | ARGUMENTS_KEYS | CREDENTIAL_KEYS | {"url"}
CONVERSATION_POSITIONS = frozenset({Position.CONTENT, Position.MESSAGES, Position.EVENTS})
CREDENTIAL_TYPES = frozenset({"api", "key", "oauth"})
HEADER_FLAGS = frozenset({"-H", "--header", "--headers"})
LOGIN_FLAGS = frozenset({"-u", "--user", "--proxy-user"})
FLAG = re.compile(r"(?P<quote>[\"']?)(?P<name>-{0,2}[A-Za-z_][\w.-]*)(?P<equals>=)(?P<value>.*)", re.DOTALL)
HEADER = re.compile(r"(?P<name>[A-Za-z][\w-]*)(?P<colon>:\s*)(?P<value>.*)", re.DOTALL)


def field_position(position: Position, name: str, value: Any, owner: Mapping[str, Any]) -> Position:
    """Return the position of a field; `owner` is the object that it belongs to."""
    if position is Position.CONFIG:
        return Position.CONFIG if is_ordinary(name) else config_position(name, value, owner)
    if position in CONVERSATION_POSITIONS:
        return content_position(position, name, value, owner)
    match position:
        case Position.SECRET:
            return Position.SECRET
        case Position.IDENTIFIER:  # the list of a result; its other fields are content
            return Position.IDENTIFIER if name == "result" else Position.CONTENT
        case Position.PAIRS:
            return Position.SECRET if is_secret_entry(name) and not is_credentials_path(name, value) else Position.PAIRS
        case Position.NAMES:
            return Position.CONFIG
        case _:
            return config_position(name, value, owner)


def content_position(position: Position, name: str, value: Any, owner: Mapping[str, Any]) -> Position:
    """Return the position of a field of content, of messages, or of events."""
    if position is Position.EVENTS and str(owner.get("type", "")).startswith(PROCESS_EVENTS):
        return Position.CONFIG
    if position is not Position.CONTENT and name == "responseHeaders" and "isRetryable" in owner:
        return Position.PAIRS
    return Position.IDENTIFIER if is_identifier_key(name) and not isinstance(value, Mapping) else position


def config_position(name: str, value: Any, owner: Mapping[str, Any]) -> Position:
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
    if is_identifier_key(name) and not isinstance(value, Mapping):
        return Position.IDENTIFIER
    return Position.ADDRESS if name == "url" else Position.CONFIG


@lru_cache(maxsize=4096)
def is_ordinary(name: str) -> bool:
    """Whether a configuration key has no rule of its own."""
    special = name in SPECIAL_KEYS or is_identifier_key(name)
    return not special and not is_secret(name)


def holds_secret(name: str, value: Any, owner: Mapping[str, Any]) -> bool:
    """Whether a field holds a secret. For a value with a `type`, its own keys decide."""
    owner_type = owner.get("type")  # in a JSON Schema it may be a list
    is_credential_owner = (isinstance(owner_type, str) and owner_type in CREDENTIAL_TYPES) or "env" in owner
    has_type = isinstance(value, Mapping) and "type" in value  # a JSON Schema, or a credential
    if is_credential_owner and name in CREDENTIAL_KEYS:
        return True
    return is_secret(name) and not has_type and not is_credentials_path(name, value)


def is_credentials_path(name: str, value: Any) -> bool:
    """Whether `…CREDENTIALS` names a file that holds them."""
    return isinstance(value, str) and split_words(name)[-1:] == ("credentials",) and PATH.match(value) is not None


@lru_cache(maxsize=4096)
def is_identifier_key(name: str) -> bool:
    """Whether a key names an id, a path or a directory, or a list of these."""
    return name in IDENTIFIER_KEYS or name.endswith(IDENTIFIER_ENDINGS)


def item_positions(position: Position, items: Iterable[Any]) -> Iterator[tuple[Any, Position]]:
    """Yield the items of a list with their positions: what follows a flag such as `--token` is its value."""
    next_position = position
    for item in items:
        yield item, next_position
        next_position = position
        if position is Position.ARGUMENTS and isinstance(item, str):
            next_position = next_argument_position(item)


def next_argument_position(argument: str) -> Position:
    """Return the position of the argument that follows this one."""
    if argument in HEADER_FLAGS:
        return Position.HEADER
    if argument in LOGIN_FLAGS:
        return Position.LOGIN
    is_secret_flag = argument.startswith("-") and "=" not in argument and is_secret_entry(argument.lstrip("-"))
    return Position.SECRET if is_secret_flag else Position.ARGUMENTS


def redact_text(text: str, position: Position) -> str:
    """Return a text without the secrets that its position implies."""
    match position:
        case Position.CONTENT | Position.IDENTIFIER | Position.MESSAGES | Position.EVENTS:
            return text
        case Position.SECRET:
            return mask(text)
        case Position.LOGIN:
            return mask(text) if ":" in text else text
        case Position.HEADER:
            return redact_header(text)
        case Position.PAIRS:
            return redact_value(text)
        case Position.ARGUMENTS:
            return redact_arguments(text)
        case _:
            return mask_credentials(text, paths=position is Position.ADDRESS)


def redact_value(text: str) -> str:
    """Return the value of a header, variable or flag without a credential; it may be JSON with more of them."""
    if is_credential(text):
        return MARKER
    if text.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(text)
        except ValueError:
            return mask_credentials(text)
        redacted = redact_structure(value, Position.PAIRS)
        return text if redacted == value else json.dumps(redacted, ensure_ascii=False)
    return mask_credentials(text, paths=True)


def redact_header(text: str) -> str:
    """Return a header without its credential."""
    match = HEADER.fullmatch(text)
    if match is None:
        return redact_value(text)
    value = mask(match["value"]) if is_secret_entry(match["name"]) else redact_value(match["value"])
    return match["name"] + match["colon"] + value


def redact_arguments(text: str) -> str:
    """Return an argument, or a whole command line, without its credentials."""
    if not any(character.isspace() for character in text):
        return redact_argument(text)
    if text.lstrip().startswith(("{", "[")):
        return redact_value(text)
    redacted: list[str] = []
    next_position = Position.ARGUMENTS
    for word in re.split(r"(\s+)", text):
        if not word or word.isspace():
            redacted.append(word)
            continue
        redacted.append(
            redact_argument(word) if next_position is Position.ARGUMENTS else redact_text(word, next_position)
        )
        next_position = next_word_position(word, next_position)
    return "".join(redacted)


def next_word_position(word: str, position: Position) -> Position:
    """Return the position of the word after another in a command line, where quoted headers are several words."""
    bare = word.strip("\"'")
    if bare.lower() in {"basic", "bearer", "token"}:
        return Position.SECRET
    if bare.endswith(":") and (position is Position.HEADER or is_secret_entry(bare)):
        return Position.SECRET if is_secret_entry(bare) else Position.PAIRS
    return next_argument_position(bare)


def redact_argument(text: str) -> str:
    """Return one argument without its credential: `--token=…`, `NAME=…`, `Name: …`, a URL, a key."""
    if "://" not in text.partition("=")[0] and (match := FLAG.fullmatch(text)):
        return match["quote"] + match["name"] + match["equals"] + redact_flag_value(match["name"], match["value"])
    if "://" not in text and (match := HEADER.fullmatch(text)) and is_secret_entry(match["name"]):
        return redact_header(text)
    return redact_value(text) if not is_placeholder(text) else text


def redact_flag_value(name: str, value: str) -> str:
    """Return the value of `name=value` without its credential; of `--env` it is a pair again."""
    if name in HEADER_FLAGS:
        return redact_header(value)
    if is_secret_entry(name.lstrip("-")):
        return mask(value)
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
        return [
            redact_structure(item, item_position)
            for item, item_position in item_positions(position, cast("list[Any]", value))
        ]
    return value
