"""The package uses the field's words: no word with a private meaning as an identifier, a module or in a text."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import opencode_mcp

ROOT = Path(opencode_mcp.__file__).parent.parent
SOURCES = sorted(ROOT.glob("opencode_mcp/**/*.py"))
PAGES = sorted({ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md"), ROOT / "CHANGELOG.md"})

IDENTIFIERS = {
    "keeper": "supervisor",
    "fence": "allowlist",
    "outgoing": "redaction",
    "truth": "session state, snapshot",
    "verdict": "status",
    "judge": "classify",
    "judged": "classify",
    "doubt": "stalled",
    "doubted": "stale",
    "settle": "wait_until_settled",
    "attend": "wait_and_reply",
    "stirred": "wake-up",
    "look": "read",
    "looked": "read",
    "asker": "elicitor",
    "told": "report, message",
    "tell": "report, send, print",
    "tells": "report, send, print",
    "hear": "subscribe, start",
    "heard": "ready, subscribe",
    "hearing": "active",
    "notice": "listener, dispatch",
    "noticed": "dispatch",
    "begun": "started",
    "placed": "resolved",
    "admitted": "authorized",
    "impatient": "without_retries",
    "given": "arguments, value",
    "wanted": "entry, expected",
    "toolbox": "registry",
    "shorten": "truncate",
    "nowhere": "not_found",
    "somebody": "user, client",
    "whoever": "client, caller",
}
"""Words that no identifier contains, each with what to write. A word is a part between underscores or capitals."""

EXACT = {"one": "the thing's name: session, tool, entry", "id": "session_id, request_id: `id` is a builtin"}
"""Names that no variable or parameter has as a whole."""

MODULES = {
    "keeper": "supervisor",
    "fence": "allowlist",
    "outgoing": "redaction",
    "exchanges": "execute",
    "queue": "limiter",
    "truth": "session_state",
    "turns": "blocking",
    "place": "workspace",
    "places": "location_arguments",
    "identity": "idempotency",
    "choices": "model_selection",
    "table": "registry",
    "asking": "elicitation",
    "ending": "shutdown",
    "patience": "request_timeout",
    "running": "if_running",
    "pipes": "streams",
    "fanout": "redis_bus",
    "watching": "watcher",
    "contents": "readers",
    "calls": "tool_handlers",
    "publish": "compact_schema",
    "shorten": "truncate",
    "toolbox": "registry",
    "given": "arguments",
    "wanted": "entry",
    "reach": "connection",
    "working": "capabilities",
    "finding": "check_result",
    "eras": "negotiation",
    "workflows": "tasks",
}
"""Names that no module or package has."""

PHRASES = {
    r"is told|are told|tells? (?:you|whoever|the client|the model|the user)": "reports, sends",
    r"whoever": "the client, the caller, anyone who",
    r"somebody|nobody": "the user, a client, no client",
    r"for ever": "without limit",
    r"(?<!there\s)(?:is|are) no(?! longer| more)": "is not a; `there is no` is plain",
    r"(?:is|are) to be": "must be, will be",
    r"of ours": "of this package",
    r"the truth about": "the state of",
    r"keeper": "supervisor",
    r"verdict": "status",
    r"hears? of": "gets, receives",
}
"""Phrases that stand in no text, as regular expressions, each with what to write."""

COMMENT_PHRASES = {
    r"the truth": "the snapshot, the state",
    r"verdict": "status",
    r"doubts?": "stall",
    r"whoever": "the client, the caller, anyone who",
    r"somebody|nobody": "the user, a client, no client",
    r"of ours": "of this package",
    r"fit to leave": "redacted",
    r"keeper": "supervisor",
    r"workflows?": "task tools",
    r"stirred": "wake-up",
}
"""Phrases that stand in no docstring or comment, as regular expressions, each with what to write."""

WIRE = {("server/resources/readers.py", "id"): "a variable of the URI templates that clients see"}
"""Identifiers and texts that are data of a protocol, by (file, word), each with the reason."""

TEXT = re.compile("|".join(rf"\b(?:{phrase})\b" for phrase in PHRASES).replace(" ", r"\s+"), re.IGNORECASE)

COMMENT = re.compile("|".join(rf"\b(?:{phrase})\b" for phrase in COMMENT_PHRASES).replace(" ", r"\s+"), re.IGNORECASE)


def words_of(identifier: str) -> list[str]:
    """Split an identifier at underscores and capitals, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", identifier)]


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Yield (line, name, whether it is a variable) of all that a module defines; what it uses is defined elsewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name, False
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, True
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id, True
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr, False
        elif isinstance(node, ast.alias) and node.asname:
            yield 0, node.asname, True


def fields(tree: ast.AST) -> set[int]:
    """Return the lines of fields of classes: `id` as a field is the wire's."""
    return {
        statement.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign | ast.Assign)
    }


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of the string literals that a user may see: neither docstrings nor keys of a dict."""
    keys = {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
    keys |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys:
            yield node.lineno, node.value


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of the comments and docstrings of a module."""
    with path.open("rb") as file:
        yield from (
            (token.start[0], token.string)
            for token in tokenize.tokenize(file.readline)
            if token.type == tokenize.COMMENT
        )
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def name_of(path: Path) -> str:
    """Return a path below the package."""
    return path.relative_to(ROOT / "opencode_mcp").as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_identifiers_use_the_words_of_the_field(path: Path) -> None:
    """Functions, classes, parameters, variables and attributes that a module defines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    of_classes = fields(tree)
    bad = [
        f"{path.name}:{line}: {name} -> {IDENTIFIERS[word]}"
        for line, name, _ in identifiers(tree)
        for word in words_of(name)
        if word in IDENTIFIERS and (name_of(path), word) not in WIRE
    ]
    bad += [
        f"{path.name}:{line}: {name} -> {EXACT[name]}"
        for line, name, is_variable in identifiers(tree)
        if is_variable and name in EXACT and line not in of_classes and (name_of(path), name) not in WIRE
    ]

    assert bad == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_texts_use_the_words_of_the_field(path: Path) -> None:
    """Errors, descriptions, help and log messages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bad = [
        f"{path.name}:{line}: {found.group()!r}"
        for line, text in texts(tree)
        for found in TEXT.finditer(text)
        if (name_of(path), found.group().lower()) not in WIRE
    ]

    assert bad == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_comments_use_the_words_of_the_field(path: Path) -> None:
    """Docstrings as well."""
    bad = [f"{path.name}:{line}: {found.group()!r}" for line, text in prose(path) for found in COMMENT.finditer(text)]

    assert bad == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_use_the_words_of_the_field(path: Path) -> None:
    """The README, the documentation and the changelog."""
    lines = path.read_text(encoding="utf-8").splitlines()

    assert [f"{number}: {line}" for number, line in enumerate(lines, 1) if TEXT.search(line)] == []


def test_modules_use_the_words_of_the_field() -> None:
    """Files and packages."""
    names = {part for path in SOURCES for part in path.relative_to(ROOT).with_suffix("").parts}

    assert {name: MODULES[name] for name in names & MODULES.keys()} == {}


def test_an_identifier_is_split_into_words() -> None:
    """At underscores and capitals; a word within a word does not count."""
    assert words_of("_tell_late") == ["tell", "late"]
    assert words_of("ToldError") == ["told", "error"]
    assert words_of("HTTPKeeper2") == ["http", "keeper", "2"]
    assert words_of("intelligent") == ["intelligent"]
