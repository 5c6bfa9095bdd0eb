"""Redaction measured: no byte of a project changes, and no planted key is left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import opencode_mcp
from opencode_mcp.redaction import KnownSecrets, Position, Redactor, count_replaced

from .planted_keys import PROVIDERS, draw_keys, make_configuration

HERE = Path(__file__).parent
REPOSITORY = Path(opencode_mcp.__file__).parent.parent
KEYS_PER_PROVIDER = 100

KNOWN_PASSWORD = "vB7-kq9_Zr2mWx4Tn8Lp"


def corpus_files() -> Iterator[Path]:
    """This package's own sources and documents, and the files of the corpus."""
    yield from sorted(REPOSITORY.glob("*.md"))
    for folder, kinds in (
        ("opencode_mcp", "py"),
        ("tests", "py"),
        ("examples", "py"),
        ("scripts", "py"),
        ("docs", "md"),
    ):
        yield from sorted((REPOSITORY / folder).rglob(f"*.{kinds}"))
    yield from sorted(path for path in (HERE / "corpus").rglob("*") if path.is_file())


def corpus_variables() -> dict[str, str]:
    """The variables of the corpus' env files: a project's everyday environment."""
    values: dict[str, str] = {}
    for path in sorted((HERE / "corpus").rglob("dotenv")):
        pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
        values |= {f"{path.parent.name}_{name}".upper(): value for name, _, value in pairs}
    return values


ENVIRON: Mapping[str, str] = {
    **corpus_variables(),
    "POSTGRES_PASSWORD": "postgres",
    "DB_PASSWORD": "password",
    "COOKIE_DOMAIN": "localhost",
    "ADMIN_TOKEN": "opencode_mcp",
    "TEST_SECRET": "parametrize",
    "SSH_AUTH_SOCK": "/tmp/ssh-XXXXXXabcdef/agent.4711",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/shop/secrets/service-account.json",
    "TOKENIZERS_PARALLELISM": "false",
    "GPG_PASSPHRASE": "correct-horse-battery-staple",
    "API_TOKEN": "1234567890123456",
    "REAL_TOKEN": KNOWN_PASSWORD,
}


def test_project_files_are_not_altered() -> None:
    """Neither of this package nor of a JavaScript and a PHP project with their env, config and lock files."""
    redactor = Redactor(KnownSecrets(["opencode", "postgres", KNOWN_PASSWORD], ENVIRON))
    texts = {path: path.read_text(encoding="utf-8") for path in corpus_files()}
    texts = {path: text for path, text in texts.items() if KNOWN_PASSWORD not in text}

    changed = [str(path) for path, text in texts.items() if redactor.redact_text(text) != text]

    assert changed == []
    assert len(texts) > 200
    assert sum(map(len, texts.values())) > 1_000_000


def test_the_corpus_is_not_empty() -> None:
    """The same redactor finds what is random, so that nothing changes for a reason."""
    redactor = Redactor(KnownSecrets((), ENVIRON))

    assert KNOWN_PASSWORD not in redactor.redact_text(f"const token = '{KNOWN_PASSWORD}';")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_planted_keys_are_redacted_in_configuration(provider: str) -> None:
    """Wherever a key can stand in it; everything else of the configuration stays."""
    for key in draw_keys(provider, KEYS_PER_PROVIDER):
        shown = Redactor().redact(make_configuration(key), Position.CONFIG)
        text = json.dumps(shown)

        assert key not in text
        assert key.replace("/", "_").replace("+", "-") not in text
        assert count_replaced(shown) >= 40
        assert drop_texts(shown) == drop_texts(make_configuration(key))
        assert shown["mcp"]["local"]["command"][:4] == ["npx", "-y", "server", "--token"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_planted_environment_keys_are_redacted_in_content(provider: str) -> None:
    """A file, a command's output or a transcript that holds one of them does not show it."""
    for key in draw_keys(provider, KEYS_PER_PROVIDER):
        redactor = Redactor(KnownSecrets((), {"SOME_API_KEY": key}))

        assert key not in redactor.redact_text(f"export SOME_API_KEY={key}\n")


def drop_texts(value: Any) -> Any:
    """Return the shape of a value."""
    if isinstance(value, dict):
        return {name: drop_texts(inner) for name, inner in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [drop_texts(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return "" if isinstance(value, str) else value
