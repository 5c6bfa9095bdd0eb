"""What lies outside of the allowed directories is recognized, however it is written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode.allowlist import DirectoryAllowlist
from opencode_mcp.opencode.location_arguments import leads_up, location_arguments, mentioned_paths
from tests.conftest import make_project


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed directory, beside others."""
    for name in ("root", "rooted", "other"):
        (tmp_path / name).mkdir()
    return tmp_path / "root"


@pytest.fixture
def allowlist(root: Path) -> DirectoryAllowlist:
    """The allowlist with that directory."""
    return DirectoryAllowlist.from_directories((str(root),))


def place_in_argument(value: Any, argument_path: Path) -> Any:
    """Return arguments with the path of a place for OUT, and its name for NAME."""
    if isinstance(value, dict):
        return {key: place_in_argument(inner, argument_path) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [place_in_argument(inner, argument_path) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return (
        value.replace("OUT", str(argument_path)).replace("NAME", argument_path.name)
        if isinstance(value, str)
        else value
    )


def test_every_path_is_allowed_without_roots(catalog: Catalog) -> None:
    """Nothing is looked at."""
    DirectoryAllowlist().check_arguments(catalog["path_get"], {"directory": "/nowhere", "workspace": "wrk_1"})
    DirectoryAllowlist().check_scope(catalog["project_list"])

    assert DirectoryAllowlist().allows("relative")


def test_paths_inside_are_allowed(allowlist: DirectoryAllowlist, root: Path) -> None:
    """The directory itself, and what is or could be below it."""
    assert all(
        map(
            allowlist.allows,
            (
                str(root),
                f"{root}/",
                f"{root}/not/there",
                f"{root}/a/../b",
                f"{root}/..name",
                f"{root}/100%",
                f"{root}/a%41",
            ),
        )
    )


def test_paths_outside_are_refused(allowlist: DirectoryAllowlist, root: Path) -> None:
    """Neighbours, parents, ways up, relative paths, other cases, and links that lead out."""
    (root / "link").symlink_to(root.parent / "other")
    outside = (f"{root}ed", str(root.parent), "/", f"{root}/../other", f"{root}/link/x", "root", "", f"{root}/a/../..")
    outside += (f"{root}/a%2F..%2F..%2Fother", f"{root}/a%252f%2e%252e/%2e./../other", f"{root}/%2e%2e")
    outside += (str(root).upper(), f" {root}", f"file://{root}", "~")

    assert not any(map(allowlist.allows, outside))


def test_a_root_may_be_a_symlink(tmp_path: Path, root: Path) -> None:
    """It stands for what it leads to."""
    (tmp_path / "link").symlink_to(root)
    allowlist = DirectoryAllowlist.from_directories((str(tmp_path / "link"),))

    assert allowlist.allows(str(root / "x"))
    assert allowlist.allows(str(tmp_path / "link" / "x"))


def test_worktrees_of_a_root_are_allowed(
    allowlist: DirectoryAllowlist, root: Path, tmp_path: Path, environ: Mapping[str, str]
) -> None:
    """A worktree elsewhere belongs to its repository; a `.git` that only says so does not."""
    project, elsewhere, forged = make_project(root / "project", environ), tmp_path / "elsewhere", tmp_path / "other"
    subprocess.run(["git", "worktree", "add", "-q", str(elsewhere)], cwd=project, env=dict(environ), check=True)
    (elsewhere / "sub").mkdir()
    (forged / ".git").write_text((elsewhere / ".git").read_text())

    assert allowlist.allows(str(elsewhere / "sub"))
    assert not allowlist.allows(str(forged))
    assert not DirectoryAllowlist.from_directories((str(tmp_path / "rooted"),)).allows(str(elsewhere))


FILE = {"type": "file", "mime": "text/plain"}


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("path_get", {"directory": "OUT"}),
        ("v2_location_get", {"location": {"directory": "OUT"}}),
        ("worktree_remove", {"body": {"directory": "OUT"}}),
        ("experimental_control_plane_move_session", {"sessionID": "ses_1", "destination": {"directory": "OUT"}}),
        ("pty_create", {"cwd": "OUT"}),
        ("mcp_add", {"name": "x", "config": {"type": "local", "command": ["x"], "cwd": "OUT"}}),
        ("v2_project_copy_create", {"projectID": "p", "strategy": "git_worktree", "directory": "OUT"}),
        ("session_prompt", {"sessionID": "ses_1", "parts": [{**FILE, "url": "file://OUT/secret%2Etxt"}]}),
        ("session_prompt", {"sessionID": "ses_1", "parts": [{**FILE, "url": "FILE://localhostOUT/x"}]}),
        ("session_command", {"command": "c", "sessionID": "ses_1", "arguments": "", "parts": [{"url": "file://OUT"}]}),
        ("part_update", {"body": {**FILE, "url": "file://OUT/x"}}),
        ("v2_session_prompt", {"sessionID": "ses_1", "prompt": {"text": "x", "files": [{"uri": "file://OUT/x"}]}}),
        ("session_create", {"metadata": {"opencode_mcp": {"worktree_of": "OUT"}}}),
        ("file_read", {"path": "OUT/x"}),
        ("v2_fs_list", {"path": "OUT"}),
        ("config_update", {"body": {"mcp": {"x": {"type": "local", "command": ["x"], "cwd": "OUT"}}}}),
        ("config_update", {"body": {"instructions": ["OUT/x.md"]}}),
        ("config_update", {"body": {"plugin": [["file://OUT/x.js", {"x": 1}]]}}),
        ("config_update", {"body": {"plugin": ["OUT/x.js"]}}),
        ("config_update", {"body": {"skills": {"paths": ["OUT"]}}}),
        ("config_update", {"body": {"references": {"x": {"path": "OUT"}}}}),
    ],
)
def test_arguments_outside_are_refused(
    allowlist: DirectoryAllowlist, catalog: Catalog, root: Path, operation: str, arguments: dict[str, Any]
) -> None:
    """A place outside is refused wherever it stands; inside it is not."""
    with pytest.raises(InvalidArguments, match="--allow-directory"):
        allowlist.check_arguments(catalog[operation], place_in_argument(arguments, root.parent / "other"))
    allowlist.check_arguments(catalog[operation], place_in_argument(arguments, root))


