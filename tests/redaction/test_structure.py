"""Secrets by key and position: what goes, and what beside it stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_mcp.redaction import MARKER, Position, Redactor
from opencode_mcp.redaction.credentials import is_secret, is_secret_entry

REDACTOR = Redactor()


@pytest.mark.parametrize(
    "name", ["GITHUB_PAT", "DB_PASS", "X-Auth", "auth", "dsn", "SENTRY_DSN", "dbPat", "connectionString", "secretKey"]
)
def test_values_of_secret_keys_are_redacted(name: str) -> None:
    """These keys hold secrets as well."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "COOKIE_DOMAIN",
            "TOKEN_URL",
            "PASSWORD_FILE",
            "AWS_ACCESS_KEY_ID",
            "JWT_ALGORITHM",
            "authType",
            "tokenCount",
        ),
        *("compat", "bypass", "path", "patch", "compass", "authority", "passes", "primaryKey", "public_key", "oauth"),
    ],
)
def test_values_of_other_keys_are_kept(name: str) -> None:
    """These hold none: facts about secrets, and words with the same letters."""
    assert not is_secret(name)
    assert not is_secret_entry(name)


def test_environment_entries_are_redacted() -> None:
    """A variable or header that ends with `key` holds one; a key of another object need not."""
    assert is_secret_entry("PINECONE_KEY")
    assert not is_secret("PINECONE_KEY")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://me:s3cret@db.test/x", f"postgres://{MARKER}@db.test/x"),
        ("postgres://me:pa/ss?w#rd@db.test/x", f"postgres://{MARKER}@db.test/x"),
        ("jdbc:postgresql://me:s3cret@db.test/x", f"jdbc:postgresql://{MARKER}@db.test/x"),
        ("mongodb+srv://me:s3cret@a.test,b.test/x", f"mongodb+srv://{MARKER}@a.test,b.test/x"),
        ("http://TOKEN@x.test/", f"http://{MARKER}@x.test/"),
        ("http://x.test/?api_key=abc&page=2", f"http://x.test/?api_key={MARKER}&page=2"),
        ("http://x.test/?a=b#access_token=abc", f"http://x.test/?a=b#access_token={MARKER}"),
        ("failed: http://me:pw@x.test/mcp said 401", f"failed: http://{MARKER}@x.test/mcp said 401"),
        ("https://${USER}:${PASS}@x.test/",) * 2,
        ("https://x.test/a:b@c?mail=me@x.test",) * 2,
        ("ssh://git@github.com/a/b.git",) * 2,
        ("docker://alpine:3.18@sha256:c5b1261d6d3e43071626931fc004f70149baeba2c8ec672bd4f27761f8e1ad6b",) * 2,
        ('{"url":"http://localhost:3000","email":"me@example.com"}',) * 2,
        ("mailto:me@example.com",) * 2,
        ("http://[::1",) * 2,
    ],
)
def test_configuration_urls_are_redacted(text: str, shown: str) -> None:
    """A parser says where userinfo and query of a URL are."""
    assert REDACTOR.redact_text(text, Position.CONFIG) == shown
    assert REDACTOR.redact_text(text) == text


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["x", "--token", "abc", "next"], ["x", "--token", MARKER, "next"]),
        (["x", "--api-key=abc", "--port=80"], ["x", f"--api-key={MARKER}", "--port=80"]),
        (
            ["x", "-H", "X-Auth: abc", "-H", "Accept: text/plain"],
            ["x", "-H", f"X-Auth: {MARKER}", "-H", "Accept: text/plain"],
        ),
        (["x", "-e", "DB_PASS=abc", "-e", "MODE=test"], ["x", "-e", f"DB_PASS={MARKER}", "-e", "MODE=test"]),
        (["curl", "-u", "me:abc", "-u", "me"], ["curl", "-u", MARKER, "-u", "me"]),
        (
            ["sh", "-c", "A_TOKEN=abc x --token abc --port 80"],
            ["sh", "-c", f"A_TOKEN={MARKER} x --token {MARKER} --port 80"],
        ),
        (["x", "--token", "${A_TOKEN}", "--token-file", "/run/secrets/a"],) * 2,
        (["npx", "-y", "@modelcontextprotocol/server-github@2025.4.8", "/home/me/shop"],) * 2,
        (["docker", "run", "ghcr.io/github/github-mcp-server@sha256:" + "c5b1261d" * 8],) * 2,
    ],
)
def test_command_arguments_are_redacted(argv: list[str], shown: list[str]) -> None:
    """What follows a flag that names a secret, and what is written as a pair."""
    assert REDACTOR.redact({"command": argv}, Position.CONFIG) == {"command": shown}
    assert REDACTOR.redact({"command": argv}) == {"command": argv}


