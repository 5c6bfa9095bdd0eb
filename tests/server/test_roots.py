"""A server that was started outside of any project searches nothing, and says how to name one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.context import ClientRequestContext

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.server.roots import call_directory
from opencode_mcp.server.server_info import SANDBOX_STATE
from opencode_mcp.settings import Settings
from tests.facts import facts

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a home folder, and nothing to start."""
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "PATH": "/nonexistent", "OPENCODE_MCP_COMMAND": "/nonexistent/opencode"}


def test_neither_a_root_nor_the_home_folder_is_a_project(
    home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Desktop applications start their servers in one of the two."""
    (tmp_path / "link").symlink_to(home["HOME"])
    for place in ("/", home["HOME"], str(tmp_path / "link")):
        monkeypatch.chdir(place)
        assert Settings.load({}, home).project_directory is None, place
        assert Settings.load({"directory": place}, home).project_directory == place
        assert Settings.load({"allow_directory": [place]}, home).project_directory == place


def test_the_client_s_root_takes_precedence_over_the_working_directory(
    home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLAUDE_PROJECT_DIR, unless --directory was given or it is not there."""
    project, other = tmp_path / "project", tmp_path / "other"
    project.mkdir()
    other.mkdir()
    named = {**home, "CLAUDE_PROJECT_DIR": str(project)}
    for place in ("/", str(other)):
        monkeypatch.chdir(place)
        assert Settings.load({}, named).project_directory == str(project)
        assert Settings.load({"directory": str(other)}, named).project_directory == str(other)
    assert Settings.load({}, {**named, "CLAUDE_PROJECT_DIR": str(tmp_path / "gone")}).project_directory == str(other)
    assert Settings.load({}, {**named, "CLAUDE_PROJECT_DIR": home["HOME"]}).project_directory == str(other)
    assert Settings.load({}, home).project_directory == str(other)


@pytest.mark.parametrize("variable", ["PLUGIN_ROOT", "CLAUDE_PLUGIN_ROOT", "COPILOT_PLUGIN_ROOT"])
def test_the_folder_of_a_plugin_is_not_a_project(
    home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Nor is anything in it; a folder that is named is the project all the same, as is one beside the plugin."""
    plugin, project = tmp_path / "plugin", tmp_path / "plugin-project"
    (plugin / "skills").mkdir(parents=True)
    project.mkdir()
    (tmp_path / "link").symlink_to(plugin)
    environ = {**home, variable: str(tmp_path / "link")}
    for place in (plugin, plugin / "skills", tmp_path / "link"):
        monkeypatch.chdir(place)
        assert Settings.load({}, environ).project_directory is None, place
        assert Settings.load({"directory": str(plugin)}, environ).project_directory == str(plugin)
        for named in (project, plugin):
            named_environ = {**environ, "CLAUDE_PROJECT_DIR": str(named)}
            assert Settings.load({}, named_environ).project_directory == str(named)
    monkeypatch.chdir(project)
    for root in (environ[variable], "", "."):
        assert Settings.load({}, {**home, variable: root}).project_directory == str(project)


def test_an_opencode_that_a_plugin_starts_does_not_get_the_plugin_s_variables(home: dict[str, str]) -> None:
    """A bridge in it is not that of the plugin."""
    variables = dict.fromkeys(("PLUGIN_ROOT", "PLUGIN_DATA", "COPILOT_PLUGIN_ROOT", "COPILOT_PLUGIN_DATA"), "/plugin")

    assert not variables.keys() & Settings.load({}, {**home, **variables}).child_environ.keys()


@pytest.mark.parametrize(
    ("state", "directory"),
    [
        ({"sandboxCwd": "file:///work/a%20project"}, "/work/a project"),
        ({"sandboxCwd": "https://example.com/work"}, None),
        ({"sandboxCwd": "/work"}, None),
        ({"sandboxCwd": ["file:///work"]}, None),
        ({}, None),
        ("file:///work", None),
        (None, None),
    ],
)
def test_the_directory_of_a_call_of_codex_is_a_file_url(state: Any, directory: str | None) -> None:
    """Everything else names none."""
    assert call_directory({SANDBOX_STATE: state}) == directory
    assert call_directory({}) is call_directory(None) is None


@pytest.mark.usefixtures("spawns")
async def test_codex_names_the_project_in_each_call(
    home: dict[str, str], catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts a plugin's server in the plugin's folder; a directory that cannot be a project is not taken."""
    project, plugin = tmp_path / "project", tmp_path / "plugin"
    project.mkdir()
    plugin.mkdir()
    monkeypatch.chdir(plugin)
    settings = Settings.load({}, {**home, "PLUGIN_ROOT": str(plugin)})
    async with Client(create_server(settings, catalog), mode="legacy") as client:
        assert (client.server_capabilities.experimental or {})[SANDBOX_STATE] == {}

        async def call(directory: Path) -> str:
            state: Any = {SANDBOX_STATE: {"sandboxCwd": directory.as_uri()}}
            return result_text(await client.call_tool("find_text", {"pattern": "x"}, meta=state))

        assert "/nonexistent/opencode" in await call(project)
        assert "started outside of a project" in await call(Path(home["HOME"]))
        assert "started outside of a project" in await call(tmp_path / "gone")


def test_an_attached_server_chooses_its_own_project(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a working directory of its own, and this machine's folders mean nothing there."""
    monkeypatch.chdir("/")

    assert Settings.load({"url": "http://opencode.test"}, home).project_directory is None


def result_text(result: types.CallToolResult) -> str:
    """Return the text of a failed call."""
    assert result.is_error
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return content.text


@pytest.mark.parametrize(
    ("name", "arguments", "argument"),
    [
        ("find_text", {"pattern": "x"}, "directory"),
        ("session_list", {}, "directory"),
        ("v2_fs_list", {}, "location"),
        ("v2_session_create", {}, "location"),
        ("read_operation", {"operation": "vcs_status"}, "directory"),
    ],
)
async def test_a_call_without_a_project_fails_before_opencode_starts(
    home: dict[str, str], catalog: Catalog, monkeypatch: pytest.MonkeyPatch, name: str, arguments: Any, argument: str
) -> None:
    """A search of / takes minutes, and reads what nobody offered."""
    monkeypatch.chdir("/")
    async with Client(create_server(Settings.load({}, home), catalog)) as client:
        said = result_text(await client.call_tool(name, arguments))

    assert f"{argument}: this MCP server was started outside of a project. Pass the project's absolute path" in said
    assert "or start the server with --directory" in said


@pytest.mark.usefixtures("spawns")
async def test_a_call_with_a_directory_needs_no_project(
    home: dict[str, str], catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is a session, which has its own."""
    monkeypatch.chdir("/")
    async with Client(create_server(Settings.load({}, home), catalog)) as client:
        for name, arguments in (
            ("find_text", {"pattern": "x", "directory": str(tmp_path)}),
            ("v2_fs_list", {"location": {"directory": str(tmp_path)}}),
            ("session_get", {"sessionID": "ses_1"}),
            ("config_providers", {}),
        ):
            assert "/nonexistent/opencode" in result_text(await client.call_tool(name, arguments)), name


def test_operations_without_a_project_match_the_document(catalog: Catalog) -> None:
    """A misspelt name would have no effect."""
    assert catalog.generation.scopes.without_project <= {operation.id for operation in catalog.values()}


async def test_the_client_s_only_root_is_the_project(
    environ: Mapping[str, str], catalog: Catalog, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one the models are there all the same; several leave a choice that is not ours."""
    monkeypatch.chdir("/")
    roots = [str(project)]

    async def named(context: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root.model_validate({"uri": Path(one).as_uri()}) for one in roots])

    settings = Settings.load({}, environ)
    assert settings.project_directory is None
    async with Client(create_server(settings, catalog), mode="legacy", list_roots_callback=named) as client:
        read = await client.call_tool("file_read", {"path": "README.md"})
        task = await client.call_tool("run_task", {"prompt": "script:text hi"})
        file = await client.read_resource("opencode://file/README.md")
        roots.append("/tmp")
        several = await client.call_tool("file_read", {"path": "README.md"})
        models = await client.call_tool("config_providers", {})
        roots[:] = [environ["HOME"]]
        at_home = await client.call_tool("run_task", {"prompt": "script:text hi"})

    assert facts(read) == {"type": "text", "content": "hello from the project"}
    assert (facts(task)["state"], facts(task)["directory"]) == ("completed", str(project))
    assert isinstance(file.contents[0], types.TextResourceContents)
    assert file.contents[0].text == "hello from the project\n"
    for refused in (several, at_home):
        assert "outside of a project" in result_text(refused)
    assert facts(models)["models"]


async def test_a_client_that_does_not_answer_roots_does_not_block_calls(
    home: dict[str, str], catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call without a project is refused in time."""
    monkeypatch.chdir("/")
    monkeypatch.setattr("opencode_mcp.server.roots.ROOTS_SECONDS", 0.05)

    async def never(context: ClientRequestContext) -> types.ListRootsResult:
        await anyio.sleep_forever()
        raise AssertionError

    server = create_server(Settings.load({}, home), catalog)
    async with Client(server, mode="legacy", list_roots_callback=never) as client:
        with anyio.fail_after(30):
            assert "outside of a project" in result_text(await client.call_tool("find_text", {"pattern": "x"}))
    assert os.getcwd() == "/"
