"""`opencode-mcp doctor`: green where all is well, and each thing that can be wrong told from the others."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client

from examples.scripted_model import ScriptedModel
from opencode_mcp.cli.clients import CLIENTS, Machine
from opencode_mcp.cli.doctor.registrations import check_registrations
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.openapi.snapshots import read_snapshot
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.settings import Settings
from tests.bridge import find_processes
from tests.facts import facts
from tests.server.connections import free_port

from .command_process import command_environ, run_command
from .fake_http_server import WEB_PAGE, HttpAnswer, fake_http_server

pytestmark = pytest.mark.anyio

CheckResults = Mapping[str, dict[str, Any]]

WITH_OPENCODE = ("document", "providers", "model", "events", "ripgrep", "worktrees")
UNUSED_URL = "http://127.0.0.1:9"
HEALTHY = json.dumps({"healthy": True, "version": SNAPSHOT_VERSION}).encode()


@pytest.fixture
def home(environ: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment in whose home no client has a file."""
    (tmp_path / "home").mkdir()
    return {**environ, "HOME": str(tmp_path / "home")}


async def run_doctor(environ: Mapping[str, str], *flags: str, cwd: Path | None = None) -> tuple[int, CheckResults]:
    """Run `doctor --json`; return its exit code and every finding by its check."""
    done = await run_command(environ, "doctor", "--json", *flags, cwd=cwd)
    answer = json.loads(done.stdout)
    findings = {check["check"]: check for check in answer["checks"]}
    assert len(findings) == len(answer["checks"])
    assert answer["ok"] == (done.returncode == 0)
    assert answer["ok"] != any(check["state"] == "failed" for check in findings.values())
    assert all(check["advice"] for check in findings.values() if check["state"] in {"warning", "failed"})
    return done.returncode, findings


def failed_checks(findings: CheckResults) -> list[str]:
    """The checks that failed."""
    return [check for check, result in findings.items() if result["state"] == "failed"]


@pytest.fixture
async def attached(attached: Settings) -> Settings:
    """Settings that attach to an OpenCode that has its document ready: the first time it takes 13 s if nothing else
    runs."""
    password = attached.password or ""
    async with httpx2.AsyncClient(base_url=str(attached.url), auth=(attached.username, password), timeout=300) as http:
        (await http.get("/doc")).raise_for_status()
    return attached


async def test_every_check_passes_with_the_tested_opencode(
    home: Mapping[str, str], attached: Settings, model: ScriptedModel
) -> None:
    """Every check of OpenCode is ok, and the model was not asked for anything."""
    before = len(model.requests)
    code, findings = await run_doctor(command_environ(home, attached))

    assert code == 0, findings
    expected = ["opencode", "reachable", "authorised", "version", *WITH_OPENCODE]
    assert [check for check in findings if check in expected] == expected
    assert {check: findings[check]["state"] for check in expected} == dict.fromkeys(expected, "ok")
    assert "scripted" in findings["providers"]["facts"]["models"]
    assert findings["model"]["facts"]["default"] == "scripted/scripted"
    assert len(model.requests) == before


async def test_leftover_worktrees_are_counted(home: Mapping[str, str], attached: Settings, client: Client) -> None:
    """With what to do about them; they keep nothing from working."""
    made = facts(await client.call_tool("worktree_create", {}))
    code, findings = await run_doctor(command_environ(home, attached))

    assert code == 0, findings
    assert findings["worktrees"]["state"] == "warning"
    assert findings["worktrees"]["facts"] == {"worktrees": [made["directory"]]}
    assert "collect_changes" in findings["worktrees"]["advice"]


async def test_each_of_several_servers_is_checked(home: Mapping[str, str], attached: Settings) -> None:
    """What is wrong with one is told of that one, and the others are looked at all the same."""
    servers = ["--server", f"dead={UNUSED_URL}", "--server", f"main={attached.url}"]
    given = {**home, **attached.passwords}
    code, findings = await run_doctor(given, *servers, "--directory", str(attached.directory))

    assert code == 1
    assert failed_checks(findings) == ["dead: reachable"]
    assert UNUSED_URL in findings["opencode"]["says"]
    assert {findings[f"dead: {check}"]["state"] for check in WITH_OPENCODE} == {"skipped"}
    assert {findings[f"main: {check}"]["state"] for check in ("version", *WITH_OPENCODE)} == {"ok"}


