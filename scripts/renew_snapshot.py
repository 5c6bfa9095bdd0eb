"""Renew a bundled document from a running OpenCode: its version and its document -> opencode1.json, snapshots.py.

    opencode serve --port 4096
    python scripts/renew_snapshot.py http://127.0.0.1:4096

With `--generation 2` it is the document of an OpenCode 2; change its `origin` in snapshots.py, and LICENSE, by hand.

The credentials are read from OPENCODE_SERVER_PASSWORD and OPENCODE_SERVER_USERNAME.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import httpx2

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.openapi.document import Document
from opencode_mcp.openapi.snapshots import SNAPSHOTS, Snapshot, sha256
from opencode_mcp.settings import Settings

FOLDER = Path(__file__).parents[1] / "opencode_mcp" / "openapi"
MODULE = FOLDER / "snapshots.py"
CONSTANTS = {1: ("SNAPSHOT_VERSION", "SNAPSHOT_SHA256"), 2: ("SNAPSHOT_2_VERSION", "SNAPSHOT_2_SHA256")}
"""The names of a document's version and hash in the module, by generation."""

READ_SECONDS = 60.0
"""The first GET /doc takes OpenCode 2 to 13 s."""


def fetch(settings: Settings, snapshot: Snapshot) -> tuple[str, bytes]:
    """Return the server's version, and its document byte for byte.

    Raises:
        httpx2.HTTPError: no response, or not a successful one.
    """
    auth = httpx2.BasicAuth(settings.username, settings.password) if settings.password else None
    # trust_env would send the credentials of a loopback server to a proxy.
    with httpx2.Client(auth=auth, base_url=settings.url or "", timeout=READ_SECONDS, trust_env=False) as http:
        version = http.get(snapshot.version_path).raise_for_status().json()["version"]
        return str(version), http.get(snapshot.document_path).raise_for_status().content


def rewrite(source: str, constants: dict[str, str]) -> str:
    """Return a module's source with new values for string constants.

    Raises:
        LookupError: a constant is missing, or assigned more than once.
    """
    for name, value in constants.items():
        source, count = re.subn(rf'^{name} = ".*"$', f'{name} = "{value}"', source, flags=re.MULTILINE)
        if count != 1:
            raise LookupError(f"{MODULE.name} has {name} {count} times")
    return source


def operations(document: Document) -> dict[str, str]:
    """Return each operation's method and path by its id."""
    return {operation.operation_id: f"{method.upper()} {path}" for method, path, operation in document.operations()}


def main() -> int:
    """Renew the snapshot; return 1, with nothing written, if that fails."""
    parser = argparse.ArgumentParser(description="Renew the document snapshot from a running OpenCode.")
    parser.add_argument("url", help="address of the server, such as http://127.0.0.1:4096")
    parser.add_argument("--generation", type=int, choices=SNAPSHOTS, default=1, help="major version (default: 1)")
    arguments = parser.parse_args()
    snapshot = SNAPSHOTS[arguments.generation]
    file = FOLDER / snapshot.file
    try:
        version, data = fetch(Settings.load({"url": arguments.url}), snapshot)
        before, after = (operations(Document.parse(document)) for document in (file.read_bytes(), data))
        constants = dict(zip(CONSTANTS[arguments.generation], (version, sha256(data)), strict=True))
        source = rewrite(MODULE.read_text(encoding="utf-8"), constants)
    except (httpx2.HTTPError, OpenCodeError, LookupError, ValueError, TypeError) as error:
        print(f"renew_snapshot: {error or type(error).__name__}; nothing was written", file=sys.stderr)
        return 1
    unchanged = data == file.read_bytes()
    file.write_bytes(data)
    MODULE.write_text(source, encoding="utf-8")
    for name in sorted(before.keys() - after.keys()):
        print(f"gone: {name} ({before[name]})")
    for name in sorted(after.keys() - before.keys()):
        print(f"new: {name} ({after[name]})")
    for name in sorted(name for name in before.keys() & after.keys() if before[name] != after[name]):
        print(f"moved: {name} ({before[name]} -> {after[name]})")
    print(f"OpenCode {version}: {len(after)} operations, {len(data)} bytes" + (", unchanged" if unchanged else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
