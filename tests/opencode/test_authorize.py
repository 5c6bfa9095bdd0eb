"""Ids are resolved to directories before a call; what cannot be resolved is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import APIError, InvalidArguments, UnexpectedResponse, UnsupportedServer
from opencode_mcp.opencode.allowlist import DirectoryAllowlist
from opencode_mcp.opencode.authorize import IdAuthorizer, filter_sessions
from opencode_mcp.opencode.load_guard import LoadGuard, LoadPolicy
from opencode_mcp.opencode.responses import Answer

pytestmark = pytest.mark.anyio


class FakeReads:
    """Answers as OpenCode would; keeps what it was asked. A session is (directory, workspace), or None: unknown."""

    def __init__(self, root: Path, **facts: Any) -> None:
        self.root = root
        self.facts = facts
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def read(self, name: str, /, **arguments: Any) -> Any:
        """Return the value of an answer.

        Raises:
            APIError: 404, there is no such session.
            UnsupportedServer, UnexpectedResponse: an OpenCode 1.15 has no such route.
        """
        self.asked.append((name, arguments))
        if name in {"v2_session_get", "session_get"}:
            if name == "v2_session_get" and self.facts.get("old"):
                raise self.facts["old"]
            known = self.facts["sessions"].get(arguments["sessionID"])
            if known is None:
                raise APIError(name, 404, "NotFound", "no such session")
            location, project = {"directory": str(known[0]), "workspaceID": known[1]}, {"projectID": "own"}
            return location | project if name == "session_get" else {"data": {"location": location, **project}}
        if name == "experimental_workspace_list":
            return self.facts["workspaces"] if arguments["directory"] == str(self.root) else []
        if name == "path_get":
            return {"home": str(self.root.parent), "worktree": str(self.facts.get("worktree", self.root))}
        if name == "v2_session_list":
            return {"data": ["ses_1"] if arguments["directory"] in self.facts.get("used", ()) else []}
        assert name == "project_list"
        return self.facts["projects"]


async def check_call(catalog: Catalog, reads: FakeReads, operation: str, **arguments: Any) -> str:
    """Check a call; return why it is refused, or ""."""
    authorization = IdAuthorizer(DirectoryAllowlist.from_directories((str(reads.root),)), reads.read, str(reads.root))
    try:
        await authorization.check(catalog[operation], arguments)
    except InvalidArguments as error:
        return str(error)
    return ""


MISSING_DIRECTORY = APIError("v2_session_get", 500, "UnknownError", "its directory is not there")


@pytest.mark.parametrize(
    "old", [None, UnsupportedServer("no such operation"), UnexpectedResponse("a page"), MISSING_DIRECTORY]
)
async def test_a_session_s_directory_and_workspace_must_be_allowed(
    catalog: Catalog, tmp_path: Path, old: Exception | None
) -> None:
    """Wherever its id stands; the lookup does not load the directory where OpenCode has a route that does not."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    sessions: dict[str, tuple[Path | str, str | None]] = {
        "ses_in": (root, None),
        "ses_out": (outside, None),
        "ses_ws": (root, "wrk_out"),
        "ses_on": (root, "wrk"),
    }
    sessions["ses_enc"] = (f"{root}/a%2F..%2f..%2Foutside", None)
    workspaces = [{"id": "wrk_out", "directory": str(outside)}, {"id": "wrk", "directory": str(root / "w")}]
    reads = FakeReads(root, sessions=sessions, workspaces=workspaces, old=old)

    assert await check_call(catalog, reads, "session_get", sessionID="ses_in") == ""
    assert await check_call(catalog, reads, "session_get", sessionID="ses_on") == ""
    assert "sessionID: its directory" in await check_call(catalog, reads, "session_get", sessionID="ses_out")
    assert "sessionID: its directory" in await check_call(catalog, reads, "session_get", sessionID="ses_ws")
    assert "sessionID: its directory" in await check_call(catalog, reads, "session_get", sessionID="ses_enc")
    assert "parentID" in await check_call(catalog, reads, "session_create", parentID="ses_out")
    assert "id: " in await check_call(catalog, reads, "v2_session_create", id="ses_out")
    assert await check_call(catalog, reads, "v2_session_create", id="ses_new") == ""
    with pytest.raises(APIError, match="no such session"):
        await check_call(catalog, reads, "session_get", sessionID="ses_new")
    assert old or "session_get" not in {name for name, _ in reads.asked}


