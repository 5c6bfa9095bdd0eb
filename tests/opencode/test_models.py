"""The models of responses agree with the document: what they read is there, and what they need is always there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, cast, get_args

import pytest
from pydantic import BaseModel

from opencode_mcp.opencode import authorize, models
from opencode_mcp.opencode.models import Model

DOCUMENT: dict[str, Any] = json.loads((files("opencode_mcp.openapi") / "opencode.json").read_bytes())
COMPONENTS: dict[str, Any] = DOCUMENT["components"]["schemas"]

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
    (models.Location, "Worktree"),
    (models.Worktree, "Worktree"),
    (models.Config, "Config"),
    (models.HomePath, "Path"),
    (models.FileNode, "FileNode"),
    (models.Agent, "Agent"),
    (authorize.SessionLocation, "Session"),
    (authorize.Workspace, "Workspace"),
    (authorize.Project, "Project"),
    (authorize.InstancePaths, "Path"),
)
"""Each model that is read from a response, and the component that the document gives it."""

DEALT_WITH = {"SnapshotFileDiff.file may be missing"}
"""What is missing is left out before it comes to a model (workflows/diffs.py)."""


def alternatives(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every object that a schema allows, references resolved and unions taken apart."""
    if "$ref" in schema:
        yield from alternatives(COMPONENTS[schema["$ref"].rpartition("/")[2]])
    elif "anyOf" in schema:
        for branch in schema["anyOf"]:
            yield from alternatives(branch)
    elif schema.get("type") == "array":
        yield from alternatives(schema["items"])
    elif "properties" in schema:
        yield schema


def inner_model(annotation: Any) -> type[Model] | None:
    """The model that a field holds: itself, one or none, or a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for one in get_args(annotation) if (found := inner_model(one))), None)


Read = dict[type[Model], list[tuple[str, dict[str, Any]]]]
"""Each model with every object that it reads, and where that is in the document."""


def places(model: type[Model], schema: dict[str, Any], location: str, found: Read) -> Read:
    """Find every object that a model and those in it read."""
    for item in alternatives(schema):
        found.setdefault(model, []).append((location, item))
        for name, field in model.model_fields.items():
            wire = field.alias or name
            inner = inner_model(field.annotation)
            if inner is not None and wire in item["properties"]:
                places(inner, item["properties"][wire], f"{location}.{wire}", found)
    return found


def disagreements(read: Read) -> Iterator[str]:
    """Every field that no object has, or that may be missing from one although the model needs it."""
    for model, objects in read.items():
        for name, field in model.model_fields.items():
            wire = field.alias or name
            if not any(wire in item["properties"] for _, item in objects):
                yield f"{model.__name__}.{wire} is not in the document"
            elif field.is_required():
                yield from (
                    f"{location}.{wire} may be missing"
                    for location, item in objects
                    if wire not in item.get("required", ())
                )


@pytest.fixture
def read() -> Read:
    """Everything that is read."""
    found: Read = {}
    for model, component in CONTRACTS:
        places(model, COMPONENTS[component], component, found)
    for model, path in (
        (models.Message, "/session/{sessionID}/message"),
        (models.Providers, "/config/providers"),
        (authorize.V2SessionAnswer, "/api/session/{sessionID}"),
    ):
        response = DOCUMENT["paths"][path]["get"]["responses"]["200"]
        places(model, response["content"]["application/json"]["schema"], path, found)
    return found


def test_the_models_read_what_the_document_has(read: Read) -> None:
    """Every field of a model is a property of what it reads, and what a model needs is required."""
    assert set(disagreements(read)) == DEALT_WITH


def test_every_model_is_checked(read: Read) -> None:
    """A new model has to be given its component, or to be part of one that has."""
    assert set(read) == set(Model.__subclasses__())


def test_a_field_that_is_null_is_one_that_is_absent() -> None:
    """OpenCode sends null for what an agent of the configuration does not set; what is needed is still needed."""
    agent = models.Agent.model_validate({"name": "mine", "mode": "primary", "hidden": None, "description": None})
    assert agent == models.Agent(name="mine", mode="primary")
    with pytest.raises(ValueError, match="mode"):
        models.Agent.model_validate({"name": "mine", "mode": None})


def test_the_check_sees_what_is_missing() -> None:
    """A field of another name, and one that is needed but optional, are both found."""

    class Wrong(BaseModel):
        id: str
        parentID: str
        invented: str = ""

    assert list(disagreements({cast("Any", Wrong): [("Session", COMPONENTS["Session"])]})) == [
        "Session.parentID may be missing",
        "Wrong.invented is not in the document",
    ]
