"""Serve streamable HTTP, for clients of every protocol version."""

from __future__ import annotations

import argparse
import secrets
import sys
from dataclasses import replace
from functools import partial

import anyio

from opencode_mcp.cli.document_option import load_catalog
from opencode_mcp.cli.logs import set_up_logging
from opencode_mcp.connect import expected_generation
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.server import create_server
from opencode_mcp.server.http.app import create_http_app
from opencode_mcp.server.http.request_validation import LOOPBACK_HOSTS
from opencode_mcp.server.http.serve import serve_http
from opencode_mcp.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add where to listen."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default 8000)")
    parser.add_argument("--path", default="/mcp", help="path of the endpoint (default /mcp)")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Serve until a signal arrives."""
    check_listen_address(settings, options.host)
    set_up_logging(settings)
    server = create_server(settings, load_catalog(settings, expected_generation(settings)))
    notes = [f"http://{url_host(options.host)}:{options.port}{options.path}"]
    if settings.no_auth:
        notes.append("no token is required: every local user can run commands as you")
    elif not settings.token and not settings.oauth_issuer:
        settings = replace(settings, token=secrets.token_urlsafe(32))
        notes.append(
            f"clients must send the header `Authorization: Bearer {settings.token}`; set OPENCODE_MCP_TOKEN to choose"
        )
    application = create_http_app(server, settings, options.host, options.path)
    for message in notes:
        print(f"opencode-mcp: {message}", file=sys.stderr, flush=True)  # noqa: T201 - for the user, not the log
    anyio.run(partial(serve_http, server, application, options.host, options.port))
    return 0


def check_listen_address(settings: Settings, host: str) -> None:
    """Check that a non-loopback address is allowed and requires a token.

    Raises:
        SettingsError: it is not allowed, or requires no token.
    """
    if host in LOOPBACK_HOSTS:
        return
    if not settings.allow_remote:
        raise SettingsError(
            f"--host {host} is not a loopback address: clients of the endpoint can run commands, and it has no TLS. "
            "Put a TLS proxy in front of a loopback address, or set --allow-remote"
        )
    if settings.no_auth:
        raise SettingsError(f"--host {host}: --no-auth is allowed on loopback addresses only")


def url_host(host: str) -> str:
    """Return a host as it is written in a URL."""
    return f"[{host}]" if ":" in host else host
