"""With --allow-directory nothing is done elsewhere, by whatever tool; through an MCP client, on a real OpenCode."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.conftest import Connect, make_project
from tests.facts import facts

pytestmark = pytest.mark.anyio


@pytest.fixture
def outside_project(tmp_path: Path, environ: Mapping[str, str]) -> Path:
    """A project outside of what is allowed."""
    return make_project(tmp_path / "elsewhere", environ)


@pytest.fixture
async def confined(connect: Connect, attached: Settings, project: Path) -> AsyncGenerator[Client]:
    """A client of a bridge that may work in the test's project only."""
    async with connect(replace(attached, directory=None, allow_directory=(str(project),))) as client:
        yield client


@pytest.fixture
async def unconfined(connect: Connect) -> AsyncGenerator[Client]:
    """A client of another bridge to the same OpenCode, which may work anywhere."""
    async with connect() as client:
        yield client


async def call_refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must be refused because of the allowlist; return its words."""
    result = await client.call_tool(tool, arguments)
    words = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
    assert result.is_error
    assert "--allow-directory" in words
    return words


async def call_allowed(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return facts(result)


@pytest.mark.unchanged_project
async def test_the_project_is_the_default(confined: Client, project: Path) -> None:
    """Without --directory it is the first allowed one."""
    assert (await call_allowed(confined, "path_get"))["directory"] == str(project)


async def test_operations_outside_are_refused(confined: Client, outside_project: Path, project: Path) -> None:
    """A directory outside is refused in each form that operations have for it, and through the gateway."""
    there = str(outside_project)
    await call_refused(confined, "file_list", path=".", directory=there)
    await call_refused(confined, "v2_fs_list", location={"directory": there})
    await call_refused(confined, "pty_create", cwd=there)
    await call_refused(confined, "worktree_remove", directory=str(project), body={"directory": there})
    await call_refused(confined, "read_operation", operation="file_list", arguments={"path": ".", "directory": there})
    await call_refused(confined, "file_list", path=".", directory=f"{project}/../elsewhere")


async def test_sessions_outside_are_refused(unconfined: Client, confined: Client, outside_project: Path) -> None:
    """A session that works elsewhere is out of reach, by its id too; one of the project is not."""
    foreign = (await call_allowed(unconfined, "session_create", directory=str(outside_project)))["id"]
    own = (await call_allowed(confined, "session_create"))["id"]
    words = [{"type": "text", "text": "script:text hi"}]

    await call_refused(confined, "session_get", sessionID=foreign)
    await call_refused(confined, "session_prompt", sessionID=foreign, parts=words)
    await call_refused(confined, "v2_session_get", sessionID=foreign)
    await call_refused(confined, "report_task", session_id=foreign)
    await call_refused(confined, "stop_task", session_id=foreign)
    await call_refused(confined, "read_transcript", session_id=foreign)
    await call_refused(confined, "run_task", prompt="script:text hi", session_id=foreign)
    assert not (await confined.call_tool("session_prompt", {"sessionID": own, "parts": words})).is_error


async def test_an_encoded_parent_path_is_refused(
    unconfined: Client, confined: Client, outside_project: Path, project: Path
) -> None:
    """OpenCode decodes the directory of a session once more: it works where the decoded path leads."""
    there = {"directory": f"{project}/a%2F..%2F..%2F{outside_project.name}"}
    made = (await call_allowed(unconfined, "v2_session_create", location=there))["data"]["id"]
    shell = {"agent": "build", "command": "pwd"}
    ran = await call_allowed(unconfined, "session_shell", sessionID=made, **shell)
    assert f"{outside_project}\\n" in json.dumps(ran)

    await call_refused(confined, "v2_session_create", location=there)
    await call_refused(confined, "session_shell", sessionID=made, **shell)


async def test_tasks_outside_are_refused(confined: Client, outside_project: Path) -> None:
    """A task is neither started there nor given files from there."""
    await call_refused(confined, "run_task", prompt="script:text hi", directory=str(outside_project))
    await call_refused(confined, "run_task", prompt="script:text hi", files=[str(outside_project / "README.md")])
    await call_refused(confined, "run_tasks", tasks=[{"prompt": "script:text hi", "directory": str(outside_project)}])


async def test_a_task_in_a_worktree_is_allowed(confined: Client) -> None:
    """OpenCode's worktrees lie elsewhere, and belong to the project."""
    report = await call_allowed(confined, "run_task", prompt="script:text done", worktree=True)
    assert report["state"] == "completed"
    assert (await call_allowed(confined, "collect_changes", session_id=report["session_id"], discard=True))["discarded"]
    assert (await call_allowed(confined, "session_get", sessionID=report["session_id"]))["id"] == report["session_id"]


@dataclass(frozen=True)
class OutsideResources:
    """What there is outside: a project with a session, a workspace, and a file."""

    directory: Path
    project: str
    session: str
    workspace: str

    @property
    def secret(self) -> str:
        """A file that must not be read."""
        return str(self.directory / "secret.txt")


