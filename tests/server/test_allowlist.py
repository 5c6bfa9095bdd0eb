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

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.openapi import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from tests.conftest import Connect, make_project

pytestmark = pytest.mark.anyio


@pytest.fixture
def elsewhere(tmp_path: Path, environ: Mapping[str, str]) -> Path:
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


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must be refused because of the allowlist; return its words."""
    result = await client.call_tool(tool, arguments)
    words = "".join(block.text for block in result.content if isinstance(block, types.TextContent))
    assert result.is_error
    assert "--allow-directory" in words
    return words


async def allowed(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def test_the_project_is_the_default(confined: Client, project: Path) -> None:
    """Without --directory it is the first allowed one."""
    assert (await allowed(confined, "path_get"))["directory"] == str(project)


async def test_operations_elsewhere(confined: Client, elsewhere: Path, project: Path) -> None:
    """A directory outside is refused in each form that operations have for it, and through the gateway."""
    there = str(elsewhere)
    await refused(confined, "file_list", path=".", directory=there)
    await refused(confined, "v2_fs_list", location={"directory": there})
    await refused(confined, "pty_create", cwd=there)
    await refused(confined, "worktree_remove", directory=str(project), body={"directory": there})
    await refused(confined, "read_operation", operation="file_list", arguments={"path": ".", "directory": there})
    await refused(confined, "file_list", path=".", directory=f"{project}/../elsewhere")


async def test_sessions_elsewhere(unconfined: Client, confined: Client, elsewhere: Path) -> None:
    """A session that works elsewhere is out of reach, by its id too; one of the project is not."""
    foreign = (await allowed(unconfined, "session_create", directory=str(elsewhere)))["id"]
    own = (await allowed(confined, "session_create"))["id"]
    words = [{"type": "text", "text": "script:text hi"}]

    await refused(confined, "session_get", sessionID=foreign)
    await refused(confined, "session_prompt", sessionID=foreign, parts=words)
    await refused(confined, "v2_session_get", sessionID=foreign)
    await refused(confined, "report_task", session_id=foreign)
    await refused(confined, "stop_task", session_id=foreign)
    await refused(confined, "read_transcript", session_id=foreign)
    await refused(confined, "run_task", prompt="script:text hi", session_id=foreign)
    assert not (await confined.call_tool("session_prompt", {"sessionID": own, "parts": words})).is_error


async def test_an_encoded_way_up(unconfined: Client, confined: Client, elsewhere: Path, project: Path) -> None:
    """OpenCode decodes the directory of a session once more: it works where the decoded path leads."""
    there = {"directory": f"{project}/a%2F..%2F..%2F{elsewhere.name}"}
    made = (await allowed(unconfined, "v2_session_create", location=there))["data"]["id"]
    shell = {"agent": "build", "command": "pwd"}
    ran = await allowed(unconfined, "session_shell", sessionID=made, **shell)
    assert f"{elsewhere}\\n" in json.dumps(ran)

    await refused(confined, "v2_session_create", location=there)
    await refused(confined, "session_shell", sessionID=made, **shell)


async def test_tasks_elsewhere(confined: Client, elsewhere: Path) -> None:
    """A task is neither started there nor given files from there."""
    await refused(confined, "run_task", prompt="script:text hi", directory=str(elsewhere))
    await refused(confined, "run_task", prompt="script:text hi", files=[str(elsewhere / "README.md")])
    await refused(confined, "run_tasks", tasks=[{"prompt": "script:text hi", "directory": str(elsewhere)}])


async def test_a_task_in_a_worktree(confined: Client) -> None:
    """OpenCode's worktrees lie elsewhere, and belong to the project."""
    report = await allowed(confined, "run_task", prompt="script:text done", worktree=True)
    assert report["state"] == "completed"
    assert (await allowed(confined, "collect_changes", session_id=report["session_id"], discard=True))["discarded"]
    assert (await allowed(confined, "session_get", sessionID=report["session_id"]))["id"] == report["session_id"]