@pytest.mark.parametrize(
    "url",
    [
        "\tfile://OUT/x",
        " file://OUT/x",
        "\x01file://OUT/x",
        "\x00file://OUT/x",
        "file://OUT/x\n",
        "fi\tle://OUT/x",
        "fil\ne://OUT/x",
        "file:OUT/x",
        "FILE:OUT/x",
        "file:\\\\OUT\\x",
        "file:////OUT/x",
        "file:///\\..OUT/x",
        "file://%6cocalhostOUT/x",
        "file://hostOUT/x",
        "file://127.0.0.1OUT/x",
        "file://OUT/../root/%2e%2e/other/x",
        "file://OUT/.%2e\\other/x",
        "file://OUT/..%2fother/x",
        "file://OUT/..%5Cother/x",
        "OUT/x",
        "../NAME/x",
        "",
    ],
)
def test_a_url_that_may_be_read_in_another_way_is_refused(
    allowlist: DirectoryAllowlist, catalog: Catalog, root: Path, url: str
) -> None:
    """OpenCode reads a URL as browsers do, which take many texts for a file: URL."""
    arguments = {"sessionID": "ses_1", "parts": [{**FILE, "url": place_in_argument(url, root.parent / "other")}]}

    with pytest.raises(InvalidArguments, match=r"parts\.0\.url: "):
        allowlist.check_arguments(catalog["session_prompt"], arguments)


@pytest.mark.parametrize(
    "url",
    [
        "file://OUT/a%20b.txt",
        "file://OUT/a b.txt",
        "file://OUT/x?start=1&end=2",
        "file://OUT/x#part",
        "file://OUT/a/../b",
        "https://example.com/../x",
        "data:text/plain,a b",
        "mcp://server/file:///etc",
    ],
)
def test_a_plain_url_is_accepted(allowlist: DirectoryAllowlist, catalog: Catalog, root: Path, url: str) -> None:
    """Of a file inside, and of what is not a file."""
    arguments = {"sessionID": "ses_1", "parts": [{**FILE, "url": place_in_argument(url, root)}]}

    allowlist.check_arguments(catalog["session_prompt"], arguments)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("file_read", {"path": "../NAME/x"}),
        ("file_read", {"path": "a/../../NAME/x"}),
        ("file_read", {"path": "..\\NAME\\x"}),
        ("file_list", {"path": "~/x"}),
        ("file_list", {"path": ".."}),
        ("v2_project_copy_create", {"projectID": "p", "strategy": "s", "directory": "ROOT", "name": "../../NAME"}),
        ("config_update", {"body": {"instructions": ["../*.md"]}}),
        ("config_update", {"body": {"plugin": ["./../NAME/x.js"]}}),
        ("config_update", {"body": {"plugin": ["name@file:../NAME"]}}),
        ("config_update", {"body": {"plugin": ["\tfile:///x.js"]}}),
        ("config_update", {"body": {"references": {"x": {"repository": "~/x"}}}}),
    ],
)
def test_a_relative_path_that_leads_out_is_refused(
    allowlist: DirectoryAllowlist, catalog: Catalog, root: Path, operation: str, arguments: dict[str, Any]
) -> None:
    """It is relative to a directory inside, and leads out of that."""
    given = {name: str(root) if value == "ROOT" else value for name, value in arguments.items()}

    with pytest.raises(InvalidArguments, match="--allow-directory"):
        allowlist.check_arguments(catalog[operation], place_in_argument(given, root.parent / "other"))


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("file_read", {"path": "src/..name/x"}),
        ("file_read", {"path": "a/../b"}),
        ("config_update", {"body": {"plugin": ["@scope/name@1.2.3", ["name", {"path": "x"}], "./x.js"]}}),
        ("config_update", {"body": {"instructions": ["docs/*.md", "https://example.com/x.md"]}}),
        ("config_update", {"body": {"references": {"x": {"repository": "git@github.com:owner/name"}}}}),
        ("session_command", {"command": "c", "sessionID": "ses_1", "arguments": "see ../x"}),
    ],
)
def test_names_and_relative_paths_are_accepted(
    allowlist: DirectoryAllowlist, catalog: Catalog, operation: str, arguments: dict[str, Any]
) -> None:
    """Packages, repositories, web addresses, and paths that stay below."""
    allowlist.check_arguments(catalog[operation], arguments)