@pytest.fixture
async def outside_resources(unconfined: Client, outside_project: Path) -> AsyncGenerator[OutsideResources]:
    """A project outside, as an unconfined client of the same OpenCode has set it up."""
    directory = {"directory": str(outside_project)}
    session = await call_allowed(unconfined, "session_create", **directory)
    workspace = await call_allowed(
        unconfined, "experimental_workspace_create", **directory, type="worktree", branch=None, extra=None
    )
    yield OutsideResources(outside_project, session["projectID"], session["id"], workspace["id"])
    await call_allowed(unconfined, "experimental_workspace_remove", **directory, id=workspace["id"])


async def test_ids_of_outside_resources_are_refused(
    unconfined: Client, confined: Client, outside_resources: OutsideResources, project: Path
) -> None:
    """Workspaces, projects and parents are looked up before a call, wherever their ids stand."""
    own = (await call_allowed(confined, "session_create"))["id"]
    here, workspace, text = str(project), outside_resources.workspace, [{"type": "text", "text": "script:text hi"}]
    await call_refused(confined, "session_create", workspaceID=workspace)
    await call_refused(confined, "session_create", parentID=outside_resources.session)
    await call_refused(confined, "v2_session_create", id=outside_resources.session)
    await call_refused(confined, "v2_session_create", location={"directory": here, "workspaceID": workspace})
    await call_refused(confined, "experimental_workspace_remove", id=workspace)
    await call_refused(confined, "experimental_workspace_warp", id=workspace, sessionID=own)
    await call_refused(confined, "experimental_workspace_warp", id=None, sessionID=outside_resources.session)
    await call_refused(confined, "path_get", workspace=workspace)
    await call_refused(confined, "path_get", workspace=workspace, directory=here)
    await call_refused(confined, "v2_location_get", location={"workspace": workspace})
    await call_refused(confined, "v2_location_get", location={"directory": here, "workspace": workspace})
    await call_refused(confined, "sync_steal", sessionID=outside_resources.session, workspace=workspace, directory=here)
    await call_refused(confined, "project_update", projectID=outside_resources.project, name="taken")
    await call_refused(confined, "project_directories", projectID=outside_resources.project)
    await call_refused(confined, "v2_permission_saved_list", projectID=outside_resources.project)
    await call_refused(confined, "v2_project_copy_refresh", projectID=outside_resources.project)
    await call_refused(confined, "tui_select_session", sessionID=outside_resources.session)
    await call_refused(
        confined,
        "tui_publish",
        body={"type": "tui.session.select", "properties": {"sessionID": outside_resources.session}},
    )
    await call_refused(confined, "session_prompt", sessionID=outside_resources.session, parts=text)
    projects = (await call_allowed(unconfined, "project_list"))["result"]
    assert "taken" not in {one.get("name") for one in projects}

    # The directory of this one is the project's, but OpenCode works in the workspace.
    moved = await call_allowed(unconfined, "session_create", directory=here, workspaceID=workspace)
    assert moved["directory"] == here
    await call_refused(confined, "session_shell", sessionID=moved["id"], agent="build", command="pwd")
    await call_refused(confined, "report_task", session_id=moved["id"])


async def test_ids_of_the_project_are_allowed(confined: Client, project: Path) -> None:
    """What belongs to the project can be named by its id."""
    workspace = await call_allowed(confined, "experimental_workspace_create", type="worktree", branch=None, extra=None)
    parent = await call_allowed(confined, "session_create", workspaceID=workspace["id"])
    child = await call_allowed(confined, "session_create", parentID=parent["id"])
    fresh = {"id": "ses_0123456789abAAAAAAAAAAAAAA", "location": {"directory": str(project)}}
    await call_allowed(confined, "v2_session_create", **fresh)

    assert (await call_allowed(confined, "path_get", workspace=workspace["id"], directory=str(project)))["directory"]
    assert [
        one["id"] for one in (await call_allowed(confined, "session_children", sessionID=parent["id"]))["result"]
    ] == [child["id"]]
    assert (await call_allowed(confined, "project_update", projectID=parent["projectID"], name="named"))[
        "name"
    ] == "named"
    assert (await call_allowed(confined, "project_directories", projectID=parent["projectID"]))["result"]
    await call_allowed(confined, "v2_permission_saved_list", projectID=parent["projectID"])
    await call_allowed(confined, "experimental_workspace_remove", id=workspace["id"])