async def test_a_session_in_a_worktree_that_is_removed_belongs_to_its_project(catalog: Catalog, tmp_path: Path) -> None:
    """Its report can be read; what is there, or in no folder of the project's worktrees, is outside as before."""
    root, worktrees = tmp_path / "root", tmp_path / "data" / "own"
    worktrees.mkdir(parents=True)
    (worktrees / "there").mkdir()
    (worktrees / "link").symlink_to(tmp_path / "nowhere")
    sessions = {
        name: (folder, None)
        for name, folder in {
            "ses_gone": worktrees / "gone",
            "ses_there": worktrees / "there",
            "ses_link": worktrees / "link",
            "ses_other": tmp_path / "data" / "other" / "gone",
            "ses_coded": worktrees / "a%2F..%2F..%2F..",
        }.items()
    }
    for worktree, readable in ((root, {"ses_gone"}), (tmp_path / "outside", set[str]())):
        reads = FakeReads(root, sessions=sessions, projects=[{"id": "own", "worktree": str(worktree)}])
        allowed = {name for name in sessions if await check_call(catalog, reads, "session_get", sessionID=name) == ""}
        assert allowed == readable


async def test_a_workspace_must_be_one_of_an_allowed_directory(catalog: Catalog, tmp_path: Path) -> None:
    """One that is unknown, or on another machine, is not known to be inside."""
    root = tmp_path / "root"
    reads = FakeReads(
        root, workspaces=[{"id": "wrk_1", "directory": str(root / "w")}, {"id": "wrk_far", "directory": None}]
    )

    assert await check_call(catalog, reads, "experimental_workspace_remove", id="wrk_1") == ""
    assert "any other" in await check_call(catalog, reads, "experimental_workspace_remove", id="wrk_2")
    assert "its directory" in await check_call(catalog, reads, "session_create", workspaceID="wrk_far")
    assert await check_call(catalog, reads, "experimental_workspace_create", id="wrk_2", type="worktree") == ""


async def test_every_directory_of_a_project_must_be_allowed(catalog: Catalog, tmp_path: Path) -> None:
    """Clones share the id of a project; what is there no more does not count."""
    root, clone = tmp_path / "root", tmp_path / "clone"
    root.mkdir()
    clone.mkdir()
    gone = str(tmp_path / "gone")
    reads = FakeReads(
        root,
        projects=[
            {"id": "own", "worktree": str(root), "sandboxes": [gone]},
            {"id": "shared", "worktree": str(root), "sandboxes": [str(clone)]},
            {"id": "global", "worktree": "/", "sandboxes": []},
        ],
    )

    assert await check_call(catalog, reads, "project_update", projectID="own") == ""
    assert str(clone) in await check_call(catalog, reads, "project_update", projectID="shared")
    assert "'/'" in await check_call(catalog, reads, "project_update", projectID="global")
    assert "no project with this id" in await check_call(catalog, reads, "project_update", projectID="unknown")


