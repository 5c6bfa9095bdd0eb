"""A project for the v2 engine of a real OpenCode 1.18.33."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode.process.install import Program
from tests.conftest import make_environ
from tests.scenarios.scenario_context import SharedFixtures

from .scenario_context import make_scripted_project


@pytest.fixture(scope="session")
def scripted_project(program: Program, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of all rows that have none of their own."""
    folder = tmp_path_factory.mktemp("shim")
    return make_scripted_project(folder / "quick", make_environ(program, model, folder), model)


@pytest.fixture
def shared_fixtures(model: ScriptedModel, program: Program, environ: Mapping[str, str]) -> SharedFixtures:
    """What a scenario needs besides its project."""
    return SharedFixtures(Catalog.from_snapshot(2), model, program, environ)
