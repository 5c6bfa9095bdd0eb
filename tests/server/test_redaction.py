"""Secrets are taken out, wherever they are, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from opencode_mcp.server.redaction import REDACTED, is_secret, redacted


@pytest.mark.parametrize(
    "name",
    [
        *("apiKey", "api_key", "APIKey", "apikey", "x-api-key", "OPENAI_API_KEY", "key", "privateKey", "AccessKey"),
        *("token", "accessToken", "refresh_token", "X-Authtoken", "GITHUB_TOKEN", "access", "refresh", "jwt"),
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
        *("tokens", "max_tokens", "outputTokens", "tokenizer", "keybinds", "keys", "monkey", "sessionKeyboard"),
        *("author", "oauth", "model", "baseURL", "accessible", "refreshInterval", "env", "headers", "options", ""),
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

    assert redacted(value) == {
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


def test_urls() -> None:
    """A URL loses its user name and password, and stays a URL."""
    assert redacted(["postgres://me:s3cret@db.test:5432/x?a=b:c@d", "https://x.test/a:b@c"]) == [
        f"postgres://{REDACTED}@db.test:5432/x?a=b:c@d",
        "https://x.test/a:b@c",
    ]