async def test_each_check_result_is_one_line_with_advice(home: Mapping[str, str], attached: Settings) -> None:
    """State, check and words; no colours in a pipe."""
    done = await run_command(command_environ(home, attached), "doctor")

    assert (done.returncode, done.stderr) == (0, "")
    states = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines() if "client" not in line}
    assert states["version"] == "ok"
    assert set(states.values()) <= {"ok", "warning", "failed", "skipped"}
    [others] = [line for line in done.stdout.splitlines() if "other clients" in line]
    assert "zed" in others
    assert "`opencode-mcp install CLIENT`" in others
    assert "\x1b" not in done.stdout


async def test_without_a_url_opencode_is_started_and_stopped_again(home: Mapping[str, str], project: Path) -> None:
    """As the server would, and nothing of it is left."""
    mark = f"DOCTOR_MARK={project}"
    name, _, value = mark.partition("=")
    code, findings = await run_doctor({**home, name: value}, cwd=project)

    assert code == 0, findings
    assert findings["opencode"]["facts"]["path"] == home["OPENCODE_MCP_COMMAND"]
    assert findings["authorised"]["state"] == "ok"
    assert str(project) in findings["ripgrep"]["says"]
    assert find_processes(mark) == {}


async def test_a_missing_program_is_named(home: Mapping[str, str], tmp_path: Path) -> None:
    """What needs OpenCode is skipped, what does not is still looked at."""
    code, findings = await run_doctor({**home, "OPENCODE_MCP_COMMAND": "/nonexistent/opencode"}, cwd=tmp_path)

    assert (code, failed_checks(findings)) == (1, ["opencode"])
    assert "/nonexistent/opencode" in findings["opencode"]["says"]
    assert {findings[check]["state"] for check in WITH_OPENCODE} == {"skipped"}
    assert findings["port"]["state"] in {"ok", "warning"}


async def test_an_opencode_that_ends_at_once_is_quoted(home: Mapping[str, str], tmp_path: Path) -> None:
    """With its last words, on one line."""
    program = tmp_path / "broken-opencode"
    program.write_text("#!/bin/sh\necho no disc left\nexit 3\n")
    program.chmod(0o755)
    code, findings = await run_doctor({**home, "OPENCODE_MCP_COMMAND": str(program)}, cwd=tmp_path)

    assert (code, failed_checks(findings)) == (1, ["reachable"])
    assert "no disc left" in findings["reachable"]["says"]
    assert "\n" not in findings["reachable"]["says"]


async def test_an_unused_port_is_reported_as_refused(home: Mapping[str, str]) -> None:
    """No web page, no password: nobody is there."""
    port = free_port()
    code, findings = await run_doctor(home, "--url", f"http://user:hidden@127.0.0.1:{port}")

    assert (code, failed_checks(findings)) == (1, ["reachable"])
    assert "refused" in findings["reachable"]["says"]
    assert "hidden" not in json.dumps(findings)
    assert "authorised" not in findings


async def test_a_wrong_password_and_a_missing_one_are_distinguished(
    home: Mapping[str, str], attached: Settings
) -> None:
    """Both are HTTP 401 of a server that is reachable."""
    _, wrong = await run_doctor(command_environ(home, replace(attached, password="wrong")))
    code, missing = await run_doctor(command_environ(home, replace(attached, password=None)))

    assert (code, failed_checks(wrong), failed_checks(missing)) == (1, ["authorised"], ["authorised"])
    assert "401" in wrong["authorised"]["says"]
    assert "wrong password" in wrong["authorised"]["says"]
    assert "no password" in missing["authorised"]["says"]
    assert wrong["reachable"]["state"] == "ok"
    assert "OPENCODE_SERVER_PASSWORD" in wrong["authorised"]["advice"]


