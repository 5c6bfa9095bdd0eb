"""A location: its configuration, agents, models and files, as a process sees them."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from .rules import DEFAULT_RULES, rules_of_config
from .store import Json, Snapshot

SKIPPED_FOLDERS = {".git", "node_modules", "__pycache__"}
MAX_SNAPSHOT_BYTES = 2_000_000
AGENT_RULES: Mapping[str, list[Json]] = {
    "build": [],
    "plan": [{"action": "edit", "resource": "*", "effect": "deny"}],
    "general": [{"action": name, "resource": "*", "effect": "deny"} for name in ("question", "subagent")],
    "explore": [
        {"action": name, "resource": "*", "effect": "deny"} for name in ("edit", "shell", "question", "subagent")
    ],
}
"""Facts, permissions: what each agent has beside the default. The plan file of `plan` is left out."""

MODES = {"build": "primary", "plan": "primary", "general": "subagent", "explore": "subagent"}


def merge(base: Json, more: Json) -> Json:
    """Return a configuration with another one over it."""
    merged = dict(base)
    for name, value in more.items():
        old = merged.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = merge(cast("Json", old), cast("Json", value)) if both else value
    return merged


@dataclass(frozen=True)
class Project:
    """A directory. Facts, data folders: V1's `opencode.json` is read, and normalized in memory only."""

    directory: Path
    base: Json

    @property
    def config(self) -> Json:
        """The configuration, in V1's form: that of the process with the directory's own over it."""
        file = self.directory / "opencode.json"
        return merge(self.base, json.loads(file.read_text()) if file.is_file() else {})

    @property
    def checkout(self) -> Path | None:
        """The main checkout of the repository; None where there is none. A worktree has a file `.git`."""
        for folder in (self.directory, *self.directory.parents):
            git = folder / ".git"
            if git.is_dir():
                return folder
            if git.is_file():
                return Path(git.read_text().removeprefix("gitdir:").strip()).parent.parent.parent
        return None

    @property
    def top(self) -> Path:
        """The top of the working tree. Source: the root of the file system where there is no repository."""
        above = (self.directory, *self.directory.parents)
        return next((folder for folder in above if (folder / ".git").exists()), Path(self.directory.anchor))

    @property
    def id(self) -> str:
        """The project's id: worktrees have that of their main checkout."""
        if self.checkout is None:
            return "global"
        return hashlib.sha1(str(self.checkout).encode()).hexdigest()

    def rules(self, agent: str) -> list[Json] | None:
        """Return the rules of an agent, without those of a session; None for an unknown agent."""
        config = self.config
        own: Json = config.get("agent", {})
        if agent not in AGENT_RULES and agent not in own:
            return None
        return [
            *DEFAULT_RULES,
            *rules_of_config(config.get("permission")),
            *AGENT_RULES.get(agent, []),
            *rules_of_config(own.get(agent, {}).get("permission")),
        ]

    def agents(self) -> list[Json]:
        """Return the agents, as `agent.list` does."""
        own: Json = {name: item for name, item in self.config.get("agent", {}).items() if not item.get("disable")}
        return [self.agent(name, own.get(name, {})) for name in {**AGENT_RULES, **own}]

    def agent(self, name: str, own: Json) -> Json:
        """Return an agent."""
        agent: Json = {
            "id": name,
            "name": name,
            "request": {"settings": {}, "headers": {}, "body": {}},
            "mode": own.get("mode", MODES.get(name, "all")),
            "hidden": False,
            "permissions": self.rules(name) or [],
        }
        if "model" in own:
            agent["model"] = model_ref(own["model"])
        return agent

    def models(self) -> list[Json]:
        """Return the models, as `model.list` does."""
        return [
            describe_model(provider, name, model)
            for provider, settings in self.config.get("provider", {}).items()
            for name, model in settings.get("models", {}).items()
        ]

    def find_model(self, ref: Json) -> Json | None:
        """Return the model that a reference names."""
        wanted = (ref["providerID"], ref["id"])
        return next((model for model in self.models() if (model["providerID"], model["id"]) == wanted), None)

    def default_model(self) -> Json | None:
        """Return the reference of the location's default model. Without any configuration there is none here."""
        name: str | None = self.config.get("model")
        return None if name is None else model_ref(name)

    def take_snapshot(self) -> Snapshot | None:
        """Return the texts of the files; None where there is no repository, or snapshots are off."""
        if self.checkout is None or self.config.get("snapshot") is False:
            return None
        return {str(path.relative_to(self.directory)): path.read_text() for path in self.text_files()}

    def text_files(self) -> Iterator[Path]:
        """Yield the files that are text and not huge."""
        for path in self.files():
            try:
                if path.stat().st_size <= MAX_SNAPSHOT_BYTES:
                    path.read_text()
                    yield path
            except (OSError, UnicodeDecodeError):
                continue

    def files(self) -> Iterator[Path]:
        """Yield the files outside of folders that no one compares."""
        for path in sorted(self.directory.rglob("*")):
            if not SKIPPED_FOLDERS & {*path.relative_to(self.directory).parts} and path.is_file():
                yield path


def model_ref(name: str) -> Json:
    """Return the reference that `provider/model` means."""
    provider, _, model = name.partition("/")
    return {"id": model, "providerID": provider}


def describe_model(provider: str, name: str, settings: Json) -> Json:
    """Return a model as `model.list` does."""
    cost: Json = settings.get("cost", {})
    limit: Json = settings.get("limit", {})
    return {
        "id": name,
        "modelID": name,
        "providerID": provider,
        "name": settings.get("name", name),
        "capabilities": {"tools": True, "input": ["text"], "output": ["text"]},
        "variants": [
            {"id": variant, "settings": {}, "headers": {}, "body": {}} for variant in settings.get("variants", {})
        ],
        "time": {"released": 0},
        "cost": [{"input": cost.get("input", 0), "output": cost.get("output", 0), "cache": {"read": 0, "write": 0}}],
        "status": "active",
        "enabled": True,
        "limit": {"context": limit.get("context", 128_000), "output": limit.get("output", 16_000)},
    }


def compare(before: Snapshot, after: Snapshot, context: int = 3) -> list[Json]:
    """Return what changed between two snapshots, as `session.diff` does."""
    return [
        compare_file(path, before.get(path), after.get(path), context)
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def compare_file(path: str, before: str | None, after: str | None, context: int) -> Json:
    """Return the patch of a file."""
    old, new = ((text or "").splitlines(keepends=True) for text in (before, after))
    lines = [*difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", n=context)]
    changes = [line[0] for line in lines[2:] if line[0] in "+-"]
    return {
        "file": path,
        "patch": "".join(lines),
        "additions": changes.count("+"),
        "deletions": changes.count("-"),
        "status": "added" if before is None else "deleted" if after is None else "modified",
    }


def fault_of_directory(directory: Any) -> str | None:
    """Return why a location cannot be used."""
    return None if Path(directory).is_dir() else f"{directory} is not a directory"
