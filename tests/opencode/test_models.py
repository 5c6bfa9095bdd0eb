"""The models of responses agree with the document: what they read is there, and what they need is always there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, cast, get_args

import pytest
from pydantic import BaseModel

from opencode_mcp.cli.doctor import capabilities2
from opencode_mcp.opencode import authorize, forms, location_reads, models
from opencode_mcp.opencode.engine.opencode2 import (
    directories,
    entries,
    model_selection,
    pages,
    requests,
    rules,
    sessions,
    shells,
)
from opencode_mcp.opencode.models import Model


def read_document(generation: int) -> dict[str, Any]:
    """Return a bundled document, the names of its components as 1.Name or 2.Name."""
    text = (files("opencode_mcp.openapi") / f"opencode{generation}.json").read_text(encoding="utf-8")
    return json.loads(text.replace("#/components/schemas/", f"#/components/schemas/{generation}."))


DOCUMENT, DOCUMENT_2 = map(read_document, (1, 2))
COMPONENTS: dict[str, Any] = {
    f"{generation}.{name}": schema
    for generation, document in ((1, DOCUMENT), (2, DOCUMENT_2))
    for name, schema in document["components"]["schemas"].items()
}

CONTRACTS: tuple[tuple[type[Model], str], ...] = (
    (models.Session, "Session"),
    (models.SessionStatus, "SessionStatus"),
    (models.PermissionRequest, "PermissionRequest"),
    (models.QuestionRequest, "QuestionRequest"),
    (models.MessageInfo, "Message"),
    (models.Part, "Part"),
    (models.Todo, "Todo"),
    (models.FileChange, "SnapshotFileDiff"),
    (models.FileChange, "VcsFileDiff"),
    (models.FileChange, "VcsFileStatus"),
    (models.Location, "Path"),
    (models.ProjectPath, "Path"),
    (models.Branch, "VcsInfo"),
    (models.Location, "Worktree"),
    (models.Worktree, "Worktree"),
    (models.Config, "Config"),
    (models.FileNode, "FileNode"),
    (models.Agent, "Agent"),
    (location_reads.SessionLocation, "Session"),
    (authorize.Workspace, "Workspace"),
    (location_reads.Project, "Project"),
    (location_reads.InstancePaths, "Path"),
)
"""Each model that is read from a response, and the component that the document gives it."""

CONTRACTS_2: tuple[tuple[type[Model], str], ...] = (
    (model_selection.AgentInfo, "AgentInfo"),
    (model_selection.ConfigEntry, "ConfigEntry"),
    (model_selection.ModelInfo, "ModelInfo"),
    (forms.FormField, "FormField"),
    (requests.FormInfo, "FormInfo"),
    (requests.PermissionInfo, "PermissionRequest"),
    (rules.RuleInfo, "PermissionRule"),
    (sessions.SessionInfo, "SessionInfo"),
    (entries.Entry, "SessionMessageInfo"),
    (entries.InboxEntry, "SessionInboxInfo"),
    (shells.ShellInfo, "ShellInfo"),
    (directories.FileEntry, "FileSystemEntry"),
    (directories.VcsInfo, "VcsInfo"),
)
"""Those of OpenCode 2."""

KNOWN_DISAGREEMENTS = {"SnapshotFileDiff.file may be missing", "MessageInfo.retry is not in the document"}
"""The file that is missing is left out before it comes to a model, and the retry is of OpenCode 2."""


def iter_objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every object that a schema allows, references resolved and unions taken apart."""
    if "$ref" in schema:
        yield from iter_objects(COMPONENTS[schema["$ref"].rpartition("/")[2]])
    elif "anyOf" in schema:
        for branch in schema["anyOf"]:
            yield from iter_objects(branch)
    elif schema.get("type") == "array":
        yield from iter_objects(schema["items"])
    elif "properties" in schema:
        yield schema