@pytest.mark.parametrize(
    ("routes", "otherwise", "words"),
    [
        pytest.param({}, WEB_PAGE, "a web page instead of OpenCode's JSON", id="web page"),
        pytest.param(
            {"/api/health": (200, "application/json", b'{"healthy":true}')}, WEB_PAGE, "is OpenCode 2,", id="V2"
        ),
        pytest.param(
            {"/api/health": (401, "application/json", b'{"_tag":"UnauthorizedError"}')},
            WEB_PAGE,
            "is OpenCode 2, whose API differs",
            id="V2, 401",
        ),
        pytest.param(
            {"/api/info": (200, "application/json", b'{"version":"2.0.8","pid":1}')},
            WEB_PAGE,
            "is OpenCode 2.0.8, whose API differs",
            id="V2, 2.0.8",
        ),
        pytest.param({}, (502, "text/plain", b"Bad gateway"), "HTTP 502", id="proxy"),
        pytest.param({}, (200, "application/json", b"[]"), "is not OpenCode", id="other JSON"),
        pytest.param({}, (302, "text/plain", b""), "redirects", id="redirect"),
    ],
)
async def test_a_server_that_is_not_opencode_is_identified(
    home: Mapping[str, str], routes: Mapping[str, HttpAnswer], otherwise: HttpAnswer, words: str
) -> None:
    """A web page, the next major version, a proxy: each has another remedy."""
    with fake_http_server(routes, otherwise) as url:
        code, findings = await run_doctor(home, "--url", url, "--generation", "1")

    assert (code, failed_checks(findings)) == (1, ["reachable"])
    assert words in findings["reachable"]["says"]
    assert {findings[check]["state"] for check in WITH_OPENCODE} == {"skipped"}


def drop_operation(data: dict[str, Any]) -> None:
    """Take an operation away."""
    del data["paths"]["/find"]


def add_operation(data: dict[str, Any]) -> None:
    """Add an operation, and change a schema."""
    data["paths"]["/new"] = {"get": {"operationId": "brand.new", "responses": {}}}
    data["components"]["schemas"]["Todo"]["properties"]["colour"] = {"type": "string"}


def drop_most_operations(data: dict[str, Any]) -> None:
    """Keep three operations."""
    data["paths"] = dict(list(data["paths"].items())[:3])


def change_descriptions(data: dict[str, Any]) -> None:
    """Say the same in another way."""
    data["paths"]["/find"]["get"]["description"] = "Find it."


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        pytest.param(change_descriptions, "ok", "188 operations, the same", id="other words"),
        pytest.param(drop_operation, "warning", "1 operations removed (find.text)", id="went"),
        pytest.param(add_operation, "warning", "1 operations added (brand.new); 1 schemas differ (Todo)", id="came"),
        pytest.param(drop_most_operations, "warning", "lists only", id="poor"),
    ],
)
async def test_document_drift_is_reported(
    home: Mapping[str, str], change: Callable[[dict[str, Any]], None], state: str, words: str
) -> None:
    """Operations that came or went and schemas that differ are named; what else fails here is not of interest."""
    data = json.loads(read_snapshot())
    change(data)
    document = json.dumps(data).encode()
    routes = {"/global/health": (200, "application/json", HEALTHY), "/doc": (200, "application/json", document)}
    with fake_http_server(routes) as url:
        _, findings = await run_doctor(home, "--url", url)

    assert findings["document"]["state"] == state
    assert words in findings["document"]["says"]
    assert findings["authorised"]["state"] == "warning"


async def test_an_untested_version_and_an_invalid_document_are_warnings(home: Mapping[str, str]) -> None:
    """A server that lets anybody in, of another version, with a web page for its document."""
    other = json.dumps({"healthy": True, "version": "1.14.41"}).encode()
    with fake_http_server({"/global/health": (200, "application/json", other)}) as url:
        code, findings = await run_doctor(home, "--url", url)

    assert code == 1  # the rest is a web page too
    assert findings["version"]["state"] == "warning"
    assert "1.14.41" in findings["version"]["says"]
    assert findings["document"]["state"] == "warning"
    assert "bundled" in findings["document"]["advice"]
    assert failed_checks(findings) == ["providers", "model", "events", "ripgrep"]