async def test_mentions_are_relative_to_the_worktree(catalog: Catalog, tmp_path: Path) -> None:
    """Which is above the directory of a session in a part of a repository, and / outside of any."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    command = {"sessionID": "ses_1", "command": "c"}
    for worktree, mention, allowed in (
        (root, "@src/x.py", True),
        (root, "@link/x.py", False),
        (root, "@~/root/x", True),
        (root, "@~/x", False),
        (tmp_path, "@x.py", False),
        (tmp_path, "@root/x.py", True),
        (Path("/"), "@etc/passwd", False),
        (Path("/"), "me@example.com", True),
    ):
        reads = FakeReads(root, sessions={"ses_1": (root, None)}, worktree=worktree)
        refused = await check_call(catalog, reads, "session_command", **command, arguments=mention)
        assert (refused == "") is allowed, (worktree, mention, refused)


async def test_a_list_that_is_not_one_of_sessions_is_an_error(catalog: Catalog, tmp_path: Path) -> None:
    """Nothing unknown is let through."""
    allowlist = DirectoryAllowlist.from_directories((str(tmp_path),))
    for operation, value in (
        ("session_list", [{"id": "ses_1"}]),
        ("session_list", None),
        ("v2_session_list", {"x": 1}),
    ):
        with pytest.raises(UnexpectedResponse, match="not a list of sessions"):
            filter_sessions(allowlist, catalog[operation], Answer(value))
    inside = Answer([{"directory": str(tmp_path)}])
    assert filter_sessions(allowlist, catalog["session_list"], inside) is inside


@pytest.mark.parametrize(
    ("openers", "known", "unknown"),
    [
        ("all", {"default", "below", "project", "used", "other"}, set[str]()),
        ("writes", {"default", "below", "project", "used"}, {"other"}),
        ("none", {"default", "below", "project", "used"}, {"other"}),
        ("none strictly", {"default", "used"}, {"below", "project", "other"}),
    ],
)
async def test_the_load_policy_decides_what_a_read_may_load(
    catalog: Catalog, tmp_path: Path, openers: LoadPolicy, known: set[str], unknown: set[str]
) -> None:
    """By who may open directories: what is configured, what OpenCode remembers, or anything."""
    named = {name: str(tmp_path / name) for name in ("default", "project", "used", "other")}
    named["below"] = str(tmp_path / "default" / "below")
    projects = [{"id": "p", "worktree": named["project"]}, {"id": "global", "worktree": "/"}]
    opening = LoadGuard(
        openers, DirectoryAllowlist(), FakeReads(tmp_path, projects=projects, used=[named["used"]]).read
    )

    for name in known:
        await opening.check(catalog["path_get"], {"directory": named[name]}, named["default"])
    for name in unknown:
        with pytest.raises(InvalidArguments, match="has not loaded"):
            await opening.check(catalog["path_get"], {"directory": named[name]}, named["default"])


async def test_a_directory_that_a_write_loaded_is_known(catalog: Catalog, tmp_path: Path) -> None:
    """Without a repository and without a session, OpenCode itself does not remember it."""
    opening = LoadGuard("writes", DirectoryAllowlist(), FakeReads(tmp_path, projects=[]).read)
    where = {"directory": str(tmp_path)}

    await opening.check(catalog["pty_create"], where, None)
    with pytest.raises(InvalidArguments, match="session_create"):
        await opening.check(catalog["pty_list"], where, None)
    opening.record_loaded(catalog["pty_list"], where)
    opening.record_loaded(catalog["pty_create"], {"cwd": str(tmp_path)})
    with pytest.raises(InvalidArguments, match="session_create"):
        await opening.check(catalog["pty_list"], where, None)
    opening.record_loaded(catalog["pty_create"], where)
    await opening.check(catalog["pty_list"], where, None)


class FakeReads2:
    """Answers as OpenCode 2 would, with the sessions and projects that it is given."""

    def __init__(self, sessions: Mapping[str, Path], projects: Mapping[str, Path], used: Path) -> None:
        self.sessions, self.projects, self.used = sessions, projects, used

    async def read(self, name: str, /, **arguments: Any) -> Any:
        """Return the value of an answer.

        Raises:
            APIError: 404, there is no such session.
        """
        match name:
            case "session_get":
                if arguments["sessionID"] not in self.sessions:
                    raise APIError(name, 404, "SessionNotFoundError", "no such session")
                directory = str(self.sessions[arguments["sessionID"]])
                return {"data": {"id": arguments["sessionID"], "projectID": "p", "location": {"directory": directory}}}
            case "project_list":
                return [{"id": key, "canonical": str(path), "sandboxes": []} for key, path in self.projects.items()]
            case "location_get":
                directory = arguments["location"]["directory"]
                return {"directory": directory, "project": {"id": "p", "directory": directory, "canonical": directory}}
            case _:
                assert name == "session_list"
                return {"data": [{"id": "ses_1"}] if arguments["directory"] == str(self.used) else []}


async def test_ids_of_opencode_2_must_be_of_allowed_directories(tmp_path: Path) -> None:
    """A session's, a project's, and the files that the text of a command mentions; a new session's id may be new."""
    catalog = Catalog.from_snapshot(2)
    root, outside = tmp_path / "root", tmp_path / "outside"
    reads = FakeReads2({"ses_in": root, "ses_out": outside}, {"in": root, "out": outside}, root)
    authorization = IdAuthorizer(DirectoryAllowlist.from_directories((str(root),)), reads.read, str(root))
    command = {"name": "review", "text": "x"}
    form = {"sessionID": "global", "formID": "frm_1"}
    inside: list[tuple[str, dict[str, Any]]] = [
        ("session_get", {"sessionID": "ses_in"}),
        ("session_create", {"id": "ses_new"}),
        ("session_form_reply", {**form, "directory": str(root), "answer": {}}),  # of no session, in this directory
        ("worktree_list", {"projectID": "in"}),
        ("session_command", {**command, "sessionID": "ses_in", "text": "look at @src/a.py"}),
    ]
    refused: list[tuple[str, dict[str, Any]]] = [
        ("session_prompt", {"sessionID": "ses_out", "text": "x"}),
        ("session_create", {"parentID": "ses_out"}),
        ("session_fork", {"sessionID": "ses_out"}),
        ("worktree_remove", {"projectID": "out", "directory": str(root), "force": True}),
        ("worktree_list", {"projectID": "unknown"}),
        ("session_command", {**command, "sessionID": "ses_in", "text": "look at @../outside/a.py"}),
        ("session_command", {**command, "sessionID": "ses_in", "text": "look at @~/a.py"}),
    ]

    for name, arguments in inside:
        await authorization.check(catalog[name], arguments)
    for name, arguments in refused:
        with pytest.raises(InvalidArguments, match="--allow-directory allows"):
            await authorization.check(catalog[name], arguments)
    for name, arguments in {"session_get": {"sessionID": "ses_new"}, "session_form_get": form}.items():
        with pytest.raises(APIError, match="no such session"):
            await authorization.check(catalog[name], arguments)


