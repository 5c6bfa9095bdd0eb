"""Values that are known to be secret: which of them are looked for."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from opencode_mcp.redaction import MARKER, KnownSecrets, Redactor, credential_files
from opencode_mcp.redaction.credentials import is_random

KEY = "q7Zp-2xVd_9TkLm4Rw8s"


@pytest.mark.parametrize(
    "value",
    [
        *("postgres", "password", "wordpress", "localhost", "my-super-secret-key-123456", "passwordpassword"),
        *("/run/secrets/db_password", "C:\\Users\\me\\token.txt", "https://auth.example.com/oauth/token", "~/.netrc"),
        *("com.example.application.MainActivity", "aes-256-cbc-hmac-sha256", "x86_64-unknown-linux-gnu", "${A_TOKEN}"),
        *("1234567890123456", "2024-01-01T00:00:00Z", "claude-sonnet-4-20250514", "xxxxxxxxxxxxxxxxxxxxxxxx", ""),
        *("abcdefghijklmnopqrstuvwxyz", "0123456789abcdef0123456789abcdef", "HttpOnly; Secure; SameSite=Strict"),
    ],
)
def test_common_values_are_not_secrets(value: str) -> None:
    """Words, paths, addresses, numbers, placeholders: a secret name does not make these secret."""
    assert not is_random(value)
    assert KnownSecrets((), {"SOME_PASSWORD": value}).values == ()


@pytest.mark.parametrize(
    "value",
    [KEY, "d41d8cd98f00b204e9800998ecf8427e", "550e8400-e29b-41d4-a716-446655440000", "wJalrXUtnFEMI/K7MDENG/bPxRf"],
)
def test_random_values_are_secrets(value: str) -> None:
    """Of a variable with a secret name they are looked for, of another they are not."""
    assert value in KnownSecrets((), {"SOME_PASSWORD": value}).values
    assert KnownSecrets((), {"BUILD_ID": value}).values == ()


def test_the_password_of_a_url_is_a_secret() -> None:
    """It is a secret by its position, whatever the variable is called."""
    known = KnownSecrets((), {"DATABASE_URL": f"postgres://me:{KEY}@db.test/app", "OTHER_URL": "redis://:redis@x.test"})

    assert known.values == (KEY,)


def test_secrets_of_the_environment_are_known() -> None:
    """They are looked for in every form unless they are simple words."""
    redactor = Redactor(KnownSecrets(['a/b"c d?e', 'pass"wörd', "opencode", "Password1", "short"]))

    assert redactor.redact_text('x a/b"c d?e y') == f"x {MARKER} y"
    assert redactor.redact_text("x a%2Fb%22c%20d%3Fe y") == f"x {MARKER} y"
    assert redactor.redact_text(json.dumps('a/b"c d?e')) == f'"{MARKER}"'
    assert redactor.redact_text(json.dumps('pass"wörd')) == f'"{MARKER}"'
    assert redactor.redact_text(json.dumps('pass"wörd', ensure_ascii=False)) == f'"{MARKER}"'
    assert redactor.redact_text("opencode Password1 short") == "opencode Password1 short"


def test_opencode_credentials_are_known(tmp_path: Path) -> None:
    """Its files are read, and read again when they change; what only stands in for a key is not looked for."""
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    (tmp_path / "opencode").mkdir()
    auth, mcp = credential_files(environ)
    redactor = Redactor(KnownSecrets((), environ, (auth, mcp)))
    assert redactor.redact_text(KEY) == KEY

    stored = {"a": {"type": "api", "key": KEY}, "local": {"type": "api", "key": "not-needed-for-lm-studio"}}
    auth.write_text(json.dumps(stored))
    mcp.write_text(json.dumps({"x": {"tokens": {"accessToken": KEY[::-1]}, "serverUrl": "https://mcp.example.com/"}}))
    redactor.refresh()

    assert redactor.redact_text(f"{KEY} {KEY[::-1]}") == f"{MARKER} {MARKER}"
    assert redactor.redact_text("not-needed-for-lm-studio https://mcp.example.com/") != MARKER
    assert MARKER not in redactor.redact_text("not-needed-for-lm-studio https://mcp.example.com/")
    assert Redactor(KnownSecrets((), {"OPENCODE_AUTH_CONTENT": json.dumps(stored)})).redact_text(KEY) == MARKER


def test_credentials_that_cannot_be_read_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They cannot be looked for then."""
    (tmp_path / "opencode").mkdir()
    (tmp_path / "opencode" / "auth.json").write_bytes(b"\xff\xfe")

    with caplog.at_level(logging.WARNING):
        known = KnownSecrets((), {}, credential_files({"XDG_DATA_HOME": str(tmp_path)}))

    assert known.values == ()
    assert "cannot read the credentials in" in caplog.text
