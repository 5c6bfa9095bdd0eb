"""Checks of what a task needs from an OpenCode 2: imported data, a model; and of leftover worktrees."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Model
from opencode_mcp.tasks.report import to_one_line

from .capabilities import CONNECT_ADVICE, worktrees_result
from .check_result import CheckResult

MODELS_SECONDS = 5.0
"""After its start an OpenCode 2 lists no model at first."""
POLL_SECONDS = 0.5
HOSTED_PROVIDER = "opencode"
"""The provider of the models that OpenCode hosts; without a configured model one of them is used."""


class ListedModel(Model):
    """A model of a provider."""

    id: str
    provider_id: str


class ModelList(Model):
    """The models of a location."""

    data: list[ListedModel]


class DefaultModel(Model):
    """The default model of a location, None if there is none."""

    data: ListedModel | None = None


class Project(Model):
    """The project of a location, whose directory may be a worktree of `canonical`."""

    id: str
    directory: str
    canonical: str


class Location(Model):
    """A location."""

    project: Project


class Worktree(Model):
    """A worktree of a project, the project's own directory included."""

    directory: str


async def check_import(opencode: OpenCodeClient) -> CheckResult:
    """Check whether the data of OpenCode 1 is imported."""
    found: Any = await opencode.call("experimental_migration_v1_status")
    match found:
        case {"status": "completed"}:
            return CheckResult("import", "ok", "the data of OpenCode 1 is imported, or there was none")
        case {"status": "running", "progress": {"label": label}}:
            return CheckResult("import", "warning", to_one_line(f"runs: {label}"), "wait until it has ended")
        case {"status": "error", "error": error}:
            message = to_one_line(f"the data of OpenCode 1 is not imported: {error}", 400)
            return CheckResult("import", "failed", message, "see OpenCode's log")
        case _:
            message = to_one_line(f"the data of OpenCode 1 is not imported: {found}", 400)
            return CheckResult("import", "warning", message, "OpenCode 2 imports it at its start")


async def check_models(opencode: OpenCodeClient) -> CheckResult:
    """Check that a provider has a model."""
    models: list[ListedModel] = []
    with anyio.move_on_after(MODELS_SECONDS):
        while not (models := (await opencode.call_as(ModelList, "model_list")).data):
            await anyio.sleep(POLL_SECONDS)
    if not models:
        return CheckResult("providers", "failed", "no provider has a model", CONNECT_ADVICE)
    counts = Counter(model.provider_id for model in models)
    message = ", ".join(f"{name} ({count} model{'s' * (count > 1)})" for name, count in counts.items())
    return CheckResult("providers", "ok", to_one_line(message), facts={"models": dict(counts)})


async def check_default_model(opencode: OpenCodeClient) -> CheckResult:
    """Check the default model. The model is not called."""
    model = (await opencode.call_as(DefaultModel, "model_default")).data
    if model is None:
        return CheckResult("model", "failed", "no default model", "set `model` in opencode.json")
    name = f"{model.provider_id}/{model.id}"
    if model.provider_id == HOSTED_PROVIDER:
        advice = "prompts go to OpenCode's own service; set `model` in opencode.json, or name one in each task"
        return CheckResult("model", "warning", f"{name}, which OpenCode hosts", advice, {"default": name})
    return CheckResult("model", "ok", name, facts={"default": name})


async def check_project_worktrees(opencode: OpenCodeClient) -> CheckResult:
    """Count the project's worktrees: none is removed automatically, and its changes may exist nowhere else."""
    if opencode.lacks_project:
        message, advice = "this directory is not a project", "run this in a project, or pass --directory"
        return CheckResult("worktrees", "skipped", message, advice)
    try:
        project = (await opencode.call_as(Location, "location_get")).project
        listed = await opencode.call_as(list[Worktree], "worktree_list", projectID=project.id)
    except OpenCodeError as error:
        return CheckResult("worktrees", "warning", to_one_line(f"cannot be listed: {error}", 400), "see OpenCode's log")
    own = {project.directory, project.canonical}
    return worktrees_result([worktree.directory for worktree in listed if worktree.directory not in own])
