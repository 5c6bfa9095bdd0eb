"""Write the generated parts of README.md: the settings and the tools.

python scripts/write_readme.py [--check]
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import fields
from pathlib import Path

from opencode_mcp.openapi import Catalog
from opencode_mcp.settings import Settings
from opencode_mcp.tools.gateway import GATEWAY
from opencode_mcp.tools.toolsets import ESSENTIAL, TOOLSETS, toolset_of
from opencode_mcp.workflows import WORKFLOWS

README = Path(__file__).parent.parent / "README.md"


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
    for name, table in (("settings", settings_table()), ("tools", tools_table())):
        block = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(\n<!-- end {name} -->)", re.S)
        if not block.search(text):
            raise SystemExit(f"README.md has no block {name!r}")
        text = block.sub(lambda found, table=table: f"{found[1]}\n{table}\n{found[2]}", text)
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