@dataclass(frozen=True)
class Elsewhere:
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
async def outside(unconfined: Client, elsewhere: Path) -> AsyncGenerator[Elsewhere]:
    """A project outside, as an unconfined client of the same OpenCode has set it up."""
    there = {"directory": str(elsewhere)}
    session = await allowed(unconfined, "session_create", **there)
    workspace = await allowed(
        unconfined, "experimental_workspace_create", **there, type="worktree", branch=None, extra=None
    )
    yield Elsewhere(elsewhere, session["projectID"], session["id"], workspace["id"])
    await allowed(unconfined, "experimental_workspace_remove", **there, id=workspace["id"])


async def test_ids_of_what_is_elsewhere(
    unconfined: Client, confined: Client, outside: Elsewhere, project: Path
) -> None:
    """Workspaces, projects and parents are looked up before a call, wherever their ids stand."""
    own = (await allowed(confined, "session_create"))["id"]
    here, workspace, text = str(project), outside.workspace, [{"type": "text", "text": "script:text hi"}]
    await refused(confined, "session_create", workspaceID=workspace)
    await refused(confined, "session_create", parentID=outside.session)
    await refused(confined, "v2_session_create", id=outside.session)
    await refused(confined, "v2_session_create", location={"directory": here, "workspaceID": workspace})
    await refused(confined, "experimental_workspace_remove", id=workspace)
    await refused(confined, "experimental_workspace_warp", id=workspace, sessionID=own)
    await refused(confined, "experimental_workspace_warp", id=None, sessionID=outside.session)
    await refused(confined, "path_get", workspace=workspace)
    await refused(confined, "path_get", workspace=workspace, directory=here)
    await refused(confined, "v2_location_get", location={"workspace": workspace})
    await refused(confined, "v2_location_get", location={"directory": here, "workspace": workspace})
    await refused(confined, "sync_steal", sessionID=outside.session, workspace=workspace, directory=here)
    await refused(confined, "project_update", projectID=outside.project, name="taken")
    await refused(confined, "project_directories", projectID=outside.project)
    await refused(confined, "v2_permission_saved_list", projectID=outside.project)
    await refused(confined, "v2_project_copy_refresh", projectID=outside.project)
    await refused(confined, "tui_select_session", sessionID=outside.session)
    await refused(
        confined, "tui_publish", body={"type": "tui.session.select", "properties": {"sessionID": outside.session}}
    )
    await refused(confined, "session_prompt", sessionID=outside.session, parts=text)
    projects = (await allowed(unconfined, "project_list"))["result"]
    assert "taken" not in {one.get("name") for one in projects}

    # The directory of this one is the project's, but OpenCode works in the workspace.
    moved = await allowed(unconfined, "session_create", directory=here, workspaceID=workspace)
    assert moved["directory"] == here
    await refused(confined, "session_shell", sessionID=moved["id"], agent="build", command="pwd")
    await refused(confined, "report_task", session_id=moved["id"])


async def test_ids_of_the_project(confined: Client, project: Path) -> None:
    """What belongs to the project can be named by its id."""
    workspace = await allowed(confined, "experimental_workspace_create", type="worktree", branch=None, extra=None)
    parent = await allowed(confined, "session_create", workspaceID=workspace["id"])
    child = await allowed(confined, "session_create", parentID=parent["id"])
    fresh = {"id": "ses_0123456789abAAAAAAAAAAAAAA", "location": {"directory": str(project)}}
    await allowed(confined, "v2_session_create", **fresh)

    assert (await allowed(confined, "path_get", workspace=workspace["id"], directory=str(project)))["directory"]
    assert [one["id"] for one in (await allowed(confined, "session_children", sessionID=parent["id"]))["result"]] == [
        child["id"]
    ]
    assert (await allowed(confined, "project_update", projectID=parent["projectID"], name="named"))["name"] == "named"
    assert (await allowed(confined, "project_directories", projectID=parent["projectID"]))["result"]
    await allowed(confined, "v2_permission_saved_list", projectID=parent["projectID"])
    await allowed(confined, "experimental_workspace_remove", id=workspace["id"])


