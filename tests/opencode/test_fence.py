"""What lies outside of the allowed directories is recognized, however it is written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp.exceptions import InvalidArguments
from opencode_mcp.opencode.fence import Fence
from tests.conftest import make_project


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed directory, beside others."""
    for name in ("root", "rooted", "other"):
        (tmp_path / name).mkdir()
    return tmp_path / "root"


@pytest.fixture
def fence(root: Path) -> Fence:
    """The fence around it."""
    return Fence.around((str(root),))


def test_without_a_fence_all_is_allowed() -> None:
    """Nothing is looked at."""
    Fence().check("any", {"directory": "/nowhere", "workspace": "wrk_1"})

    assert Fence().allows("relative")


def test_inside(fence: Fence, root: Path) -> None:
    """The directory itself, and what is or could be below it."""
    assert all(map(fence.allows, (str(root), f"{root}/", f"{root}/not/there", f"{root}/a/../b", f"{root}/..name")))


def test_outside(fence: Fence, root: Path) -> None:
    """Neighbours, parents, ways up, relative paths, and links that lead out."""
    (root / "link").symlink_to(root.parent / "other")
    outside = (f"{root}ed", str(root.parent), "/", f"{root}/../other", f"{root}/link/x", "root", "", f"{root}/a/../..")

    assert not any(map(fence.allows, outside))


def test_a_root_that_is_a_link(tmp_path: Path, root: Path) -> None:
    """It stands for what it leads to."""
    (tmp_path / "link").symlink_to(root)
    fence = Fence.around((str(tmp_path / "link"),))

    assert fence.allows(str(root / "x"))
    assert fence.allows(str(tmp_path / "link" / "x"))


def test_worktrees(fence: Fence, root: Path, tmp_path: Path, environ: Mapping[str, str]) -> None:
    """A worktree elsewhere belongs to its repository; a `.git` that only says so does not."""
    project, elsewhere, forged = make_project(root / "project", environ), tmp_path / "elsewhere", tmp_path / "other"
    subprocess.run(["git", "worktree", "add", "-q", str(elsewhere)], cwd=project, env=dict(environ), check=True)
    (elsewhere / "sub").mkdir()
    (forged / ".git").write_text((elsewhere / ".git").read_text())

    assert fence.allows(str(elsewhere / "sub"))
    assert not fence.allows(str(forged))
    assert not Fence.around((str(tmp_path / "rooted"),)).allows(str(elsewhere))


@pytest.mark.parametrize(
    "arguments",
    [
        {"directory": "OUT"},
        {"location": {"directory": "OUT"}},
        {"body": {"directory": "OUT"}},
        {"destination": {"directory": "OUT"}},
        {"cwd": "OUT"},
        {"parts": [{"type": "text", "text": "x"}, {"type": "file", "url": "file://OUT/secret%2Etxt"}]},
        {"parts": [{"type": "file", "url": "FILE://localhostOUT/x"}]},
        {"parts": [{"type": "file", "url": "file://hostOUT/x"}]},
        {"workspace": "wrk_1"},
        {"location": {"workspace": "wrk_1"}},
    ],
)
def test_arguments(fence: Fence, root: Path, arguments: dict[str, Any]) -> None:
    """A place outside is refused wherever it stands, and so is one that cannot be known; inside it is not."""

    def there(value: Any, place: Path) -> Any:
        if isinstance(value, dict):
            return {key: there(inner, place) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return [there(inner, place) for inner in value]  # pyright: ignore[reportUnknownVariableType]
        return value.replace("OUT", str(place)) if isinstance(value, str) else value

    with pytest.raises(InvalidArguments, match="--allow-directory"):
        fence.check("operation", there(arguments, root.parent / "other"))
    if not any(word in str(arguments) for word in ("workspace", "//host")):
        fence.check("operation", there(arguments, root))


def test_two_roots(tmp_path: Path, root: Path) -> None:
    """Each counts."""
    fence = Fence.around((str(root), str(tmp_path / "other")))

    assert fence.allows(str(tmp_path / "other"))
    assert not fence.allows(str(tmp_path / "rooted"))
    assert os.path.realpath(root) in fence.outside()