@pytest.mark.parametrize(
    ("routes", "version"),
    [
        pytest.param({"/path": (200, "application/json", b'{"directory":"/w"}')}, "1.0", id="without a health route"),
        pytest.param({"/global/health": (200, "application/json", b'{"version":"1.3.0"}')}, "1.3.0", id="1.3.0"),
    ],
)
async def test_a_version_older_than_supported_is_reported_with_what_it_lacks(
    home: Mapping[str, str], routes: Mapping[str, HttpAnswer], version: str
) -> None:
    """It is an OpenCode, whose task tools are refused; 1.0.152 gives a web page for its health."""
    with fake_http_server(routes) as url:
        _, findings = await run_doctor(home, "--url", url)

    assert findings["reachable"]["state"] == "ok"
    assert findings["version"]["state"] == "warning"
    assert findings["version"]["says"].startswith(f"{version}: the task tools (such as run_task) need 1.15.13")


@pytest.mark.slow
async def test_no_provider_and_an_unknown_model_are_distinguished(home: Mapping[str, str]) -> None:
    """What has to be connected, and what has to be corrected."""
    health: dict[str, HttpAnswer] = {"/global/health": (200, "application/json", HEALTHY)}
    nobody = json.dumps({"providers": [], "default": {}}).encode()
    one = json.dumps({"providers": [{"id": "a", "models": {"b": {}}}], "default": {"a": "b"}}).encode()
    config = json.dumps({"model": "a/c"}).encode()
    with fake_http_server(health | {"/config/providers": (200, "application/json", nobody)}) as url:
        _, none = await run_doctor(home, "--url", url)
    routes = {"/config/providers": (200, "application/json", one), "/config": (200, "application/json", config)}
    with fake_http_server(health | routes) as url:
        _, unknown = await run_doctor(home, "--url", url)

    assert none["providers"]["state"] == none["model"]["state"] == "failed"
    assert "opencode auth login" in none["providers"]["advice"]
    assert (unknown["providers"]["state"], unknown["model"]["state"]) == ("ok", "failed")
    assert "'a/c'" in unknown["model"]["says"]
    assert "a/b" in unknown["model"]["advice"]


@pytest.mark.slow
async def test_a_missing_ripgrep_is_the_only_failure(home: Mapping[str, str], program: Program, project: Path) -> None:
    """OpenCode runs without it; it would fetch one, if this test let it reach the network."""
    folders = [folder for folder in home["PATH"].split(":") if not (Path(folder) / "rg").exists()]
    cut_off = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    caches = {"XDG_CACHE_HOME": str(project.parent / "cache"), "NO_PROXY": "127.0.0.1"}
    code, findings = await run_doctor({**home, **cut_off, **caches, "PATH": ":".join(folders)}, cwd=project)

    assert (code, failed_checks(findings)) == (1, ["ripgrep"])
    assert "rg" in findings["ripgrep"]["advice"]


async def test_a_taken_port_is_a_warning(home: Mapping[str, str]) -> None:
    """Only `http` needs it, and it may be `http` that has it."""
    with socket.create_server(("127.0.0.1", 0)) as taken, fake_http_server({}) as url:
        port = str(taken.getsockname()[1])
        _, findings = await run_doctor(home, "--url", url, "--port", port)

    assert findings["port"]["state"] == "warning"
    assert port in findings["port"]["says"]


async def test_the_entry_of_each_client_is_checked(home: Mapping[str, str], tmp_path: Path) -> None:
    """A command that is gone fails, one that is there is well; a URL without a server and a broken file warn."""
    files: dict[str, object] = {
        ".cursor/mcp.json": {"mcpServers": {"opencode": {"command": "/nonexistent/opencode-mcp"}}},
        ".gemini/settings.json": {"mcpServers": {"mine": {"command": "opencode-mcp-here"}}},
        ".codeium/windsurf/mcp_config.json": {"mcpServers": {"opencode": {"serverUrl": "http://127.0.0.1:9/mcp"}}},
    }
    for name, content in files.items():
        (Path(home["HOME"]) / name).parent.mkdir(parents=True)
        (Path(home["HOME"]) / name).write_text(json.dumps(content))
    (Path(home["HOME"]) / ".codex").mkdir()
    (Path(home["HOME"]) / ".codex" / "config.toml").write_text("[")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "opencode-mcp-here").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "opencode-mcp-here").chmod(0o755)
    with fake_http_server({}) as url:
        path = f"{tmp_path / 'bin'}:{home['PATH']}"
        code, findings = await run_doctor({**home, "PATH": path}, "--url", url, cwd=tmp_path)

    assert (code, failed_checks(findings)) == (1, ["reachable", "client cursor"])
    assert "/nonexistent/opencode-mcp" in findings["client cursor"]["says"]
    assert findings["client gemini"]["state"] == "ok"
    assert findings["client windsurf"]["state"] == "warning"
    assert findings["client codex"]["state"] == "warning"
    assert "client zed" not in findings
    assert "zed" in findings["other clients"]["facts"]["clients"]


