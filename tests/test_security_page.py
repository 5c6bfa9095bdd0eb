"""SECURITY.md promises what the code does: its figures and names are those of the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mcp.server.transport_security import DEFAULT_MAX_REQUEST_BODY_SIZE

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import limiter
from opencode_mcp.opencode.process import server_run
from opencode_mcp.redaction import MARKER, credentials, known_secrets
from opencode_mcp.server.http import app, auth, serve
from opencode_mcp.settings import DEPTH_VARIABLE, Settings, parsing
from opencode_mcp.tools import ToolRegistry, select_tools

PAGE = " ".join((Path(__file__).parents[1] / ".github" / "SECURITY.md").read_text().split())


@pytest.mark.parametrize(
    "promise",
    [
        f"limited to {DEFAULT_MAX_REQUEST_BODY_SIZE / 2**20:g} MiB",
        f"within {serve.REQUEST_TIMEOUT_SECONDS:g} to {2 * serve.REQUEST_TIMEOUT_SECONDS:g} s",
        f"At most {app.MAX_SESSIONS:,} sessions",
        f"{limiter.MAX_CONCURRENT_REQUESTS} concurrent requests and {limiter.MAX_CONCURRENT_PROMPTS} concurrent turns",
        f"at most every {auth.MIN_REFRESH_SECONDS:g} s",
        f"`--token` has at least {parsing.MIN_TOKEN_CHARS} characters",
        f"random value of at least {credentials.MIN_RANDOM_CHARS} characters",
        f"shorter than {credentials.MIN_RANDOM_CHARS} characters (`POSTGRES_PASSWORD=postgres`)",
        f"shorter than {known_secrets.MIN_SECRET_CHARS} characters: choose a random one",
        f"increasing delays, up to {max(server_run.RESTART_DELAY_SECONDS):g} s",
        f"ends {Settings().linger:g} s after the last server, or up to an hour later",
        f"`{MARKER}`",
        f"`{DEPTH_VARIABLE}` is set",
    ],
)
def test_the_security_page_has_the_limits_of_the_code(promise: str) -> None:
    assert promise in PAGE


def test_the_security_page_names_existing_tools() -> None:
    catalog = Catalog.from_snapshot()
    tools = {tool.name for tool in ToolRegistry(catalog, select_tools(catalog), 40_000).listed}
    named = set(re.findall(r"`((?:v2_|auth_|project_|global_|session_|vcs_)\w+)\*?`", PAGE))

    assert {"project_list", "v2_credential_"} <= named
    assert [name for name in named if not any(tool.startswith(name) for tool in tools)] == []