async def test_session_lists_leave_out_sessions_outside(
    unconfined: Client, connect: Connect, attached: Settings, project: Path, outside_project: Path
) -> None:
    """Whatever chooses among them: the project, a path in it, or a cursor, which is JSON that names a directory."""
    inside = project / "packages"
    inside.mkdir()
    own = await call_allowed(unconfined, "session_create", directory=str(inside))
    above = await call_allowed(unconfined, "session_create", directory=str(project))
    foreign = await call_allowed(unconfined, "session_create", directory=str(outside_project))
    everywhere = json.dumps(await call_allowed(unconfined, "experimental_session_list"))
    assert all(created["id"] in everywhere for created in (own, above, foreign)), "it lists one directory"
    in_project = json.dumps(await call_allowed(unconfined, "v2_session_list", project=foreign["projectID"]))
    assert foreign["id"] in in_project, "it lists the default directory's sessions of another project: none"
    anchor = {"id": "ses_0", "time": 9e15, "direction": "next"}
    cursors = [
        base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=")
        for one in ({"directory": str(outside_project), "anchor": anchor}, {"anchor": anchor})
    ]

    async with connect(replace(attached, directory=None, allow_directory=(str(inside),))) as narrow:
        listed = [
            *[
                (await call_allowed(narrow, "session_list", **given))
                for given in ({}, {"scope": "project"}, {"path": ""})
            ],
            await call_allowed(narrow, "v2_session_list", project=own["projectID"]),
            await call_allowed(narrow, "v2_session_list", project=foreign["projectID"]),
            *[await call_allowed(narrow, "v2_session_list", cursor=cursor) for cursor in cursors],
        ]
        children = await call_allowed(narrow, "session_children", sessionID=own["id"])

    found = json.dumps(listed)
    assert found.count(own["id"]) >= 4
    assert above["id"] not in found
    assert foreign["id"] not in found
    assert "were omitted" in listed[1]["note"]
    assert children["result"] == []


async def test_files_outside_are_not_attached(confined: Client, outside_project: Path, project: Path) -> None:
    """By no spelling of a URL, and by no mention in the arguments of a command."""
    secret = str(outside_project / "README.md")
    session = (await call_allowed(confined, "session_create"))["id"]
    text = {"type": "text", "text": "script:text hi"}
    for url in ("\tfile://", " file://", "fi\tle://", "file:", "file:///", "file://%6cocalhost"):
        part = {"type": "file", "mime": "text/plain", "url": url + secret}
        await call_refused(confined, "session_prompt", sessionID=session, parts=[text, part])
        await call_refused(confined, "session_prompt_async", sessionID=session, parts=[text, part])
        files = [{"uri": url + secret}]
        await call_refused(confined, "v2_session_prompt", sessionID=session, prompt={"text": "x", "files": files})
    (project / "link").symlink_to(outside_project)
    for mention in (secret, f"../{outside_project.name}/README.md", "link/README.md", "~/README.md"):
        words = {"command": "init", "arguments": f"script:text hi @{mention}", "agent": "build"}
        await call_refused(confined, "session_command", sessionID=session, **words)

    messages = await call_allowed(confined, "session_messages", sessionID=session)
    assert messages["result"] == []


@pytest.mark.unchanged_project
async def test_a_command_may_mention_a_file_of_the_project(confined: Client) -> None:
    """It is attached, and mail addresses mention nothing."""
    session = (await call_allowed(confined, "session_create"))["id"]
    words = {"command": "init", "arguments": "script:text hi @README.md me@example.com", "agent": "build"}
    await call_allowed(confined, "session_command", sessionID=session, **words)

    messages = await call_allowed(confined, "session_messages", sessionID=session)
    assert "hello from the project" in json.dumps(messages)


async def test_operations_that_span_directories_are_refused(confined: Client, outside_project: Path) -> None:
    """What tells of every directory, or acts on every one, is refused."""
    for tool in (
        "global_event",
        "v2_event_subscribe",
        "experimental_session_list",
        "project_list",
        "v2_session_active",
    ):
        await call_refused(confined, tool)
    await call_refused(confined, "sync_history_list", body={})
    await call_refused(confined, "global_dispose")
    await call_refused(confined, "global_upgrade", target="1.0.0")
    await call_refused(confined, "global_config_update", body={"username": "x"})
    events = [{"id": "evt_1", "aggregateID": "ses_1", "seq": 0, "type": "session.deleted", "data": {"x": 1}}]
    await call_refused(confined, "sync_replay", body={"directory": str(outside_project), "events": events})
    await call_refused(confined, "tui_control_response", body={})


@pytest.mark.unchanged_project
async def test_a_nul_in_a_directory_is_an_argument_error(unconfined: Client, confined: Client) -> None:
    """With an allowlist and without: no path can have one."""
    for one in (unconfined, confined):
        result = await one.call_tool("file_list", {"path": ".", "directory": "/tmp/a\0b"})
        assert result.is_error
        assert "must not contain a NUL" in str(result.content)


def test_a_default_directory_outside_is_refused(attached: Settings, catalog: Catalog, outside_project: Path) -> None:
    """Operations that are given no directory do not slip out by the default: the server does not start."""
    with pytest.raises(SettingsError, match="--allow-directory"):
        create_server(replace(attached, allow_directory=(str(outside_project),)), catalog)
