"""Where a scenario runs on the shim: a project whose `opencode.json` has the scripted model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from examples.scripted_model import ScriptedModel, provider_config
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.settings import Settings
from tests.conftest import QUICK_CONFIG
from tests.opencode2.fake import PASSWORD
from tests.opencode2.scenario_context import OpenCode2Context
from tests.scenarios.scenario_context import SharedFixtures, make_asking_project, open_client

from .shim import Shim, open_shim


def make_scripted_project(
    folder: Path, environ: Mapping[str, str], model: ScriptedModel, config: Mapping[str, Any] = QUICK_CONFIG
) -> Path:
    """Create a project with the scripted model: the v2 engine of 1.18.33 reads no OPENCODE_CONFIG_CONTENT.

    It keeps no snapshots, as the v2 API cannot say what a turn has changed.
    """
    scripted = {**provider_config(model.url), "snapshot": False}
    return make_asking_project(folder, environ, merge(scripted, config))


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return two configurations as one: of what both have, the second counts."""
    merged = {**first, **second}
    shared = first.keys() & second.keys()
    both = [name for name in shared if isinstance(first[name], dict) and isinstance(second[name], dict)]
    return merged | {name: merge(first[name], second[name]) for name in both}


@asynccontextmanager
async def open_shim_context(
    shared: SharedFixtures, endpoint: Endpoint, project: Path, key: str
) -> AsyncGenerator[tuple[OpenCode2Context, Shim]]:
    """Provide a scenario's context in front of an OpenCode 1.18.33; what still runs at the end is interrupted."""
    async with open_shim(endpoint) as shim:
        settings = Settings(url=shim.url, password=PASSWORD, directory=str(project), generation="2")
        catalog = Catalog.from_snapshot(2)
        async with open_client(settings, catalog) as client:
            ctx = OpenCode2Context(shared, settings, project, key, client)
            yield ctx, shim
        for session_id in ctx.reported_sessions:
            await shim.upstream.http.post(f"/api/session/{session_id}/interrupt")