async def test_a_list_of_sessions_of_opencode_2_is_filtered(tmp_path: Path) -> None:
    """It is an object with the list in `data`."""
    allowlist = DirectoryAllowlist.from_directories((str(tmp_path),))
    sessions = [
        {"id": "ses_1", "location": {"directory": str(tmp_path)}},
        {"id": "ses_2", "location": {"directory": "/"}},
    ]
    answer = filter_sessions(
        allowlist, Catalog.from_snapshot(2)["session_list"], Answer({"data": sessions, "cursor": {"next": "n"}})
    )

    assert answer.value == {"data": sessions[:1], "cursor": {"next": "n"}}
    assert answer.fields["note"] == "1 sessions were omitted: outside of --allow-directory."


async def test_a_read_of_opencode_2_loads_only_known_directories(tmp_path: Path) -> None:
    """Those of projects and with sessions; a list of sessions loads nothing."""
    catalog = Catalog.from_snapshot(2)
    project, used, other = (tmp_path / name for name in ("project", "used", "other"))
    reads = FakeReads2({}, {"p": project}, used)
    guard = LoadGuard("writes", DirectoryAllowlist(), reads.read)

    for directory in (project, used):
        await guard.check(catalog["agent_list"], {"location": {"directory": str(directory)}}, str(tmp_path / "default"))
    await guard.check(catalog["session_list"], {"directory": str(other)}, None)
    with pytest.raises(InvalidArguments, match="has not loaded"):
        await guard.check(catalog["agent_list"], {"location": {"directory": str(other)}}, None)
