"""Write the generated blocks of README.md and of the pages in docs: clients, settings and tools.

python scripts/write_readme.py [--check]
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.clients import CLIENTS, Client, Launch, Machine, Remote
from opencode_mcp.cli.clients.client import TOKEN_VARIABLE
from opencode_mcp.cli.clients.edit import FORMATS
from opencode_mcp.cli.clients.entry import client_url, setting_flags
from opencode_mcp.cli.clients.known_clients import COMMON_CLIENTS
from opencode_mcp.settings import SETTINGS, Settings
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools.gateway import GATEWAY_TOOLS
from opencode_mcp.tools.selection import ESSENTIAL_TOOLS, TOOLSETS, toolset_of

ROOT = Path(__file__).parent.parent
COMMAND, URL = ("uvx", "opencode-mcp"), "http://127.0.0.1:8000/mcp"
MACHINES = {
    "": Machine(PurePosixPath("~"), {}, "linux"),
    "macOS": Machine(PurePosixPath("~"), {}, "darwin"),
    "Windows": Machine(PureWindowsPath("~"), {"APPDATA": "%APPDATA%"}, "win32"),
}


def install() -> str:
    """Return the install buttons, and a section for each common client; the page begins with Claude Code."""
    others = [client for client in COMMON_CLIENTS.values() if client.name != "claude-code"]
    return f"{buttons()}\n\n" + "\n".join(map(collapsed, others))


def buttons() -> str:
    """Return a row of links that open a client with the server's entry filled in."""
    entry = json.dumps(CLIENTS["cursor"].entry(Launch("uvx", ("opencode-mcp", "--toolsets", "essential"))))
    encoded = quote(base64.b64encode(entry.encode()).decode())
    links = {
        ("VS Code", "https://img.shields.io/badge/VS_Code-install-0098FF"): (
            f"https://insiders.vscode.dev/redirect/mcp/install?name=opencode&config={quote(entry)}"
        ),
        ("Cursor", "https://cursor.com/deeplink/mcp-install-dark.svg"): (
            f"https://cursor.com/en/install-mcp?name=opencode&config={encoded}"
        ),
        ("LM Studio", "https://files.lmstudio.ai/deeplink/mcp-install-light.svg"): (
            f"https://lmstudio.ai/install-mcp?name=opencode&config={encoded}"
        ),
    }
    return " ".join(f"[![Install in {client}]({image})]({link})" for (client, image), link in links.items())


def collapsed(client: Client) -> str:
    """Return a client's file and stdio entry as a section that opens on a click.

    A file that is elsewhere on another operating system has its name only.
    """
    files = {str(client.user(machine)[0]).replace("\\", "/") for machine in MACHINES.values()}
    file = files.pop() if len(files) == 1 else client.user(MACHINES[""])[0].name
    summary = f"<b>{client.title}</b>: <code>{file}</code>"
    lines = [f"<details><summary>{summary}</summary>", "", f"```{client.format}", stdio_entry(client), "```"]
    return "\n".join([*lines, "</details>"])


def clients() -> str:
    """Return a section for each client: its files, and the entry for stdio and for HTTP."""
    return "\n\n".join(f"### {client.title}\n\n{paths(client)}\n\n{entries(client)}" for client in CLIENTS.values())


def paths(client: Client) -> str:
    """Return the configuration files that a client reads, by operating system and scope."""
    files = {system: str(client.user(machine)[0]) for system, machine in MACHINES.items()}
    elsewhere = [f"{system} `{file}`" for system, file in files.items() if file.replace("\\", "/") != files[""]]
    project = [f"in a project `{client.project[0]}`"] if client.project else []
    read = f" (format: {client.source}, November 2026)" if client.source else ""
    note = f"; {client.note}" if client.note else ""
    return ", ".join([f"`{files['']}`", *elsewhere, *project]) + read + note


def stdio_entry(client: Client) -> str:
    """Return the entry that starts this server, as it stands in the client's file."""
    command, *arguments = COMMAND
    return file_content(client, client.entry(Launch(command, (*arguments, *setting_flags(client, Settings())))))


def entries(client: Client) -> str:
    """Return a client's entries as they stand in its file."""
    http = (
        client.entry(Remote(client_url(client, Settings(), URL), client.variable_reference(TOKEN_VARIABLE) or "TOKEN"))
        if client.http
        else None
    )
    comment, language = ("#", "toml") if client.format == "toml" else ("//", "jsonc")
    lines = [f"```{language}", f"{comment} stdio", stdio_entry(client)]
    lines += [f"{comment} HTTP", file_content(client, http)] if http else [f"{comment} HTTP: {client.http_instead}"]
    return "\n".join([*lines, "```"])


def file_content(client: Client, entry: dict[str, Any]) -> str:
    """Return an entry below its container's key."""
    if client.format == "toml":
        return FORMATS[client.format].put("", (client.container, "opencode"), entry).rstrip()
    return json.dumps({client.container: {"opencode": entry}})


def settings_table() -> str:
    """Return a row for each setting."""
    rows = ["| flag | variable | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        flag = f"`{setting.flag}`" if setting.has_flag else ""
        rows.append(f"| {flag} | `{setting.variable}` | {setting.help} |")
    return "\n".join(rows)


def tools_table() -> str:
    """Return a row for each toolset; the tools of the essential preset are bold."""
    names: dict[str, list[str]] = {toolset: [] for toolset in TOOLSETS}
    names["tasks"], names["gateway"] = list(TASK_TOOLS), list(GATEWAY_TOOLS)
    for name, operation in Catalog.from_snapshot().items():
        names[toolset_of(operation)].append(name)
    rows = ["| toolset | tools |", "|---|---|"]
    for toolset, tools in names.items():
        listed = " ".join(f"**{tool}**" if tool in ESSENTIAL_TOOLS else tool for tool in tools)
        rows.append(f"| `{toolset}` ({len(tools)}) {TOOLSETS[toolset]} | {listed} |")
    return "\n".join(rows)


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"install": install},
    "docs/clients.md": {"clients": clients},
    "docs/settings.md": {"settings": settings_table},
    "docs/operations.md": {"tools": tools_table},
}
"""The generated blocks of each page, by the name in their markers."""


def regenerate(page: str, text: str) -> str:
    """Return a page with its generated blocks replaced.

    Raises:
        SystemExit: a marker is missing.
    """
    for name, generate in BLOCKS[page].items():
        block = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end {name} -->)", re.S)
        if not block.search(text):
            raise SystemExit(f"{page} has no block {name!r}")
        content = generate()
        text = block.sub(lambda found, content=content: f"{found[1]}\n{content}\n\n{found[2]}", text)
    return text


def main() -> int:
    """Write the pages; with --check write nothing, and return 1 if one would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page would change")
    check: bool = parser.parse_args().check
    stale = 0
    for page in BLOCKS:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        new = regenerate(page, text)
        if new != text:
            stale += 1
            sys.stdout.write(f"{page} {'is stale' if check else 'written'}\n")
            if not check:
                path.write_text(new, encoding="utf-8")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
