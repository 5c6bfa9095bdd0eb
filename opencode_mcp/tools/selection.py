"""Which tools are listed, and which operations can be reached: toolsets, presets, names and safety settings.

The selection is made once, at start: the list of tools must not change during a connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opencode_mcp.catalog import Catalog, Operation
from opencode_mcp.catalog.annotations import Hints
from opencode_mcp.catalog.generation import Generation
from opencode_mcp.catalog.generations import DEFAULT_GENERATION, GENERATIONS
from opencode_mcp.catalog.listing import find_longest_prefix
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.suggestions import suggest
from opencode_mcp.tasks import TASK_TOOLS

from .gateway import GATEWAY_TOOLS, current_name

log = logging.getLogger(__name__)

TOOLSETS: dict[str, str] = {
    "tasks": "Tasks: start, wait, answer, stop and collect changes",
    "gateway": "Search, describe and call any operation",
    "session": "Sessions and prompts",
    "message": "Messages of a session and their parts",
    "permission": "Permission requests",
    "question": "Questions asked by a session",
    "file": "Files of the project",
    "find": "Search for text, files and symbols",
    "vcs": "Git status and diffs",
    "worktree": "Git worktrees",
    "workspace": "Workspaces (experimental)",
    "sync": "Sessions between workspaces",
    "project": "Projects and their copies",
    "pty": "Terminals",
    "event": "Event streams",
    "config": "Configuration",
    "provider": "Providers, models and their credentials",
    "agent": "Agents, skills, commands and tools",
    "mcp": "MCP servers that OpenCode uses",
    "tui": "The terminal user interface",
    "server": "The server itself: health, dispose, upgrade, logs",
    "v2": "OpenCode's v2 API, /api",
}
"""The toolsets with their descriptions; `all` and `essential` are presets."""

SEARCH_HINTS: dict[str, str] = {
    "file": "project files code",
    "find": "grep search code",
    "vcs": "git diff status",
    "worktree": "git",
    "message": "conversation",
    "session": "OpenCode chat agent",
    "pty": "terminal shell",
    "event": "stream watch",
    "provider": "models API keys",
    "agent": "agents skills commands",
    "tui": "user interface",
    "mcp": "MCP servers",
    "v2": "OpenCode v2",
}
"""Search words for a toolset's tools that their names do not contain."""


def essential_tools(generation: Generation) -> tuple[str, ...]:
    """Return the preset of 21 tools: tasks, the gateway, and what a client needs to choose a task's agent and
    model."""
    return (*TASK_TOOLS, *GATEWAY_TOOLS, *generation.listing.essential)


ESSENTIAL_TOOLS = essential_tools(GENERATIONS[DEFAULT_GENERATION])
"""The preset of the generation that is served by default."""

PRESETS = ("all", "essential")

VIEWS = ("essential", "readonly", *(f"toolset/{name}" for name in TOOLSETS))
"""Paths below the HTTP endpoint, each with a narrower list of tools."""


def toolset_of(operation: Operation) -> str:
    """Return the toolset of an operation."""
    words = operation.id.split(".")
    first = words[1] if words[0] == "experimental" else words[0]
    default = first if first in TOOLSETS else "server"
    return find_longest_prefix(operation.generation.listing.toolsets, operation.id, default)


@dataclass(frozen=True, slots=True)
class Selection:
    """Tool names: `listed` are shown and can be called; `reachable` operations the gateway may call.

    `disabled` maps the name of each tool that a setting forbids to that setting. Of the tools that are `only_reading`
    it forbids what changes something.
    """

    listed: frozenset[str]
    reachable: frozenset[str]
    disabled: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)
    only_reading: frozenset[str] = frozenset()