def test_only_clients_that_are_installed_or_registered_are_listed(tmp_path: Path) -> None:
    """By a folder of their own, by a program on PATH, or by an entry in the project; the rest is one line."""
    home, project, programs = tmp_path / "home", tmp_path / "project", tmp_path / "bin"
    (home / ".gemini").mkdir(parents=True)
    programs.mkdir()
    (programs / "zeditor").write_text("#!/bin/sh\n")
    (programs / "zeditor").chmod(0o755)
    (project / ".cursor").mkdir(parents=True)
    (project / ".cursor" / "mcp.json").write_text('{"mcpServers": {"opencode": {"command": "/nonexistent"}}}')
    environ = {"HOME": str(home), "PATH": str(programs)}
    results = [*check_registrations(Settings.load({"directory": str(project)}, environ))]

    assert {result.check: result.state for result in results} == {
        "client cursor": "failed",
        "client gemini": "skipped",
        "client zed": "skipped",
        "other clients": "skipped",
    }
    assert results[-1].facts == {"clients": [name for name in CLIENTS if name not in {"cursor", "gemini", "zed"}]}
    assert results[-1].advice == "`opencode-mcp install CLIENT` registers one"


def test_a_plugin_is_a_registration(tmp_path: Path) -> None:
    """Beside an entry it is one too many. One that is disabled is none, and so is one in a file of another form."""
    claude, codex = tmp_path / ".claude" / "plugins" / "installed_plugins.json", tmp_path / ".codex" / "config.toml"
    extension, copilot = tmp_path / ".gemini" / "extensions" / "opencode-mcp", tmp_path / ".copilot" / "settings.json"
    for folder in (claude.parent, codex.parent, extension, copilot.parent):
        folder.mkdir(parents=True)
    claude.write_text('{"version": 2, "plugins": {"opencode-mcp@fork": [{"scope": "user"}], "other@fork": []}}')
    codex.write_text('[plugins."opencode-mcp@fork"]\nenabled = true\n')
    copilot.write_text('{"enabledPlugins": {"other@fork": false, "opencode-mcp@fork": true}}')
    (tmp_path / ".gemini" / "settings.json").write_text('{"mcpServers": {"opencode": {"command": "sh"}}}')

    def states() -> dict[str, list[str]]:
        results = [*check_registrations(Settings.load({}, {"HOME": str(tmp_path), "PATH": "/bin"}))]
        return {
            client: [result.state for result in results if result.check == f"client {client}"]
            for client in ("claude-code", "codex", "gemini", "copilot")
        }

    assert states() == {"claude-code": ["ok"], "codex": ["ok"], "gemini": ["ok", "warning"], "copilot": ["ok"]}
    claude.write_text('["opencode-mcp@fork"]')
    codex.write_text('[plugins."opencode-mcp@fork"]\nenabled = false\n')
    copilot.write_text('{"enabledPlugins": {"opencode-mcp@fork": false}}')
    extension.rmdir()
    assert states() == {"claude-code": [], "codex": ["skipped"], "gemini": ["ok"], "copilot": ["skipped"]}


def test_without_other_clients_no_line_names_them(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"HOME": str(tmp_path)}, "linux")
    for client in CLIENTS.values():
        file = Path(client.user(machine)[0])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    results = [*check_registrations(Settings.load({}, machine.environ))]

    assert [result.check for result in results] == [f"client {name}" for name in CLIENTS]
