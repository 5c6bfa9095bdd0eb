"""More MCP clients: those whose file this package edits, and those for which it prints the entry only.

Their formats are from the documentation that `source` names, as it was in November 2026.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .client import (
    CALL_SECONDS,
    EVERY_REQUEST,
    Client,
    Launch,
    Limits,
    bearer_header,
    gemini_entry,
    opencode_entry,
    opencode_url,
    standard_entry,
    typed_entry,
)

KILO_FILES = ("kilo.json", "kilo.jsonc")
AMP_FILES = ("settings.json", "settings.jsonc")
ESSENTIAL = Limits("essential", EVERY_REQUEST)


def copilot_entry(client: Client, launch: Launch) -> dict[str, Any]:
    """Return Copilot CLI's entry: it calls the tools that are listed, and its time limit is in milliseconds."""
    return {"type": "local"} | standard_entry(client, launch) | {"tools": ["*"], "timeout": CALL_SECONDS * 1000}


def cline_entry(client: Client, launch: Launch) -> dict[str, Any]:
    """Return Cline's entry: its time limit for a call is in seconds, 3,600 at most."""
    return standard_entry(client, launch) | {"timeout": CALL_SECONDS}


def goose_entry(client: Client, launch: Launch) -> dict[str, Any]:
    """Return Goose's entry: variables are passed on by name or with a value, the time limit is in seconds."""
    entry: dict[str, Any] = {"enabled": True, "type": "stdio", "name": "opencode", "cmd": launch.command}
    entry |= {"args": list(launch.args), "env_keys": list(launch.variables), "envs": dict(launch.env)}
    return entry | {"timeout": CALL_SECONDS}


def goose_url(url: str) -> dict[str, Any]:
    """Return Goose's entry for a URL."""
    return {"enabled": True, "type": "streamable_http", "name": "opencode", "uri": url, "timeout": CALL_SECONDS}


def roo_url(url: str) -> dict[str, Any]:
    """Return Roo Code's entry for a URL."""
    return {"type": "streamable-http", "url": url}


def continue_cli_entry(client: Client, launch: Launch) -> dict[str, Any]:
    """Return the entry of Continue's CLI, which is an element of a list; its whole environment reaches a server."""
    return {"name": "opencode"} | standard_entry(client, launch)


def continue_cli_url(url: str) -> dict[str, Any]:
    """Return the entry of Continue's CLI for a URL."""
    return {"name": "opencode", "type": "streamable-http", "url": url}


def continue_cli_token(token: str) -> dict[str, Any]:
    """Return the form of a bearer token in Continue's CLI."""
    return {"requestOptions": bearer_header(token)}


