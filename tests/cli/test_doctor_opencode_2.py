"""`doctor` with an OpenCode 2: it finds out which one serves, and checks that one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.cli.doctor import CheckResult, run_checks
from opencode_mcp.connect import expected_generation
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.settings import Settings
from tests.cli.fake_http_server import JSON, HttpAnswer, fake_http_server
from tests.contract_server import ContractServer, serve_contract
from tests.opencode.process.data_folders import use_opencode_1, use_opencode_2, write_program

pytestmark = pytest.mark.anyio

LOCATION = {"directory": "/project"}
PROJECT = {"id": "prj_1", "directory": "/project", "canonical": "/project"}


def model(provider: str) -> Mapping[str, Any]:
    """Return a model of a provider, with what the document requires."""
    server = ContractServer(2)
    [route] = [route for route in server.routes if route.id == "model.list"]
    listed = server.answer(route).json()
    example: Mapping[str, Any] = listed["data"][0]
    return {**example, "id": "large", "modelID": "large", "providerID": provider}


def healthy_answers(provider: str = "anthropic") -> dict[str, Any]:
    """Return the answers of an OpenCode 2 that lacks nothing."""
    return {
        "event.subscribe": {"id": "evt_1", "type": "server.connected", "data": {}},
        "experimental.migration.v1.status": {"status": "completed"},
        "location.get": {**LOCATION, "project": PROJECT},
        "model.default": {"location": LOCATION, "data": model(provider)},
        "model.list": {"location": LOCATION, "data": [model(provider), model(provider)]},
        "worktree.list": [LOCATION],
    }


async def run_doctor(settings: Settings) -> Mapping[str, CheckResult]:
    """Run all checks; return the results by check."""
    results: list[CheckResult] = []
    await run_checks(settings, 0, results.append, ignore_progress)
    return {result.check: result for result in results}


def load(tmp_path: Path, **options: Any) -> Settings:
    """Return the settings of a user with an empty home."""
    environ = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": str(tmp_path / "bin")}
    return Settings.load(options, environ)


async def test_every_check_passes_and_the_next_start_has_its_tools(tmp_path: Path) -> None:
    """No model is called, and nothing is sent that breaks the contract."""
    server = ContractServer(2, answers=healthy_answers())
    with serve_contract(server) as url:
        settings = load(tmp_path, url=url, directory="/project")
        results = await run_doctor(settings)

    expected = ["reachable", "version", "document", "import", "providers", "model", "events", "worktrees"]
    assert {check: results[check].state for check in expected} == dict.fromkeys(expected, "ok"), results
    assert results["version"].message == "2.1.2; the tools are those of 2.1.2's API"
    assert results["document"].message == "142 operations, the same as in OpenCode 2.1.2"
    assert results["providers"].facts == {"models": {"anthropic": 2}}
    assert results["model"].message == "anthropic/large"
    assert server.faults == []
    assert not {"session.create", "session.prompt"} & {*server.requests}
    assert expected_generation(settings) == 2


@pytest.mark.parametrize(
    ("answers", "check", "state", "words"),
    [
        (
            {"experimental.migration.v1.status": {"status": "required"}},
            "import",
            "warning",
            "not imported: ",
        ),
        (
            {"experimental.migration.v1.status": {"status": "running", "progress": {"label": "sessions"}}},
            "import",
            "warning",
            "runs: sessions",
        ),
        (
            {"experimental.migration.v1.status": {"status": "error", "error": "no space left"}},
            "import",
            "failed",
            "no space left",
        ),
        ({"model.default": {"location": LOCATION, "data": None}}, "model", "failed", "no default"),
        (healthy_answers("opencode"), "model", "warning", "opencode/large, which OpenCode hosts"),
        ({"worktree.list": [LOCATION, {"directory": "/w"}]}, "worktrees", "warning", "1 in this project: /w"),
        (
            {"server.info": {"version": "2.0.7", "pid": 7, "urls": [], "paths": {"tmp": "/tmp"}}},
            "version",
            "warning",
            "2.0.7: the task tools (such as run_task) need 2.0.8",
        ),
    ],
)
async def test_each_fault_is_named_with_advice(
    tmp_path: Path, answers: Mapping[str, Any], check: str, state: str, words: str
) -> None:
    """The other checks are not affected."""
    server = ContractServer(2, answers={**healthy_answers(), **answers})
    with serve_contract(server) as url:
        results = await run_doctor(load(tmp_path, url=url, directory="/project"))

    assert (results[check].state, words in results[check].message) == (state, True), results[check]
    assert results[check].advice
    others = {name: result.state for name, result in results.items() if result.check in ("document", "providers")}
    assert others == {"document": "ok", "providers": "ok"}


@pytest.mark.parametrize(
    ("routes", "check", "words"),
    [
        ({"/api/health": (200, JSON, b'{"healthy":true}')}, "reachable", "does not say its version"),
        ({"/api/info": (503, JSON, b'{"code":"service_starting"}')}, "reachable", "does not say its version"),
        ({"/api/info": (401, JSON, b'{"_tag":"UnauthorizedError"}')}, "authorised", "HTTP 401"),
    ],
)
async def test_an_opencode_2_that_cannot_be_used_is_identified(
    tmp_path: Path, routes: Mapping[str, HttpAnswer], check: str, words: str
) -> None:
    """A beta, one that starts, and one with another password, whose variable is named."""
    with fake_http_server(routes) as url:
        results = await run_doctor(load(tmp_path, url=url))

    assert [result.check for result in results.values() if result.state == "failed"] == [check]
    assert words in results[check].message
    assert check == "reachable" or "OPENCODE_PASSWORD" in results[check].advice


async def test_a_chosen_generation_is_checked_as_it_is_chosen(tmp_path: Path) -> None:
    """Its tools cannot work with the other one."""
    with serve_contract(ContractServer(2)) as url:
        results = await run_doctor(load(tmp_path, url=url, generation="1"))

    assert results["reachable"].state == "failed"
    assert "is OpenCode 2.1.2, whose API differs from 1.x" in results["reachable"].message
    assert "set --generation 2" in results["reachable"].advice


@pytest.mark.parametrize(
    ("prepare", "words"),
    [(use_opencode_1, "has data of OpenCode 1"), (use_opencode_2, "an OpenCode 2 has used")],
)
async def test_the_data_folder_and_the_background_service_are_named(tmp_path: Path, prepare: Any, words: str) -> None:
    """They decide which OpenCode serves."""
    prepare(tmp_path / ".local" / "share" / "opencode")
    write_program(tmp_path / "bin" / "opencode", tmp_path / "cache" / "opencode-mcp", "2.1.2")
    with serve_contract(ContractServer(2, answers=healthy_answers())) as url:
        registration = tmp_path / ".local" / "state" / "opencode" / "service.json"
        registration.parent.mkdir(parents=True)
        registration.write_text(json.dumps({"version": "2.1.2", "url": url, "pid": 1, "password": "secret words"}))
        registration.chmod(0o600)
        settings = load(tmp_path, directory=str(tmp_path))
        results = await run_doctor(settings)

    assert words in results["data"].message
    assert f"background service at {url} (process 1)" in results["opencode"].message
    assert results["version"].state == "ok"
    assert "secret words" not in json.dumps([result.as_data() for result in results.values()])