def test_user_chosen_names_are_kept() -> None:
    """An MCP server, an agent or a command may be called like a secret; patterns and prompts are content."""
    value: dict[str, Any] = {
        "mcp": {"github-token": {"type": "local", "command": ["x"], "enabled": True}},
        "agent": {"password": {"prompt": "Look for password=abc in http://me:abc@x.test", "model": "a/b"}},
        "command": {"cookie": {"template": "--token abc"}},
        "permission": {"bash": {"cat *.secret": "deny", "* --token *": "ask"}},
    }

    assert REDACTOR.redact(value, Position.CONFIG) == value
    statuses = {"api-token": {"status": "failed", "error": "http://me:abc@x.test is not reachable"}}
    assert REDACTOR.redact(statuses, Position.NAMES) == {
        "api-token": {"status": "failed", "error": f"http://{MARKER}@x.test is not reachable"}
    }


def test_json_in_an_environment_variable_is_redacted() -> None:
    """It is read, and only its secret is replaced."""
    headers = json.dumps({"Authorization": "Bearer abc", "X-Region": "eu"})
    shown = REDACTOR.redact({"environment": {"HEADERS": headers}}, Position.CONFIG)

    assert json.loads(shown["environment"]["HEADERS"]) == {"Authorization": MARKER, "X-Region": "eu"}


def test_events_are_redacted_by_their_structure() -> None:
    """One that describes a process is redacted by position; one with a message is not."""
    process = {"type": "pty.created", "properties": {"info": {"id": "pty_1", "args": ["--token", "abc"]}}}
    part = {"type": "tool", "state": {"input": {"token": "abc", "args": ["--token", "abc"]}}}
    message = {"type": "message.part.updated", "properties": {"part": part}}

    shown = REDACTOR.redact({"result": [process, {"payload": message}]}, Position.EVENTS)

    assert shown["result"][0]["properties"]["info"] == {"id": "pty_1", "args": ["--token", MARKER]}
    assert shown["result"][1] == {"payload": message}


def test_headers_in_a_provider_error_are_redacted() -> None:
    """They are in messages, and nowhere else is `responseHeaders` more than a word."""
    data = {"message": "no", "isRetryable": False, "responseHeaders": {"set-cookie": "a=b", "content-type": "x"}}

    shown = REDACTOR.redact({"info": {"error": {"data": data}}}, Position.MESSAGES)
    assert shown["info"]["error"]["data"]["responseHeaders"] == {"set-cookie": MARKER, "content-type": "x"}
    assert REDACTOR.redact(data) == data


PIECES = st.lists(
    st.sampled_from(
        [
            *"abZ9:/@?&=#;[]{}\"' -\\%$",
            "://",
            "http",
            "--token",
            "-H",
            "Bearer ",
            "Authorization: ",
            "key=",
            MARKER,
            "${A}",
        ]
    ),
    max_size=20,
).map("".join)
VALUES = st.recursive(
    PIECES | st.none() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["token", "env", "headers", "command", "args", "url", "type", "id", "mcp", "x", "key"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(value=VALUES, position=st.sampled_from(Position))
def test_redaction_accepts_any_value_and_is_idempotent(value: Any, position: Position) -> None:
    """Nothing raises, and what is redacted stays as it is."""
    once = REDACTOR.redact(value, position)

    assert REDACTOR.redact(once, position) == once


@given(value=VALUES, position=st.sampled_from([Position.CONTENT, Position.IDENTIFIER]))
def test_content_without_a_known_secret_is_not_altered(value: Any, position: Position) -> None:
    """Whatever it looks like."""
    assert REDACTOR.redact(value, position) == value
