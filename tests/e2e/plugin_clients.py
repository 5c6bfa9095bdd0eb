"""Clients that install the plugin of this repository: their commands, and how each runs with a scripted model."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from opencode_mcp.skills import FOLDER

from .assistant_model import serve_answers, stream_reply
from .assistant_script import CallOwnTool, CallTool, Result, Say, Step
from .assistants import claude_environ, codex_arguments, copilot_environ, gemini_arguments, gemini_environ
from .wire_formats import Contents, CopilotCompletions, Messages, Responses, WireFormat

MARKETPLACE = "opencode-mcp"
PLUGIN = f"opencode-mcp@{MARKETPLACE}"
ROOT = Path(__file__).parents[2]
PROMPT = "Read the file, and have OpenCode write one."
FILE = "README.md"
TOOLS = ("file_read", "run_task")
WRITTEN = "scripted.txt"
"""The file that OpenCode's own scripted model writes."""


class PluginMessages(Messages):
    """Claude Code, which names a plugin's server with the plugin."""

    prefix = "mcp__plugin_opencode-mcp_opencode__"


@dataclass(frozen=True)
class PluginClient:
    """A client; `name` is what `install` calls it.

    `listing` prints the servers, without one `lists_none`. `command` runs a prompt with the model at a URL. With
    `knows_project` a call without `directory` works in the project. `waiting` is a call of the client's own tool while
    its first requests do not have the server's tools yet. `cache` is where it keeps a removed plugin for some days.
    """

    program: str
    name: str
    install: tuple[tuple[str, ...], ...]
    uninstall: tuple[tuple[str, ...], ...]
    listing: tuple[str, ...]
    lists_none: str
    wire_format: WireFormat
    command: Callable[[str], tuple[str, ...]]
    environ: Callable[[str], Mapping[str, str]]
    knows_project: bool = True
    waiting: CallOwnTool | None = None
    cache: str = "no cache"


EXTENSION = str(FOLDER.parent)
GEMINI = PluginClient(
    "gemini",
    "gemini",
    (("extensions", "validate", EXTENSION), ("extensions", "link", "--consent", EXTENSION)),
    (("extensions", "uninstall", "opencode-mcp"),),
    ("mcp", "list"),
    "No MCP servers configured",
    Contents(),
    lambda url: gemini_arguments(PROMPT),
    gemini_environ,
)
PLUGIN_CLIENTS = (
    PluginClient(
        "claude",
        "claude-code",
        (("plugin", "marketplace", "add", str(ROOT)), ("plugin", "install", PLUGIN)),
        (("plugin", "uninstall", PLUGIN, "--yes"), ("plugin", "marketplace", "remove", MARKETPLACE)),
        ("mcp", "list"),
        "No MCP servers configured",
        PluginMessages(),
        lambda url: ("-p", PROMPT, "--allowedTools", PluginMessages.prefix.removesuffix("__")),
        claude_environ,
        cache=".claude/plugins/cache/",
    ),
    PluginClient(
        "codex",
        "codex",
        (("plugin", "marketplace", "add", str(ROOT)), ("plugin", "add", PLUGIN)),
        (("plugin", "remove", PLUGIN), ("plugin", "marketplace", "remove", MARKETPLACE)),
        ("mcp", "list"),
        "No MCP servers configured",
        Responses(),
        lambda url: codex_arguments(url, PROMPT, {}),
        lambda url: {},
        waiting=CallOwnTool("exec_command", {"cmd": "sleep 0.5"}),
    ),
    PluginClient(
        "copilot",
        "copilot",
        (("plugin", "marketplace", "add", str(ROOT)), ("plugin", "install", PLUGIN)),
        (("plugin", "uninstall", PLUGIN), ("plugin", "marketplace", "remove", MARKETPLACE)),
        ("mcp", "list"),
        "No MCP servers configured",
        CopilotCompletions(),
        lambda url: ("-p", PROMPT, "--allow-all-tools"),
        copilot_environ,
        knows_project=False,
    ),
)


@dataclass
class PluginModel:
    """A scripted model that reads a file through the bridge, and has OpenCode do a task.

    Where a call without `directory` is refused, the task names it, which makes OpenCode load the directory, and then
    the file is read. `offered` and `request` are the tools and the text of the first request that has the bridge's
    tools, `results` those of its calls.
    """

    client: PluginClient
    project: Path
    offered: frozenset[str] = frozenset()
    request: str = ""
    results: list[Result] = field(default_factory=list[Result])

    async def answer(self, request: Request) -> StreamingResponse:
        """Answer a request."""
        body: dict[str, Any] = await request.json()
        offered = self.client.wire_format.offered_tools(body)
        if not offered:
            step: Step = self.client.waiting or Say("A scripted title")
        else:
            self.offered, self.request = self.offered or offered, self.request or json.dumps(body)
            self.results = [result for result in self.client.wire_format.tool_results(body) if result.tool in TOOLS]
            step = self.next_step()
        return stream_reply(self.client.wire_format, step, body.get("model", ""))

    def next_step(self) -> Step:
        """Make the next call, or say what the calls returned."""
        read, run = TOOLS
        refused = bool(self.results) and "outside of a project" in self.results[0].text
        directory = {"directory": str(self.project)} if refused else {}
        calls = [
            CallTool(read, {"path": FILE}),
            CallTool(run, {"prompt": "script:write", "permissions": "allow", **directory}),
            *([CallTool(read, {"path": FILE, **directory})] if refused else []),
        ]
        done = len(self.results)
        return calls[done] if done < len(calls) else Say("\n".join(result.text for result in self.results))


@asynccontextmanager
async def serve_plugin_model(client: PluginClient, project: Path) -> AsyncGenerator[tuple[PluginModel, str]]:
    """Serve a model for a client at a free port; return it with its origin."""
    model = PluginModel(client, project)
    async with serve_answers(client.wire_format.path, model.answer) as url:
        yield model, url
