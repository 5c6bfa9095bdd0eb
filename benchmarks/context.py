"""`python -m benchmarks.context`: what the tools and ten typical results cost a model's context.

Bytes of UTF-8, and tokens of o200k_base by gpt-tokenizer from npm. A result is counted as it is sent: its text, and its
structured content, which some clients give to the model as well.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.npm import install_packages

from .connections import StdioConnection, call, open_stdio
from .setup import BRIDGE, BenchmarkSetup, open_setup

TOKENIZER = "gpt-tokenizer@4.0.0"
COUNT_TOKENS = """
const { countTokens } = require("gpt-tokenizer/encoding/o200k_base");
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map((text) => countTokens(text))));
"""
SESSIONS = 20
EDIT = """script:chain [{"name": "write", "args": {"filePath": "notes.md", "content": "# Notes\\nfirst\\n"}},
    {"name": "bash", "args": {"command": "cat notes.md", "description": "shows the file"}}]"""
ASKED = """script:tool bash {"command": "touch asked", "description": "makes a file"}"""


def count_tokens(texts: Mapping[str, str]) -> dict[str, int]:
    """Return the number of tokens of each text."""
    modules = install_packages("tokenizer", (TOKENIZER,))
    done = subprocess.run(
        ["node", "-e", COUNT_TOKENS],
        input=json.dumps([*texts.values()]).encode(),
        stdout=subprocess.PIPE,
        check=True,
        cwd=modules.parent,
    )
    return dict(zip(texts, json.loads(done.stdout), strict=True))


def dump(value: Any) -> str:
    """Return minified JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


async def read_lists(setup: BenchmarkSetup) -> dict[str, str]:
    """Return both presets' lists: as a model sees them, and whole."""
    texts: dict[str, str] = {}
    for preset in ("all", "essential"):
        command = (*BRIDGE, "--toolsets", preset)
        async with open_stdio(command, setup.attached_environ, str(setup.project)) as bridge:
            result = json.loads(await bridge.request("tools/list", {}))["result"]
        seen = [{key: tool.get(key) for key in ("name", "description", "inputSchema")} for tool in result["tools"]]
        texts[f"tools/list, {preset}: {len(seen)} tools as a model sees them"] = "\n".join(map(dump, seen))
        texts[f"tools/list, {preset}: the whole answer"] = dump(result)
    return texts


async def read_results(setup: BenchmarkSetup) -> dict[str, str]:
    """Return ten typical results as they are sent, each in two parts: text, and structured content if it has any."""
    texts: dict[str, str] = {}

    async def send(bridge: StdioConnection, tool: str, title: str = "", **arguments: Any) -> dict[str, Any]:
        result = json.loads(await call(bridge, tool, **arguments))["result"]
        texts[f"{title or tool}: text"] = "\n".join(block["text"] for block in result["content"])
        structured = result.get("structuredContent")
        texts[f"{title or tool}: structured content"] = dump(structured) if structured is not None else ""
        return structured or {}

    config = json.loads(setup.environ["OPENCODE_CONFIG_CONTENT"])
    environ = {**setup.environ, "OPENCODE_CONFIG_CONTENT": dump({**config, "permission": {"bash": "ask"}})}
    async with open_stdio(BRIDGE, environ, str(setup.project)) as bridge:
        waiting = await send(bridge, "run_task", "run_task, a permission asked", prompt=ASKED, timeout_seconds=60)
        await call(bridge, "stop_task", session_id=waiting["session_id"])
    async with open_stdio(BRIDGE, setup.attached_environ, str(setup.project)) as bridge:
        done = await send(bridge, "run_task", "run_task, completed", prompt=EDIT, timeout_seconds=60)
        await send(bridge, "report_task", session_id=done["session_id"])
        await send(bridge, "collect_changes", session_id=done["session_id"])
        await send(bridge, "read_transcript", session_id=done["session_id"])
        for number in range(SESSIONS):
            await call(bridge, "session_create", title=f"Rename the option number {number}")
        for tool in ("app_agents", "config_providers", "session_list"):
            await send(bridge, tool)
        await send(bridge, "search_operations", query="rename a session")
        await send(bridge, "describe_operation", operation="session_update")
    return texts


async def read_texts() -> dict[str, str]:
    """Return all that is counted, by what it is."""
    with tempfile.TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as folder:
        async with open_setup(Path(folder)) as setup:
            return {**await read_lists(setup), **await read_results(setup)}


def main() -> None:
    """Print a table."""
    texts = asyncio.run(read_texts())
    counts = count_tokens(texts)
    print("| what | bytes | tokens |\n|---|---|---|")
    for title, tokens in counts.items():
        print(f"| {title} | {len(texts[title].encode()):,} | {tokens:,} |")


if __name__ == "__main__":
    main()
