"""What a path in `files` may mean, on OpenCode's machine of either kind."""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, cast

import pytest

from opencode_mcp.exceptions import APIError, InvalidArguments, WorkflowError
from opencode_mcp.opencode.allowlist import DirectoryAllowlist
from opencode_mcp.opencode.remote_path import to_pure_path
from opencode_mcp.tasks.attachments import Folders, candidate_paths, file_parts, make_file_part_for

from .test_race_conditions import FakeOpenCode

pytestmark = pytest.mark.anyio

POSIX, WINDOWS = PurePosixPath("/srv/project"), PureWindowsPath("C:\\srv\\project")
HOMES: dict[PurePath, PurePath] = {POSIX: PurePosixPath("/home/me"), WINDOWS: PureWindowsPath("C:\\Users\\me")}


@pytest.mark.parametrize(
    ("given", "project", "meant"),
    [
        ("a.txt", POSIX, [("/srv/project/a.txt", "")]),
        ("./b/../a.txt", POSIX, [("/srv/project/a.txt", "")]),
        ("../../../a.txt", POSIX, [("/a.txt", "")]),
        ("/etc/hosts", POSIX, [("/etc/hosts", "")]),
        ("~/a.txt", POSIX, [("/home/me/a.txt", "")]),
        ("~", POSIX, [("/home/me", "")]),
        ("@a.txt", POSIX, [("/srv/project/@a.txt", ""), ("/srv/project/a.txt", "")]),
        ("a.txt:3", POSIX, [("/srv/project/a.txt:3", ""), ("/srv/project/a.txt", "?start=3&end=3")]),
        ("a.txt:3:9", POSIX, [("/srv/project/a.txt:3:9", ""), ("/srv/project/a.txt", "?start=3&end=3")]),
        ("a.txt:1-20", POSIX, [("/srv/project/a.txt:1-20", ""), ("/srv/project/a.txt", "?start=1&end=20")]),
        ("a.txt#L1-L20", POSIX, [("/srv/project/a.txt#L1-L20", ""), ("/srv/project/a.txt", "?start=1&end=20")]),
        ("file:///srv/a%20b.txt?start=1", POSIX, [("/srv/a b.txt", "?start=1")]),
        ("src\\a.txt", WINDOWS, [("C:\\srv\\project\\src\\a.txt", "")]),
        ("D:/a.txt", WINDOWS, [("D:\\a.txt", "")]),
        ("~/a.txt", WINDOWS, [("C:\\Users\\me\\a.txt", "")]),
        ("file:///D:/a.txt", WINDOWS, [("D:\\a.txt", "")]),
    ],
)
def test_a_path_is_resolved_in_every_notation(given: str, project: PurePath, meant: list[tuple[str, str]]) -> None:
    """Literally first, then with `@`, `~` or line numbers."""
    assert [(str(path), query) for path, query in candidate_paths(given, project, HOMES[project])] == meant


class FakeFolders(FakeOpenCode):
    """An OpenCode whose folders have these names, by directory and path."""

    folders: dict[tuple[str, str], list[str]]
    opened: set[str]

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        if name == "path_get":
            return {"directory": str(POSIX), "worktree": str(POSIX), "home": "/home/me"}
        if name == "file_list":
            key = (arguments["directory"], arguments["path"])
            self.opened.add(arguments["directory"])
            if key not in self.folders:
                raise APIError(name, 500, "UnknownError", "opaque")
            return [{"name": one} for one in self.folders[key]]
        return await super().call(name, **arguments)


@pytest.fixture
def fake_folders() -> Any:
    """A project on another machine, with a folder, and with a link whose target OpenCode does not list."""
    opencode = FakeFolders()
    opencode.opened = set()
    opencode.folders = {
        ("/srv/project", "."): ["README.md", "a.txt:3", "a.txt", "@scope", "Grün.txt", "link", "sub"],
        ("/srv/project", "sub"): ["b.png", "c.ts", "d.pdf"],
    }
    return cast("Any", opencode)


