"""Assistants that people use: how each is run with a scripted model in place of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from examples.scripted_model import provider_config
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode.process.install import Program
from tests import npm

from .wire_formats import (
    SERVER,
    Completions,
    Contents,
    ContinueCompletions,
    CopilotCompletions,
    Messages,
    QwenCompletions,
    Responses,
    WireFormat,
)

PROMPT = "Have OpenCode make the file."


@dataclass(frozen=True)
class InstalledPrograms:
    """Where the assistants are: the folder of the commands from npm, and OpenCode."""

    commands: Path
    opencode: Program


@dataclass(frozen=True)
class Assistant:
    """An assistant. `client` is what `install` calls it; `command` and `environ` get the model's URL.

    `settings` is the text of its file before `install`; with `rewrites` it writes that file itself, in its own form.
    `printed` is what `install --print` calls it if its user copies the entry; `copy` is given the home, the model's URL
    and what was printed.
    """

    title: str
    client: str
    wire_format: WireFormat
    command: Callable[[InstalledPrograms, str], tuple[str, ...]]
    environ: Callable[[str], Mapping[str, str]]
    settings: str
    rewrites: bool = False
    printed: str = ""
    copy: Callable[[Path, str, str], None] = lambda home, url, printed: None


def claude_command(installed: InstalledPrograms, url: str) -> tuple[str, ...]:
    """It has leave to use our tools, and no others."""
    return (str(installed.commands / "claude"), "-p", PROMPT, "--allowedTools", f"mcp__{SERVER}")


def claude_environ(url: str) -> Mapping[str, str]:
    """It connects before its first request, which has all tools in it."""
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "scripted",
        "ENABLE_TOOL_SEARCH": "false",
        "MCP_CONNECTION_NONBLOCKING": "0",
        "MCP_CONNECT_TIMEOUT_MS": "120000",
        "MCP_TIMEOUT": "120000",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def codex_command(installed: InstalledPrograms, url: str) -> tuple[str, ...]:
    """It does not begin without our server."""
    settings = {f"mcp_servers.{SERVER}.required": "true", f"mcp_servers.{SERVER}.startup_timeout_sec": "120"}
    return (str(installed.commands / "codex"), *codex_arguments(url, PROMPT, settings))


def codex_arguments(url: str, prompt: str, more_settings: Mapping[str, str]) -> tuple[str, ...]:
    """It asks for no permission."""
    settings = {
        "model": '"scripted"',
        "model_provider": '"scripted"',
        "model_providers.scripted": f'{{ name = "Scripted", base_url = "{url}/v1", wire_api = "responses" }}',
        "analytics.enabled": "false",
        "check_for_update_on_startup": "false",
        **more_settings,
    }
    flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    free = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    return ("exec", *free, *flags, prompt)


GEMINI_SETTINGS = '{"security": {"auth": {"selectedType": "gemini-api-key"}}}'


def gemini_command(installed: InstalledPrograms, url: str) -> tuple[str, ...]:
    """It asks for no permission."""
    return (str(installed.commands / "gemini"), *gemini_arguments(PROMPT))


def gemini_arguments(prompt: str) -> tuple[str, ...]:
    """It asks for no permission."""
    return ("-p", prompt, "-m", "gemini-2.5-flash", "--approval-mode", "yolo")


def gemini_environ(url: str) -> Mapping[str, str]:
    """It trusts the folder that it is started in, without which it starts no server."""
    return {
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_API_KEY": "scripted",
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_TELEMETRY_ENABLED": "false",
    }


def opencode_command(installed: InstalledPrograms, url: str) -> tuple[str, ...]:
    """Its own permissions allow everything."""
    return (*installed.opencode.command, "run", PROMPT)


def opencode_environ(url: str) -> Mapping[str, str]:
    """The model is its only one."""
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(provider_config(f"{url}/v1"))}


def copilot_command(installed: InstalledPrograms, url: str) -> tuple[str, ...]:
    """It asks for no permission."""
    return (str(npm.install_copilot()), "-p", PROMPT, "--allow-all-tools")


def copilot_environ(url: str) -> Mapping[str, str]:
    """It uses this model only, and no network."""
    return {
        "COPILOT_PROVIDER_BASE_URL": f"{url}/v1",
        "COPILOT_MODEL": "scripted",
        "COPILOT_OFFLINE": "true",
        "COPILOT_AUTO_UPDATE": "false",
    }


def qwen_command(installed: InstalledPrograms, url: str) -> tuple[str, ...]:
    """It asks for no permission."""
    return (str(npm.install_qwen()), "-p", PROMPT, "--approval-mode", "yolo", "--auth-type", "openai")


def qwen_environ(url: str) -> Mapping[str, str]:
    """The model is its only one."""
    return {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "scripted", "OPENAI_MODEL": "scripted"}


def continue_command(installed: InstalledPrograms, url: str) -> tuple[str, ...]:
    """It asks for no permission."""
    return (str(npm.install_continue()), "-p", PROMPT, "--auto")


def write_continue_config(home: Path, url: str, printed: str) -> None:
    """Write its YAML file, of which JSON is a part: the model is its only one."""
    model = {
        "name": "scripted",
        "provider": "openai",
        "model": "scripted",
        "apiKey": "scripted",
        "apiBase": f"{url}/v1",
    }
    config = {"name": "Mine", "version": "0.0.1", "schema": "v1", "models": [{**model, "roles": ["chat"]}]}
    (home / ".continue" / "config.yaml").write_text(json.dumps({**config, **json.loads(printed)}))


def pinned_version(package: str) -> str:
    """Return the version of a package that is pinned."""
    pinned = (*npm.ASSISTANTS, npm.COPILOT, npm.QWEN, npm.CONTINUE)
    return next(text.rpartition("@")[2] for text in pinned if text.startswith(f"{package}@"))


OTHER_SERVER = '"other": {"command": "other", "args": []}'
OTHER_CODEX_SERVER = '[mcp_servers.other]  # keep\ncommand = "other"\nenabled = false\n'
OTHER_OPENCODE_SERVER = '"other": {"type": "local", "command": ["other"], "enabled": false}  // keep\n'

ASSISTANTS = (
    Assistant(
        f"Claude Code {pinned_version('@anthropic-ai/claude-code')}",
        "claude-code",
        Messages(),
        claude_command,
        claude_environ,
        settings=f'{{"mine": 1, "mcpServers": {{{OTHER_SERVER}}}}}',
        rewrites=True,
    ),
    Assistant(
        f"Codex {pinned_version('@openai/codex')}",
        "codex",
        Responses(),
        codex_command,
        lambda _: {},
        settings=f"# mine\n{OTHER_CODEX_SERVER}",
    ),
    Assistant(
        f"Gemini CLI {pinned_version('@google/gemini-cli')}",
        "gemini",
        Contents(),
        gemini_command,
        gemini_environ,
        settings=f"// mine\n{GEMINI_SETTINGS}  // keep\n",
    ),
    Assistant(
        f"OpenCode {SNAPSHOT_VERSION}",
        "opencode",
        Completions(),
        opencode_command,
        opencode_environ,
        settings=f'// mine\n{{"mcp": {{\n  {OTHER_OPENCODE_SERVER}}}}}\n',
    ),
    Assistant(
        f"Copilot CLI {pinned_version('@github/copilot')}",
        "copilot",
        CopilotCompletions(),
        copilot_command,
        copilot_environ,
        settings=f'{{"mcpServers": {{{OTHER_SERVER}}}}}',
    ),
    Assistant(
        f"Qwen Code {pinned_version('@qwen-code/qwen-code')}",
        "qwen",
        QwenCompletions(),
        qwen_command,
        qwen_environ,
        settings='// mine\n{"ui": {"hideTips": true}}  // keep\n',
        rewrites=True,
    ),
    Assistant(
        f"Continue CLI {pinned_version('@continuedev/cli')}",
        "continue",
        ContinueCompletions(),
        continue_command,
        lambda _: {"CONTINUE_TELEMETRY_ENABLED": "0"},
        settings=f'// mine\n{{"mcpServers": {{{OTHER_SERVER}}}}}',
        printed="continue-cli",
        copy=write_continue_config,
    ),
)