async def test_lists_of_sessions_leave_out_what_is_elsewhere(
    unconfined: Client, connect: Connect, attached: Settings, project: Path, elsewhere: Path
) -> None:
    """Whatever chooses among them: the project, a path in it, or a cursor, which is JSON that names a directory."""
    inside = project / "packages"
    inside.mkdir()
    own = await allowed(unconfined, "session_create", directory=str(inside))
    above = await allowed(unconfined, "session_create", directory=str(project))
    foreign = await allowed(unconfined, "session_create", directory=str(elsewhere))
    anchor = {"id": "ses_0", "time": 9e15, "direction": "next"}
    cursors = [
        base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=")
        for one in ({"directory": str(elsewhere), "anchor": anchor}, {"anchor": anchor})
    ]

    async with connect(replace(attached, directory=None, allow_directory=(str(inside),))) as narrow:
        listed = [
            *[(await allowed(narrow, "session_list", **given)) for given in ({}, {"scope": "project"}, {"path": ""})],
            await allowed(narrow, "v2_session_list", project=own["projectID"]),
            await allowed(narrow, "v2_session_list", project=foreign["projectID"]),
            *[await allowed(narrow, "v2_session_list", cursor=cursor) for cursor in cursors],
        ]
        children = await allowed(narrow, "session_children", sessionID=own["id"])

    found = json.dumps(listed)
    assert found.count(own["id"]) >= 4
    assert above["id"] not in found
    assert foreign["id"] not in found
    assert "were omitted" in listed[1]["note"]
    assert children["result"] == []


async def test_files_elsewhere_are_not_attached(confined: Client, elsewhere: Path, project: Path) -> None:
    """By no spelling of a URL, and by no mention in the arguments of a command."""
    secret = str(elsewhere / "README.md")
    session = (await allowed(confined, "session_create"))["id"]
    text = {"type": "text", "text": "script:text hi"}
    for url in ("\tfile://", " file://", "fi\tle://", "file:", "file:///", "file://%6cocalhost"):
        part = {"type": "file", "mime": "text/plain", "url": url + secret}
        await refused(confined, "session_prompt", sessionID=session, parts=[text, part])
        await refused(confined, "session_prompt_async", sessionID=session, parts=[text, part])
        files = [{"uri": url + secret}]
        await refused(confined, "v2_session_prompt", sessionID=session, prompt={"text": "x", "files": files})
    (project / "link").symlink_to(elsewhere)
    for mention in (secret, f"../{elsewhere.name}/README.md", "link/README.md", "~/README.md"):
        words = {"command": "init", "arguments": f"script:text hi @{mention}", "agent": "build"}
        await refused(confined, "session_command", sessionID=session, **words)

    messages = await allowed(confined, "session_messages", sessionID=session)
    assert messages["result"] == []


async def test_a_command_may_mention_a_file_of_the_project(confined: Client) -> None:
    """It is attached, and mail addresses mention nothing."""
    session = (await allowed(confined, "session_create"))["id"]
    words = {"command": "init", "arguments": "script:text hi @README.md me@example.com", "agent": "build"}
    await allowed(confined, "session_command", sessionID=session, **words)

    messages = await allowed(confined, "session_messages", sessionID=session)
    assert "hello from the project" in json.dumps(messages)


async def test_what_spans_directories(confined: Client, elsewhere: Path) -> None:
    """What tells of every directory, or acts on every one, is refused."""
    for tool in (
        "global_event",
        "v2_event_subscribe",
        "experimental_session_list",
        "project_list",
        "v2_session_active",
    ):
        await refused(confined, tool)
    await refused(confined, "sync_history_list", body={})
    await refused(confined, "global_dispose")
    await refused(confined, "global_upgrade", target="1.0.0")
    await refused(confined, "global_config_update", body={"username": "x"})
    events = [{"id": "evt_1", "aggregateID": "ses_1", "seq": 0, "type": "session.deleted", "data": {"x": 1}}]
    await refused(confined, "sync_replay", body={"directory": str(elsewhere), "events": events})
    await refused(confined, "tui_control_response", body={})


async def test_a_nul_in_a_directory_is_an_argument_error(unconfined: Client, confined: Client) -> None:
    """With an allowlist and without: no path can have one."""
    for one in (unconfined, confined):
        result = await one.call_tool("file_list", {"path": ".", "directory": "/tmp/a\0b"})
        assert result.is_error
        assert "must not contain a NUL" in str(result.content)


def test_a_default_outside_is_refused(attached: Settings, catalog: Catalog, elsewhere: Path) -> None:
    """Operations that are given no directory do not slip out by the default: the server does not start."""
    with pytest.raises(SettingsError, match="--allow-directory"):
        create_server(replace(attached, allow_directory=(str(elsewhere),)), catalog)