@pytest.mark.parametrize(
    ("operation", "arguments", "missing"),
    [
        ("session_list", {"workspace": "wrk_1"}, "directory"),
        ("v2_location_get", {"location": {"workspace": "wrk_1"}}, "directory"),
        ("v2_session_create", {"location": {"workspaceID": "wrk_1"}}, "directory"),
        ("v2_permission_saved_list", {}, "projectID"),
    ],
)
def test_a_directory_that_opencode_would_default_is_required(
    allowlist: DirectoryAllowlist, catalog: Catalog, operation: str, arguments: dict[str, Any], missing: str
) -> None:
    """Without it OpenCode takes the directory that it was started in, or all."""
    DirectoryAllowlist().check_arguments(catalog[operation], arguments)

    with pytest.raises(InvalidArguments, match=missing):
        allowlist.check_arguments(catalog[operation], arguments)


@pytest.mark.parametrize("operation", ["global_dispose", "project_list", "global_config_update", "sync_replay"])
def test_operations_on_every_directory_are_refused(
    allowlist: DirectoryAllowlist, catalog: Catalog, operation: str
) -> None:
    """There is no argument to check."""
    with pytest.raises(InvalidArguments, match="every directory"):
        allowlist.check_scope(catalog[operation])


def test_unknown_arguments_are_refused(allowlist: DirectoryAllowlist, catalog: Catalog, root: Path) -> None:
    """An operation of a newer document, and a new argument of a known one as soon as it is used."""
    with pytest.raises(InvalidArguments, match="the directories that it affects are unknown"):
        allowlist.check_arguments(replace(catalog["path_get"], scope=None), {})

    newer = replace(catalog["path_get"], controls={"folder": {"type": "string"}})
    allowlist.check_arguments(newer, {"directory": str(root)})
    with pytest.raises(InvalidArguments, match="folder"):
        allowlist.check_arguments(newer, {"folder": str(root)})


@pytest.mark.parametrize("roots", [True, False])
@pytest.mark.parametrize("arguments", [{"directory": "/a\0b"}, {"location": {"directory": "/a\0b"}}])
def test_a_nul_is_an_argument_error(catalog: Catalog, root: Path, arguments: dict[str, Any], roots: bool) -> None:
    """No path can have one, with an allowlist or without."""
    allowlist = DirectoryAllowlist.from_directories((str(root),)) if roots else DirectoryAllowlist()

    with pytest.raises(InvalidArguments, match="NUL"):
        allowlist.check_arguments(catalog["path_get"], arguments)


def test_location_arguments_are_found_at_any_depth(catalog: Catalog) -> None:
    """Each with the dotted path to it and its kind."""
    arguments = {"body": {"type": "tui.session.select", "properties": {"sessionID": "ses_1"}}, "directory": "/x"}

    found = [(place.name, place.kind, place.value) for place in location_arguments(catalog["tui_publish"], arguments)]

    assert found == [("body.properties.sessionID", "session", "ses_1"), ("directory", "directory", "/x")]


def test_mentions_are_read_as_opencode_reads_them() -> None:
    """Absolute, home, relative, hidden; an e-mail address and quoted code mention nothing."""
    text = "see @/etc/passwd, @~/x and @../y.txt. @.env @a.b, me@example.com `@quoted` @/etc/passwd"

    assert mentioned_paths(text) == ["/etc/passwd", "~/x", "../y.txt", ".env", "a.b"]


@pytest.mark.parametrize(("path", "leads"), [("..", True), ("a/../..", True), ("..a", False), ("a/..", False)])
def test_parent_paths_are_recognized(path: str, leads: bool) -> None:
    """A name that begins with two dots is not one."""
    assert leads_up(path) is leads


def test_paths_inside_any_root_are_allowed(tmp_path: Path, root: Path) -> None:
    """Each counts."""
    allowlist = DirectoryAllowlist.from_directories((str(root), str(tmp_path / "other")))

    assert allowlist.allows(str(tmp_path / "other"))
    assert not allowlist.allows(str(tmp_path / "rooted"))
    assert os.path.realpath(root) in allowlist.outside_message()