def find_inner_model(annotation: Any) -> type[Model] | None:
    """The model that a field holds: itself, one or none, or a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((inner for argument in get_args(annotation) if (inner := find_inner_model(argument))), None)


ModelObjects = dict[type[Model], list[tuple[str, dict[str, Any]]]]
"""Each model with every object that it reads, and where that is in the document."""


def collect_objects(model: type[Model], schema: dict[str, Any], location: str, objects: ModelObjects) -> ModelObjects:
    """Find every object that a model and those in it read."""
    for item in iter_objects(schema):
        objects.setdefault(model, []).append((location, item))
        for name, field in model.model_fields.items():
            alias = field.alias or name
            inner = find_inner_model(field.annotation)
            if inner is not None and alias in item["properties"]:
                collect_objects(inner, item["properties"][alias], f"{location}.{alias}", objects)
    return objects


def iter_disagreements(read: ModelObjects) -> Iterator[str]:
    """Every field that no object has, or that may be missing from one although the model needs it."""
    for model, objects in read.items():
        for name, field in model.model_fields.items():
            alias = field.alias or name
            if not any(alias in item["properties"] for _, item in objects):
                yield f"{model.__name__}.{alias} is not in the document"
            elif field.is_required():
                yield from (
                    f"{location}.{alias} may be missing"
                    for location, item in objects
                    if alias not in item.get("required", ())
                )


@pytest.fixture
def model_objects() -> ModelObjects:
    """Everything that is read."""
    found: ModelObjects = {}
    for model, component in CONTRACTS:
        collect_objects(model, COMPONENTS[f"1.{component}"], component, found)
    for model, component in CONTRACTS_2:
        collect_objects(model, COMPONENTS[f"2.{component}"], component, found)
    for model, document, path in (
        (models.Message, DOCUMENT, "/session/{sessionID}/message"),
        (models.Providers, DOCUMENT, "/config/providers"),
        (location_reads.V2SessionAnswer, DOCUMENT, "/api/session/{sessionID}"),
        (location_reads.V2SessionAnswer, DOCUMENT_2, "/api/session/{sessionID}"),
        (location_reads.Project2, DOCUMENT_2, "/api/project"),
        (location_reads.Location2, DOCUMENT_2, "/api/location"),
        (capabilities2.Location, DOCUMENT_2, "/api/location"),
        (capabilities2.ModelList, DOCUMENT_2, "/api/model"),
        (capabilities2.DefaultModel, DOCUMENT_2, "/api/model/default"),
        (capabilities2.Worktree, DOCUMENT_2, "/api/worktree"),
        (pages.Data, DOCUMENT_2, "/api/agent"),
        (pages.Page, DOCUMENT_2, "/api/session"),
        (directories.LocationInfo, DOCUMENT_2, "/api/location"),
    ):
        response = document["paths"][path]["get"]["responses"]["200"]
        collect_objects(model, response["content"]["application/json"]["schema"], path, found)
    return found


def test_the_models_read_what_the_document_has(model_objects: ModelObjects) -> None:
    """Every field of a model is a property of what it reads, and what a model needs is required."""
    assert set(iter_disagreements(model_objects)) == KNOWN_DISAGREEMENTS


def test_every_model_is_checked(model_objects: ModelObjects) -> None:
    """A new model has to be given its component, or to be part of one that has."""
    assert set(model_objects) == set(Model.__subclasses__())


def test_a_field_that_is_null_is_one_that_is_absent() -> None:
    """OpenCode sends null for what an agent of the configuration does not set; what is needed is still needed."""
    agent = models.Agent.model_validate({"name": "mine", "mode": "primary", "hidden": None, "description": None})
    assert agent == models.Agent(name="mine", mode="primary")
    with pytest.raises(ValueError, match="mode"):
        models.Agent.model_validate({"name": "mine", "mode": None})


def test_the_check_detects_missing_fields() -> None:
    """A field of another name, and one that is needed but optional, are both found."""

    class Wrong(BaseModel):
        id: str
        parentID: str
        invented: str = ""

    assert list(iter_disagreements({cast("Any", Wrong): [("Session", COMPONENTS["1.Session"])]})) == [
        "Session.parentID may be missing",
        "Wrong.invented is not in the document",
    ]
