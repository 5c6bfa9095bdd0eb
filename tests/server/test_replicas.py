"""The errors of a replica with wrong settings; `tests/scale` tests running replicas."""

from __future__ import annotations

import sys

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.redaction import MARKER, Redactor
from opencode_mcp.server import create_server
from opencode_mcp.server.lifespan import known_secrets
from opencode_mcp.settings import Settings

URL = "http://127.0.0.1:9"
KEY = "the key of the replicas, which is long"


def test_a_missing_redis_package_is_named(monkeypatch: pytest.MonkeyPatch, catalog: Catalog) -> None:
    """Redis' client is an extra; without --redis it is not needed."""
    monkeypatch.delitem(sys.modules, "opencode_mcp.server.subscriptions.redis_bus", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    create_server(Settings(url=URL), catalog)

    with pytest.raises(SettingsError, match=r"pip install 'opencode-mcp\[redis\]'"):
        create_server(Settings(url=URL, redis="redis://localhost"), catalog)


def test_replica_secrets_are_redacted() -> None:
    """Neither the key, nor the password of Redis, however it is written; also where there is no use for them."""
    redis = "redis://me:pass%20word@localhost"
    variables = {"OPENCODE_MCP_URL": URL, "OPENCODE_MCP_STATE_KEY": KEY, "OPENCODE_MCP_REDIS": redis}
    for command in ("http", "stdio"):
        redactor = Redactor(known_secrets(Settings.load({}, variables, command)))
        for secret in (KEY, "pass%20word", "pass word", redis):
            assert redactor.redact_text(f"it is {secret}!") == f"it is {MARKER}!"
