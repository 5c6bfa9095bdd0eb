"""Secrets are taken out, wherever they are, and nothing else is; what nobody sees is made visible."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.redaction import MARKER, Position, Redactor, count_replaced, refuse_marker
from opencode_mcp.redaction.credentials import is_secret

REDACTOR = Redactor()


@pytest.mark.parametrize(
    "name",
    [
        *("apiKey", "api_key", "APIKey", "apikey", "x-api-key", "OPENAI_API_KEY", "privateKey", "AccessKey"),
        *("token", "accessToken", "refresh_token", "X-Authtoken", "GITHUB_TOKEN", "jwt"),
        *("password", "Password", "OPENCODE_SERVER_PASSWORD", "dbPasswd", "passphrase", "clientSecret", "secrets"),
        *("Authorization", "Proxy-Authorization", "Cookie", "set-cookie", "credentials"),
    ],
)
def test_values_of_secret_names_are_redacted(name: str) -> None:
    """These keys hold secrets."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("tokens", "max_tokens", "outputTokens", "tokenizer", "keybinds", "keys", "key", "monkey", "sessionKeyboard"),
        *("author", "oauth", "model", "baseURL", "access", "accessible", "refresh", "refreshInterval", "env", ""),
    ],
)
def test_values_of_other_names_are_kept(name: str) -> None:
    """These keys hold none, however alike they look."""
    assert not is_secret(name)


def test_secrets_are_redacted_at_every_depth() -> None:
    """A secret is found in objects and arrays, and below its key all texts are secret."""
    value: dict[str, Any] = {
        "provider": {"x": {"options": {"apiKey": "sk-1", "baseURL": "https://x.test/v1", "timeout": 5}}},
        "mcp": [
            {"headers": {"Authorization": "Bearer abc", "Accept": "text/plain"}},
            {"environment": {"A_TOKEN": "t"}},
        ],
        "credentials": {"github": ["one", {"user": "me", "until": 17, "valid": True, "note": None}]},
        "tokens": {"input": 1, "cache": {"read": 2}},
        "password": "",
    }

    assert REDACTOR.redact(value, Position.CONFIG) == {
        "provider": {"x": {"options": {"apiKey": MARKER, "baseURL": "https://x.test/v1", "timeout": 5}}},
        "mcp": [
            {"headers": {"Authorization": MARKER, "Accept": "text/plain"}},
            {"environment": {"A_TOKEN": MARKER}},
        ],
        "credentials": {"github": [MARKER, {"user": MARKER, "until": 17, "valid": True, "note": None}]},
        "tokens": {"input": 1, "cache": {"read": 2}},
        "password": "",
    }
    assert value["provider"]["x"]["options"]["apiKey"] == "sk-1"


def test_credentials_in_text_are_redacted() -> None:
    """`key`, `access` and `refresh` are secret in a credential and in a provider, and words like others elsewhere."""
    kept = [{"type": "text", "key": "region", "message": "?"}, {"key": "Enter"}, {"type": "wellknown", "key": "NAME"}]
    secret = [
        {"type": "api", "key": "k"},
        {"type": "oauth", "refresh": "r", "access": "a", "expires": 1},
        {"id": "x", "env": ["X_API_KEY"], "key": "k"},
        {"type": "wellknown", "key": "NAME", "token": "t"},
    ]

    assert REDACTOR.redact(kept, Position.CONFIG) == kept
    assert REDACTOR.redact(secret, Position.CONFIG) == [
        {"type": "api", "key": MARKER},
        {"type": "oauth", "refresh": MARKER, "access": MARKER, "expires": 1},
        {"id": "x", "env": ["X_API_KEY"], "key": MARKER},
        {"type": "wellknown", "key": "NAME", "token": MARKER},
    ]


def test_schemas_are_not_redacted() -> None:
    """What describes a secret is none."""
    schema = {"type": "object", "properties": {"password": {"type": "string", "description": "of the server"}}}

    assert REDACTOR.redact(schema, Position.CONFIG) == schema
    assert REDACTOR.redact({"type": ["string", "null"]}, Position.CONFIG) == {"type": ["string", "null"]}
    assert REDACTOR.redact({"type": {"key": "k"}, "key": "k"}, Position.CONFIG) == {"type": {"key": "k"}, "key": "k"}


def test_credentials_in_urls_are_redacted() -> None:
    """A URL loses its user name and password, and stays a URL."""
    urls = ["postgres://me:s3cret@db.test:5432/x?a=b:c@d", "https://x.test/a:b@c"]
    assert REDACTOR.redact(urls) == urls
    assert REDACTOR.redact(urls, Position.CONFIG) == [
        f"postgres://{MARKER}@db.test:5432/x?a=b:c@d",
        "https://x.test/a:b@c",
    ]