MORE_CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Client(
            name="copilot",
            title="GitHub Copilot CLI",
            programs=("copilot",),
            format="json",
            container="mcpServers",
            user=lambda machine: (machine.folder("COPILOT_HOME", machine.home / ".copilot") / "mcp-config.json",),
            project=(".github/mcp.json",),
            stdio=copilot_entry,
            http=lambda url: {"type": "http", "url": url, "tools": ["*"], "timeout": CALL_SECONDS * 1000},
            variable="${VARIABLE}",
            limits=Limits(
                "essential",
                EVERY_REQUEST,
                full_name="{server}-{tool}",
                seconds=CALL_SECONDS,
                environment="only PATH is certain to reach a server",
            ),
            source="docs.github.com/copilot/how-tos/copilot-cli/customize-copilot/add-mcp-servers; Copilot CLI 1.0.102",
        ),
        Client(
            name="qwen",
            title="Qwen Code",
            programs=("qwen",),
            format="json",
            container="mcpServers",
            user=lambda machine: (machine.home / ".qwen" / "settings.json",),
            project=(".qwen/settings.json",),
            stdio=gemini_entry,
            http=lambda url: {"httpUrl": url, "timeout": CALL_SECONDS * 1000},
            variable="$VARIABLE",
            limits=Limits(
                "essential",
                "describes every listed tool in every request, and loads one when the model searches for it; "
                "the gateway tools reach the others",
                full_name="mcp__{server}__{tool}",
                seconds=CALL_SECONDS,
            ),
            source="qwenlm.github.io/qwen-code-docs/en/developers/tools/mcp-server; Qwen Code 0.24.4",
        ),
        Client(
            name="cline",
            title="Cline CLI",
            programs=("cline",),
            format="json",
            container="mcpServers",
            user=lambda machine: (
                machine.folder(
                    "CLINE_MCP_SETTINGS_PATH",
                    machine.home / ".cline" / "data" / "settings" / "cline_mcp_settings.json",
                ),
            ),
            project=(),
            stdio=cline_entry,
            http=lambda url: {"type": "streamableHttp", "url": url, "timeout": CALL_SECONDS},
            variable="",
            limits=Limits("essential", EVERY_REQUEST, seconds=CALL_SECONDS),
            source="docs.cline.bot/mcp/mcp-overview",
        ),
        Client(
            name="continue",
            title="Continue",
            format="json",
            container="mcpServers",
            # The extensions of editors read every JSON file of these folders; the CLI, `cn`, reads none.
            user=lambda machine: (
                machine.folder("CONTINUE_GLOBAL_DIR", machine.home / ".continue") / "mcpServers" / "opencode-mcp.json",
            ),
            project=(".continue/mcpServers/opencode-mcp.json",),
            stdio=typed_entry,
            http=lambda url: {"type": "http", "url": url},
            # In JSON files, a reference to a variable is not replaced by its value.
            variable="",
            limits=Limits(
                "essential", EVERY_REQUEST, environment="only a few variables, such as HOME and PATH, reach a server"
            ),
            source="docs.continue.dev/customize/deep-dives/mcp",
            note="the CLI, cn, does not read this file: see `opencode-mcp install continue-cli --print`",
        ),
        Client(
            name="kiro",
            title="Kiro",
            programs=("kiro", "kiro-cli"),
            format="json",
            container="mcpServers",
            user=lambda machine: (machine.home / ".kiro" / "settings" / "mcp.json",),
            project=(".kiro/settings/mcp.json",),
            stdio=standard_entry,
            http=lambda url: {"url": url},
            variable="${VARIABLE}",
            limits=Limits("essential", EVERY_REQUEST, environment="Kiro asks before it expands a variable of the file"),
            source="kiro.dev/docs/mcp/configuration",
        ),
        Client(
            name="amp",
            title="Amp",
            programs=("amp",),
            format="json",
            container="amp.mcpServers",
            # XDG_CONFIG_HOME is not documented for it.
            user=lambda machine: tuple(machine.home / ".config" / "amp" / name for name in AMP_FILES),
            project=tuple(f".amp/{name}" for name in AMP_FILES),
            stdio=standard_entry,
            http=lambda url: {"url": url},
            variable="${VARIABLE}",
            limits=ESSENTIAL,
            source="ampcode.com/manual",
        ),
        Client(
            name="junie",
            title="Junie",
            programs=("junie",),
            format="json",
            container="mcpServers",
            user=lambda machine: (machine.home / ".junie" / "mcp" / "mcp.json",),
            project=(".junie/mcp/mcp.json",),
            stdio=standard_entry,
            http=None,
            http_instead="its documentation names commands only; use stdio",
            variable="",
            limits=ESSENTIAL,
            source="jetbrains.com/help/junie/model-context-protocol-mcp.html",
        ),
        Client(
            name="kilo",
            title="Kilo Code",
            programs=("kilo",),
            format="json",
            container="mcp",
            user=lambda machine: tuple(machine.home / ".config" / "kilo" / name for name in KILO_FILES),
            project=(*KILO_FILES, *(f".kilo/{name}" for name in KILO_FILES)),
            stdio=opencode_entry,
            http=opencode_url,
            variable="{env:VARIABLE}",
            limits=ESSENTIAL,
            source="kilo.ai/docs/automate/mcp/using-in-kilo-code",
        ),
        Client(
            name="warp",
            title="Warp",
            format="json",
            container="mcpServers",
            user=lambda machine: (machine.home / ".warp" / ".mcp.json",),
            project=(".warp/.mcp.json",),
            stdio=standard_entry,
            http=lambda url: {"url": url},
            variable="",
            limits=ESSENTIAL,
            starts_elsewhere=True,
            source="docs.warp.dev/agents/capabilities/mcp",
        ),
        Client(
            name="visual-studio",
            title="Visual Studio",
            format="json",
            container="servers",
            user=lambda machine: (machine.home / ".mcp.json",),
            project=(".mcp.json",),
            stdio=typed_entry,
            http=lambda url: {"type": "http", "url": url},
            variable="",
            limits=ESSENTIAL,
            source="learn.microsoft.com/visualstudio/ide/mcp-servers",
        ),
    )
}
"""By the name of the client."""


def printed(name: str, title: str, by_hand: str, source: str = "") -> Client:
    """Return a client that takes the entry of most clients by hand."""
    return Client(
        name=name,
        title=title,
        format="json",
        container="mcpServers",
        user=lambda machine: (),
        project=(),
        stdio=standard_entry,
        http=lambda url: {"url": url},
        variable="",
        limits=ESSENTIAL,
        source=source,
        by_hand=by_hand,
    )


PRINTED_CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        replace(
            printed(
                "goose",
                "Goose",
                "in config.yaml, below `extensions` (JSON is YAML too)",
                "goose-docs.ai/docs/guides/config-files",
            ),
            container="extensions",
            stdio=goose_entry,
            http=goose_url,
            # It has a list of names instead, `env_keys`.
            variable="VARIABLE",
        ),
        replace(
            printed(
                "continue-cli",
                "Continue CLI",
                "in ~/.continue/config.yaml, as an element of the list `mcpServers` (JSON is YAML too)",
                "docs.continue.dev/reference; Continue CLI 1.5.47",
            ),
            is_list=True,
            stdio=continue_cli_entry,
            http=continue_cli_url,
            authorization=continue_cli_token,
            variable="${{ secrets.VARIABLE }}",
        ),
        printed("lm-studio", "LM Studio", "with Program > Install > Edit mcp.json", "lmstudio.ai/docs/app/mcp"),
        replace(
            printed("roo", "Roo Code", "in .roo/mcp.json, or with Edit Global MCP", "docs.roocode.com/features/mcp"),
            http=roo_url,
        ),
        printed(
            "jetbrains",
            "JetBrains AI Assistant",
            "with Settings > Tools > AI Assistant > Model Context Protocol (MCP) > Add > As JSON",
            "jetbrains.com/help/ai-assistant/mcp.html",
        ),
        printed("other", "another client", "in its settings of MCP servers"),
    )
}
"""Clients whose file is not documented or not in a format that keeps what else is in it: `install --print`."""
