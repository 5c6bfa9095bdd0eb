"""Write the generated parts of README.md: buttons, entries of the clients, settings and tools.

python scripts/write_readme.py [--check]
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
from dataclasses import fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

from opencode_mcp.cli.clients import CLIENTS, Client, Launch, Machine, Remote
from opencode_mcp.cli.clients.change import FORMATS
from opencode_mcp.cli.clients.table import TOKEN
from opencode_mcp.cli.clients.wanted import flags, url
from opencode_mcp.openapi import Catalog
from opencode_mcp.settings import Settings
from opencode_mcp.tools.gateway import GATEWAY
from opencode_mcp.tools.toolsets import ESSENTIAL, TOOLSETS, toolset_of
from opencode_mcp.workflows import WORKFLOWS

README = Path(__file__).parent.parent / "README.md"
COMMAND, URL = "/path/to/opencode-mcp", "http://127.0.0.1:8000/mcp"
MACHINES = {
    "": Machine(PurePosixPath("~"), {}, "linux"),
    "macOS": Machine(PurePosixPath("~"), {}, "darwin"),
    "Windows": Machine(PureWindowsPath("~"), {"APPDATA": "%APPDATA%"}, "win32"),
}


def buttons() -> str:
    """Return the links that have a client ask its user whether to install this server, as a picture each."""
    name = "opencode"
    entry = json.dumps(CLIENTS["cursor"].entry(Launch("uvx", ("opencode-mcp", "--toolsets", "essential"))))
    encoded = quote(base64.b64encode(entry.encode()).decode())
    visual_studio = "https://img.shields.io/badge/VS_Code-install-0098FF"
    links = {
        (
            "VS Code",
            visual_studio,
        ): f"https://insiders.vscode.dev/redirect/mcp/install?name={name}&config={quote(entry)}",
        ("Cursor", "https://cursor.com/deeplink/mcp-install-dark.svg"): (
            f"https://cursor.com/en/install-mcp?name={name}&config={encoded}"
        ),
        ("LM Studio", "https://files.lmstudio.ai/deeplink/mcp-install-light.svg"): (
            f"https://lmstudio.ai/install-mcp?name={name}&config={encoded}"
        ),
    }
    return "\n".join(f"[![Install in {client}]({image})]({link})" for (client, image), link in links.items())


def clients() -> str:
    """Return a block for each client: its files, and the entry for stdio and for HTTP."""
    return "\n\n".join(f"**{one.title}**: {places(one)}\n\n{entries(one)}" for one in CLIENTS.values())


def places(client: Client) -> str:
    """Say which files a client reads."""
    files = {system: str(client.user(machine)[0]) for system, machine in MACHINES.items()}
    elsewhere = [f"{system} `{file}`" for system, file in files.items() if file.replace("\\", "/") != files[""]]
    project = [f"in a project `{client.project[0]}`"] if client.project else []
    return ", ".join([f"`{files['']}`", *elsewhere, *project])


def entries(client: Client) -> str:
    """Return a client's entries as they stand in its file."""
    stdio = client.entry(Launch(COMMAND, tuple(flags(client, Settings()))))
    http = client.entry(Remote(url(client, Settings(), URL), client.named(TOKEN) or "TOKEN")) if client.http else None
    comment, language = ("#", "toml") if client.format == "toml" else ("//", "jsonc")
    lines = [f"```{language}", f"{comment} stdio", in_file(client, stdio)]
    lines += [f"{comment} HTTP", in_file(client, http)] if http else [f"{comment} HTTP: {client.http_instead}"]
    return "\n".join([*lines, "```"])


def in_file(client: Client, entry: dict[str, Any]) -> str:
    """Return an entry with what is around it."""
    if client.format == "toml":
        return FORMATS[client.format].put("", (client.container, "opencode"), entry).rstrip()
    return json.dumps({client.container: {"opencode": entry}})


def settings_table() -> str:
    """Return a row for each setting."""
    rows = ["| flag | variable | meaning |", "|---|---|---|"]
    for one in fields(Settings):
        if one.metadata:
            flag = f"`--{one.name.replace('_', '-')}`" if one.metadata.get("flag", True) else ""
            rows.append(f"| {flag} | `{one.metadata['variable']}` | {one.metadata['help']} |")
    return "\n".join(rows)


def tools_table() -> str:
    """Return a row for each toolset; the tools of the essential preset are bold."""
    names: dict[str, list[str]] = {toolset: [] for toolset in TOOLSETS}
    names["tasks"], names["gateway"] = list(WORKFLOWS), list(GATEWAY)
    for name, operation in Catalog.bundled().items():
        names[toolset_of(operation.id)].append(name)
    rows = ["| toolset | tools |", "|---|---|"]
    for toolset, tools in names.items():
        listed = " ".join(f"**{tool}**" if tool in ESSENTIAL else tool for tool in tools)
        rows.append(f"| `{toolset}` ({len(tools)}) {TOOLSETS[toolset]} | {listed} |")
    return "\n".join(rows)


def renewed(text: str) -> str:
    """Return the README with its generated parts made anew.

    Raises:
        SystemExit: a marker is missing.
    """
    parts = {"buttons": buttons(), "clients": clients(), "settings": settings_table(), "tools": tools_table()}
    for name, part in parts.items():
        block = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(\n<!-- end {name} -->)", re.S)
        if not block.search(text):
            raise SystemExit(f"README.md has no block {name!r}")
        text = block.sub(lambda found, part=part: f"{found[1]}\n{part}\n{found[2]}", text)
    return text


def main() -> int:
    """Write README.md, or with --check say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if README.md would change")
    check: bool = parser.parse_args().check
    text = README.read_text()
    new = renewed(text)
    if new == text:
        return 0
    sys.stdout.write(f"README.md {'is stale' if check else 'written'}\n")
    if not check:
        README.write_text(new)
    return int(check)


if __name__ == "__main__":
    sys.exit(main())
