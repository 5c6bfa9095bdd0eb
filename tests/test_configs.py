"""examples/configs: what each client is given by hand is what `install` writes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.cli.clients import CLIENTS, Client, Launch, Remote
from opencode_mcp.cli.clients.client import TOKEN_VARIABLE
from opencode_mcp.cli.clients.entry import client_url, setting_flags
from opencode_mcp.settings import Settings

CONFIGS = Path(__file__).parents[1] / "examples" / "configs"
COMMAND, PROJECT = "/path/to/opencode-mcp", "/path/to/project"
URL = "http://127.0.0.1:8000/mcp"


def read_config(client: Client, transport: str) -> dict[str, Any]:
    """Parse a client's file."""
    text = (CONFIGS / f"{client.name}.{transport}.{client.format}").read_text(encoding="utf-8")
    return tomllib.loads(text) if client.format == "toml" else json.loads(text)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_the_stdio_file_has_the_entry_that_install_writes(client: Client) -> None:
    """With the project's folder for a client that starts servers elsewhere, and the preset that suits it."""
    directory = ("--directory", PROJECT) if client.starts_elsewhere else ()
    entry = client.entry(Launch(COMMAND, (*directory, *setting_flags(client, Settings()))))

    assert read_config(client, "stdio") == {client.container: {"opencode": entry}}


@pytest.mark.parametrize("client", [one for one in CLIENTS.values() if one.http], ids=lambda one: one.name)
def test_the_http_file_has_the_entry_that_install_writes(client: Client) -> None:
    """For every client whose file takes a URL."""
    entry = client.entry(
        Remote(client_url(client, Settings(), URL), client.variable_reference(TOKEN_VARIABLE) or "TOKEN")
    )

    assert read_config(client, "http") == {client.container: {"opencode": entry}}


def test_there_is_no_file_of_an_unknown_client() -> None:
    """A file that no test reads would rot."""
    known = {f"{one.name}.stdio.{one.format}" for one in CLIENTS.values()}
    known |= {f"{one.name}.http.{one.format}" for one in CLIENTS.values() if one.http}

    assert {path.name for path in CONFIGS.iterdir()} == known