def select_tools(
    catalog: Catalog,
    toolsets: Iterable[str] = (),
    tools: Iterable[str] = (),
    exclude_tools: Iterable[str] = (),
    read_only: bool = False,
    no_destructive: bool = False,
    bounded: str = "",
) -> Selection:
    """Choose tools. No toolsets and no tools means all; `read_only` wins over everything.

    `bounded` is the setting that bounds models and costs, if there is one: then only task tools call models.

    The gateway reaches the operations of the chosen toolsets, and all of them when none was chosen.

    Raises:
        SettingsError: an unknown name, with the nearest ones.
    """
    names = [*TASK_TOOLS, *GATEWAY_TOOLS, *catalog]
    known = frozenset(names)
    check_names("--toolsets", toolsets, (*TOOLSETS, *PRESETS))
    added, excluded = (
        resolve_names(flag, requested, names)
        for flag, requested in (("--tools", tools), ("--exclude-tools", exclude_tools))
    )
    chosen = frozenset(toolsets) or (frozenset() if added else frozenset({"all"}))
    toolset_by_name = {name: toolset_of(operation) for name, operation in catalog.items()}
    toolset_by_name |= dict.fromkeys(TASK_TOOLS, "tasks") | dict.fromkeys(GATEWAY_TOOLS, "gateway")
    listed = {name for name in names if toolset_by_name[name] in chosen or "all" in chosen} | added
    if "essential" in chosen:
        listed |= known & frozenset(essential_tools(catalog.generation))
    reachable = {name for name in catalog if toolset_by_name[name] in chosen or "all" in chosen} | (
        added & set(catalog)
    )
    hints_of = hints_by_name(catalog)

    unbounded = {
        name
        for name, operation in catalog.items()
        if bounded and operation.id in catalog.generation.annotations.unbounded
    }
    disabled = dict.fromkeys(unbounded, bounded) | {
        name: setting
        for name in names
        if (setting := forbidding_setting(hints_of[name], name in excluded, read_only, no_destructive))
    }
    readable = {name for name, tool in TASK_TOOLS.items() if tool.reading is not None and name not in excluded}
    only_reading = frozenset(readable & disabled.keys())
    disabled = {name: setting for name, setting in disabled.items() if name not in only_reading}
    return Selection(
        frozenset(listed) - disabled.keys(), frozenset(reachable or catalog) - disabled.keys(), disabled, only_reading
    )


def forbidding_setting(hints: Hints, excluded: bool, read_only: bool, no_destructive: bool) -> str:
    """Return the setting that forbids a tool with these hints, "" if none does."""
    if excluded:
        return "--exclude-tools"
    if read_only and not hints.read_only:
        return "--read-only"
    return "--no-destructive" if no_destructive and hints.destructive else ""


def select_view(catalog: Catalog, selection: Selection, path: str) -> Selection:
    """Narrow a selection by one of `VIEWS`; none of them can widen what was selected."""
    if path == "readonly":
        view_selection = select_tools(catalog, read_only=True)
    else:
        view_selection = select_tools(catalog, [path.removeprefix("toolset/")])
    disabled = {**dict.fromkeys(view_selection.disabled, f"the path /{path}"), **selection.disabled}
    return Selection(
        selection.listed & view_selection.listed,
        selection.reachable & view_selection.reachable,
        disabled,
        selection.only_reading | view_selection.only_reading,
    )


def hints_by_name(catalog: Catalog) -> Mapping[str, Hints]:
    """Return the hints of every tool; the gateway's callers check the operation's own besides."""
    operations = {name: operation.hints for name, operation in catalog.items()}
    return (
        operations
        | {name: task_tool.hints for name, task_tool in TASK_TOOLS.items()}
        | {name: tool.hints for name, tool in GATEWAY_TOOLS.items()}
    )


def resolve_names(flag: str, requested: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """Return the tools that a setting names; a former name counts as the present one, and is logged.

    Raises:
        SettingsError: as for `check_names`.
    """
    resolved = {name: current_name(name) for name in requested}
    check_names(flag, resolved.values(), known)
    for former, name in resolved.items():
        if former != name:
            log.warning("%s: %s is now called %s; a later release will refuse the former name", flag, former, name)
    return frozenset(resolved.values())


def check_names(flag: str, requested: Iterable[str], known: Iterable[str]) -> None:
    """Refuse unknown names.

    Raises:
        SettingsError: names the flag and the nearest names.
    """
    names = list(known)
    for name in requested:
        if name not in names:
            raise SettingsError(f"{flag}: unknown name {name!r}; nearest: {suggest(name, names, 8)}")
