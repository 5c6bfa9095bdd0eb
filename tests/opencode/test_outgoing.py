"""Secrets are taken out, wherever they are, and nothing else is; what nobody sees is made visible."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode.outgoing import REDACTED, Outgoing, is_secret, refuse_redacted

OUTGOING = Outgoing()


@pytest.mark.parametrize(
    "name",
    [
        *("apiKey", "api_key", "APIKey", "apikey", "x-api-key", "OPENAI_API_KEY", "privateKey", "AccessKey"),
        *("token", "accessToken", "refresh_token", "X-Authtoken", "GITHUB_TOKEN", "jwt"),
        *("password", "Password", "OPENCODE_SERVER_PASSWORD", "dbPasswd", "passphrase", "clientSecret", "secrets"),
        *("Authorization", "Proxy-Authorization", "Cookie", "set-cookie", "credentials"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    """These keys hold secrets."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("tokens", "max_tokens", "outputTokens", "tokenizer", "keybinds", "keys", "key", "monkey", "sessionKeyboard"),
        *("author", "oauth", "model", "baseURL", "access", "accessible", "refresh", "refreshInterval", "env", ""),
    ],
)
def test_names_of_other_things(name: str) -> None:
    """These keys hold none, however alike they look."""
    assert not is_secret(name)


def test_every_depth() -> None:
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

    assert OUTGOING.value(value) == {
        "provider": {"x": {"options": {"apiKey": REDACTED, "baseURL": "https://x.test/v1", "timeout": 5}}},
        "mcp": [
            {"headers": {"Authorization": REDACTED, "Accept": "text/plain"}},
            {"environment": {"A_TOKEN": REDACTED}},
        ],
        "credentials": {"github": [REDACTED, {"user": REDACTED, "until": 17, "valid": True, "note": None}]},
        "tokens": {"input": 1, "cache": {"read": 2}},
        "password": "",
    }
    assert value["provider"]["x"]["options"]["apiKey"] == "sk-1"


def test_credentials() -> None:
    """`key`, `access` and `refresh` are secret in a credential and in a provider, and words like others elsewhere."""
    kept = [{"type": "text", "key": "region", "message": "?"}, {"key": "Enter"}, {"type": "wellknown", "key": "NAME"}]
    secret = [
        {"type": "api", "key": "k"},
        {"type": "oauth", "refresh": "r", "access": "a", "expires": 1},
        {"id": "x", "env": ["X_API_KEY"], "key": "k"},
        {"type": "wellknown", "key": "NAME", "token": "t"},
    ]

    assert OUTGOING.value(kept) == kept
    assert OUTGOING.value(secret) == [
        {"type": "api", "key": REDACTED},
        {"type": "oauth", "refresh": REDACTED, "access": REDACTED, "expires": 1},
        {"id": "x", "env": ["X_API_KEY"], "key": REDACTED},
        {"type": "wellknown", "key": "NAME", "token": REDACTED},
    ]


def test_schemas() -> None:
    """What describes a secret is none."""
    schema = {"type": "object", "properties": {"password": {"type": "string", "description": "of the server"}}}

    assert OUTGOING.value(schema) == schema
    assert OUTGOING.value({"type": ["string", "null"]}) == {"type": ["string", "null"]}
    assert OUTGOING.value({"type": {"key": "k"}, "key": "k"}) == {"type": {"key": "k"}, "key": "k"}


def test_urls() -> None:
    """A URL loses its user name and password, and stays a URL."""
    assert Outgoing().value(["postgres://me:s3cret@db.test:5432/x?a=b:c@d", "https://x.test/a:b@c"]) == [
        f"postgres://{REDACTED}@db.test:5432/x?a=b:c@d",
        "https://x.test/a:b@c",
    ]


def test_known_values() -> None:
    """A value that is known to be secret is found in any text, the longer one first; a short one is not looked for."""
    outgoing = Outgoing(["hunter2hunter2", "hunter2hunter2-and-more", "short", ""])

    assert outgoing.text("a hunter2hunter2-and-more b hunter2hunter2 short") == f"a {REDACTED} b {REDACTED} short"
    assert outgoing.plain({"k hunter2hunter2": ["hunter2hunter2"]}) == {f"k {REDACTED}": [REDACTED]}


def test_secrets_that_are_to_be_shown() -> None:
    """With --show-secrets they stay, and what is invisible is still made visible."""
    outgoing = Outgoing(["hunter2hunter2"], show_secrets=True)

    assert outgoing.value({"apiKey": "hunter2hunter2\u202e"}) == {"apiKey": "hunter2hunter2<U+202E>"}


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
def test_invisible_characters(text: str, shown: str) -> None:
    """They are written by their numbers, unless a script or an emoji needs them; what is seen stays."""
    assert Outgoing().text(text) == shown


def test_what_was_left_out_is_not_sent() -> None:
    """The placeholder would overwrite the secret that it stands for; words about it are words."""
    refuse_redacted("session_prompt", {"parts": [{"type": "text", "text": f"why {REDACTED}?"}]})
    for value in ({"provider": {"x": {"options": {"apiKey": REDACTED}}}}, [f"https://{REDACTED}@x.test/"]):
        with pytest.raises(InvalidArguments, match="overwrite"):
            refuse_redacted("config_update", value)
