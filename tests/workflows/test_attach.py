"""What a path in `files` may mean, on OpenCode's machine of either kind."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, cast

import pytest

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.workflows.attach import file_parts, pure, readings

from .test_moments import Still

pytestmark = pytest.mark.anyio

POSIX, WINDOWS = PurePosixPath("/work/project"), PureWindowsPath("C:\\work\\project")
HOMES: dict[PurePath, PurePath] = {POSIX: PurePosixPath("/home/me"), WINDOWS: PureWindowsPath("C:\\Users\\me")}


@pytest.mark.parametrize(
    ("given", "project", "meant"),
    [
        ("a.txt", POSIX, [("/work/project/a.txt", "")]),
        ("./b/../a.txt", POSIX, [("/work/project/a.txt", "")]),
        ("../../../a.txt", POSIX, [("/a.txt", "")]),
        ("/etc/hosts", POSIX, [("/etc/hosts", "")]),
        ("~/a.txt", POSIX, [("/home/me/a.txt", "")]),
        ("~", POSIX, [("/home/me", "")]),
        ("@a.txt", POSIX, [("/work/project/@a.txt", ""), ("/work/project/a.txt", "")]),
        ("a.txt:3", POSIX, [("/work/project/a.txt:3", ""), ("/work/project/a.txt", "?start=3&end=3")]),
        ("a.txt:3:9", POSIX, [("/work/project/a.txt:3:9", ""), ("/work/project/a.txt", "?start=3&end=3")]),
        ("a.txt:1-20", POSIX, [("/work/project/a.txt:1-20", ""), ("/work/project/a.txt", "?start=1&end=20")]),
        ("a.txt#L1-L20", POSIX, [("/work/project/a.txt#L1-L20", ""), ("/work/project/a.txt", "?start=1&end=20")]),
        ("file:///work/a%20b.txt?start=1", POSIX, [("/work/a b.txt", "?start=1")]),
        ("src\\a.txt", WINDOWS, [("C:\\work\\project\\src\\a.txt", "")]),
        ("D:/a.txt", WINDOWS, [("D:\\a.txt", "")]),
        ("~/a.txt", WINDOWS, [("C:\\Users\\me\\a.txt", "")]),
        ("file:///D:/a.txt", WINDOWS, [("D:\\a.txt", "")]),
    ],
)
def test_what_a_path_may_mean(given: str, project: PurePath, meant: list[tuple[str, str]]) -> None:
    """Literally first, then as people write it."""
    assert [(str(path), query) for path, query in readings(given, project, HOMES[project])] == meant


class Disk(Still):
    """An OpenCode whose folders have these names, by directory and path."""

    folders: dict[tuple[str, str], list[str]]

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        if name == "path_get":
            return {"directory": str(POSIX), "home": "/home/me"}
        if name == "file_list":
            key = (arguments["directory"], arguments["path"])
            if key not in self.folders:
                raise APIError(name, 500, "UnknownError", "opaque")
            return [{"name": one} for one in self.folders[key]]
        return await super().call(name, **arguments)


@pytest.fixture
def disk() -> Any:
    """Two folders of the project, one of them behind a link, and one outside of it."""
    opencode = Disk()
    opencode.folders = {
        ("/work/project", "."): ["README.md", "a.txt:3", "a.txt", "@scope", "Grün.txt"],
        ("/work/project/link", "."): ["b.png", "c.ts", "d.pdf"],
        ("/tmp", "."): ["c d.txt"],
    }
    return cast("Any", opencode)


@pytest.mark.parametrize(
    ("given", "url", "mime"),
    [
        ("a.txt:3", "file:///work/project/a.txt:3", "text/plain"),
        ("@scope", "file:///work/project/%40scope", "text/plain"),
        ("@README.md:2-4", "file:///work/project/README.md?start=2&end=4", "text/plain"),
        ("readme.md", "file:///work/project/README.md", "text/plain"),
        ("Gru\N{COMBINING DIAERESIS}n.txt", "file:///work/project/Gr%C3%BCn.txt", "text/plain"),
        ("link/b.png", "file:///work/project/link/b.png", "image/png"),
        ("link/c.ts", "file:///work/project/link/c.ts", "text/plain"),
        ("link/d.pdf", "file:///work/project/link/d.pdf", "application/pdf"),
        ("/tmp/c d.txt", "file:///tmp/c%20d.txt", "text/plain"),
        (".", "file:///work/project", "text/plain"),
        ("https://example.com/x/y.png?z", "https://example.com/x/y.png?z", "image/png"),
    ],
)
@pytest.mark.parametrize("directory", [None, "/work/project"])
async def test_a_file_that_is_there_is_attached_by_its_real_name(
    disk: Any, directory: str | None, given: str, url: str, mime: str
) -> None:
    """A file that has literally the given name goes before one that it may mean."""
    [part] = await file_parts(disk, directory, [given])
    assert (part["url"], part["mime"]) == (url, mime)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("READNE.md", r"there is no 'READNE\.md' in /work/project; nearest: README\.md on"),
        ("/nowhere/x", "there is no folder /nowhere on OpenCode's machine"),
        ("a.txt.:3", "there is no 'a.txt.:3' in /work/project"),
    ],
)
async def test_a_file_that_is_not_there_is_refused(disk: Any, given: str, said: str) -> None:
    """In words that name the nearest real ones."""
    with pytest.raises(WorkflowError, match=f"so nothing was sent: {said}"):
        await file_parts(disk, None, ["README.md", given])


async def test_an_error_that_does_not_say_that_a_folder_is_missing_is_none_of_a_missing_file(disk: Any) -> None:
    """OpenCode was busy: nothing is known."""

    async def busy(kind: Any, name: str, /, **arguments: Any) -> Any:
        if name == "file_list":
            raise APIError(name, 503, "Busy", "later")
        return await Disk.call_as(disk, kind, name, **arguments)

    disk.call_as = busy
    with pytest.raises(APIError, match="503"):
        await file_parts(disk, None, ["README.md"])


def test_a_windows_path_is_known_by_its_drive() -> None:
    """Whatever machine the bridge runs on."""
    assert (type(pure("C:\\x")), type(pure("/x"))) == (PureWindowsPath, PurePosixPath)