@pytest.mark.parametrize(
    ("given", "url", "mime"),
    [
        ("a.txt:3", "file:///srv/project/a.txt:3", "text/plain"),
        ("@scope", "file:///srv/project/%40scope", "text/plain"),
        ("@README.md:2-4", "file:///srv/project/README.md?start=2&end=4", "text/plain"),
        ("readme.md", "file:///srv/project/README.md", "text/plain"),
        ("Gru\N{COMBINING DIAERESIS}n.txt", "file:///srv/project/Gr%C3%BCn.txt", "text/plain"),
        ("sub/b.png", "file:///srv/project/sub/b.png", "image/png"),
        ("sub/c.ts", "file:///srv/project/sub/c.ts", "text/plain"),
        ("sub/d.pdf", "file:///srv/project/sub/d.pdf", "application/pdf"),
        (".", "file:///srv/project", "text/plain"),
        ("https://example.com/x/y.png?z", "https://example.com/x/y.png?z", "image/png"),
    ],
)
@pytest.mark.parametrize("directory", [None, "/srv/project"])
async def test_an_existing_file_is_attached_by_its_real_name(
    fake_folders: Any, directory: str | None, given: str, url: str, mime: str
) -> None:
    """A file with literally the given name is preferred to another reading."""
    [part] = await file_parts(fake_folders, directory, [given])
    assert (part["url"], part["mime"]) == (url, mime)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("link/b.png", "file:///srv/project/link/b.png"),
        ("link/deep/b.png", "file:///srv/project/link/deep/b.png"),
        ("/tmp/c d.txt", "file:///tmp/c%20d.txt"),
        ("@/tmp/c.txt", "file:///tmp/c.txt"),
        ("../c.txt:3", "file:///srv/c.txt?start=3&end=3"),
        ("~/c.txt", "file:///home/me/c.txt"),
    ],
)
async def test_no_outside_folder_is_loaded_to_find_a_file(fake_folders: Any, given: str, url: str) -> None:
    """OpenCode would run the plugins in it: on another machine such a path is sent unchecked."""
    [part] = await file_parts(fake_folders, None, [given])
    assert (part["url"], fake_folders.opened <= {"/srv/project"}) == (url, True)


async def test_files_outside_the_project_are_checked_locally_on_a_shared_filesystem(
    fake_folders: Any, tmp_path: Path
) -> None:
    """So a missing file is found there as well, and a link in the project is followed."""
    (tmp_path / "Notes.txt").write_text("here")
    folders = Folders(fake_folders, POSIX, shared=True)
    home = HOMES[POSIX]

    assert (await make_file_part_for(folders, f"{tmp_path}/notes.txt:3", home))["url"] == (
        f"file://{tmp_path}/Notes.txt?start=3&end=3"
    )
    with pytest.raises(WorkflowError, match=r" has no 'Nots\.txt'; nearest: Notes\.txt on"):
        await make_file_part_for(folders, f"{tmp_path}/Nots.txt", home)
    with pytest.raises(WorkflowError, match=rf"the folder {tmp_path}/nowhere does not exist on"):
        await make_file_part_for(folders, f"{tmp_path}/nowhere/x", home)
    assert fake_folders.opened == set()


@pytest.mark.parametrize("given", ["{outside}/x", "@{outside}/x", "file://{outside}/x", "{outside}/x:3", "link/x"])
@pytest.mark.parametrize("shared", [True, False])
async def test_no_file_outside_of_the_allowed_directories_is_attached(
    fake_folders: Any, tmp_path: Path, given: str, shared: bool
) -> None:
    """The error does not reveal whether the file exists; a link in the project leads outside."""
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (outside / "x").write_text("secret")
    (project / "link").symlink_to(outside)
    fake_folders.allowlist = DirectoryAllowlist.from_directories((str(project),))
    fake_folders.folders = {(str(project), "."): ["link"]}
    folders = Folders(fake_folders, PurePosixPath(project), shared)

    with pytest.raises(InvalidArguments, match=r"x(:3)?' is outside of the directories that --allow-directory allows"):
        await make_file_part_for(folders, given.format(outside=outside), HOMES[POSIX])
    assert fake_folders.opened <= {str(project)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("READNE.md", r"/srv/project has no 'READNE\.md'; nearest: README\.md on"),
        ("nowhere/x", "the folder /srv/project/nowhere does not exist on OpenCode's machine"),
        ("nowhere/at/x", "the folder /srv/project/nowhere/at does not exist on OpenCode's machine"),
        ("a.txt.:3", "/srv/project has no 'a.txt.:3'"),
    ],
)
async def test_a_missing_file_is_refused(fake_folders: Any, given: str, said: str) -> None:
    """The error names the nearest existing ones."""
    with pytest.raises(WorkflowError, match=f"so nothing was sent: {said}"):
        await file_parts(fake_folders, None, ["README.md", given])


async def test_other_errors_of_a_folder_do_not_mean_a_missing_file(fake_folders: Any) -> None:
    """OpenCode was busy: the state of the folder is unknown."""

    async def busy(kind: Any, name: str, /, **arguments: Any) -> Any:
        if name == "file_list":
            raise APIError(name, 503, "Busy", "later")
        return await FakeFolders.call_as(fake_folders, kind, name, **arguments)

    fake_folders.call_as = busy
    with pytest.raises(APIError, match="503"):
        await file_parts(fake_folders, None, ["README.md"])


def test_a_windows_path_is_known_by_its_drive() -> None:
    """On whatever machine this process runs."""
    assert (type(to_pure_path("C:\\x")), type(to_pure_path("/x"))) == (PureWindowsPath, PurePosixPath)