def test_known_secrets_are_redacted() -> None:
    """A value that is known to be secret is found in any text, the longer one first; a short one is not looked for."""
    redactor = Redactor(["hunter2hunter2", "hunter2hunter2-and-more", "short", ""])

    assert redactor.redact_text("a hunter2hunter2-and-more b hunter2hunter2 short") == f"a {MARKER} b {MARKER} short"
    assert redactor.redact({"k hunter2hunter2": ["hunter2hunter2"]}) == {f"k {MARKER}": [MARKER]}


def test_secrets_are_shown_when_configured() -> None:
    """With --show-secrets they stay, and what is invisible is still made visible."""
    redactor = Redactor(["hunter2hunter2"], show_secrets=True)

    assert redactor.redact({"apiKey": "hunter2hunter2\u202e"}, Position.CONFIG) == {"apiKey": "hunter2hunter2<U+202E>"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb\u2066c", "a<U+202E>b<U+2066>c"),
        ("zero\u200bwidth", "zero<U+200B>width"),
        ("\x1b[31mred\x1b[0m\x00", "<U+001B>[31mred<U+001B>[0m<U+0000>"),
        ("a" + "".join(chr(0xE0000 + ord(one)) for one in "hi"), "a<U+E0068><U+E0069>"),
        ("\ufeffstart", "<U+FEFF>start"),
        ("half \ud83d pair", "half <U+D83D> pair"),
        ("\N{HEAVY BLACK HEART}\ufe0f\u200d\N{FIRE} \N{MAN}\u200d\N{WOMAN}",) * 2,
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",) * 2,
        ("\N{FIRE}\ufe0f\ufe01\ufe02", "\N{FIRE}<U+FE0F><U+FE01><U+FE02>"),
        ("a\u200db", "a<U+200D>b"),
        ("tab\tline\nline\r\n \N{NO-BREAK SPACE} é 中文",) * 2,
    ],
)
def test_invisible_characters_are_escaped(text: str, shown: str) -> None:
    """They are written by their numbers, unless a script or an emoji needs them; what is seen stays."""
    assert Redactor().redact_text(text) == shown


@pytest.mark.parametrize(
    "arguments",
    [
        {"body": {"provider": {"x": {"options": {"apiKey": MARKER}}}}},
        {"patch": f"--- a/app.py\n+++ b/app.py\n@@ -1 +1 @@\n-x\n+import {MARKER}\n"},
        {"parts": [{"type": "text", "text": f"write {MARKER} into it"}]},
        {"url": "https://%5Bredacted%3Aopencode-mcp%5D@x.test/"},
        {"body": {"mcp": {MARKER: {"enabled": True}}}},
        {"text": MARKER.upper()},
    ],
)
def test_the_redaction_marker_is_refused_anywhere(arguments: dict[str, Any]) -> None:
    """In a part of a text, in a key, encoded: written, it would replace the secret or end up in a file."""
    with pytest.raises(InvalidArguments, match=r"(body|patch|parts|url|text)[\w.]*: \[redacted:opencode-mcp\]"):
        refuse_marker("config_update", arguments)


def test_text_like_the_marker_is_accepted() -> None:
    """Programs write `[redacted]` of their own; it can be written."""
    refuse_marker("vcs_apply", {"patch": "+ log.info('[redacted]')", "n": 1, "list": ["redacted", None]})


def test_replaced_secrets_are_counted() -> None:
    """Each secret counts once; a marker that was there before does not count."""
    redactor = Redactor(["hunter2hunter2"])
    shown = redactor.redact({"a": f"hunter2hunter2 {MARKER} hunter2hunter2", "b": ["hunter2hunter2"], "c": MARKER})

    assert count_replaced(shown) == 3
    assert count_replaced(redactor.redact({"apiKey": MARKER}, Position.CONFIG)) == 0


def test_ids_paths_and_directories_are_never_altered() -> None:
    """Not even where they hold a value that is known to be secret."""
    redactor = Redactor(["hunter2hunter2"])
    value = {
        "id": "hunter2hunter2",
        "sessionID": "ses_hunter2hunter2",
        "directory": "/srv/hunter2hunter2",
        "path": {"cwd": "/srv/hunter2hunter2"},
        "paths": ["hunter2hunter2/a.py"],
    }

    assert redactor.redact(value) == value
    assert redactor.redact(value, Position.CONFIG) == value
    assert redactor.redact({"result": ["hunter2hunter2/a.py"]}, Position.IDENTIFIER) == {
        "result": ["hunter2hunter2/a.py"]
    }
