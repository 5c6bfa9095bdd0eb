"""A task's changes are applied only to an allowed project, whatever its session's metadata says."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.opencode.allowlist import DirectoryAllowlist
from opencode_mcp.tasks.metadata import TaskMetadata
from opencode_mcp.tasks.worktree.git import Git
from opencode_mcp.tasks.worktree.local import read_local_changes

pytestmark = pytest.mark.anyio


async def test_a_project_outside_is_not_touched(catalog: Catalog, tmp_path: Path) -> None:
    """Local git would work there: the call is refused before git runs."""
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    allowlist = DirectoryAllowlist.from_directories((str(tmp_path / "root"),))
    server = AttachedServer(Endpoint(httpx2.URL("http://opencode.test:4096"), "somebody", "secret"))
    opencode = OpenCodeClient(server, catalog, str(tmp_path / "root"), allowlist)
    task = TaskMetadata(worktree_of=str(tmp_path / "outside"), base="HEAD")

    with pytest.raises(WorkflowError, match="outside of the directories that --allow-directory allows"):
        async with read_local_changes(opencode, task, Git.for_directory(str(tmp_path / "root"), {})):
            pass
