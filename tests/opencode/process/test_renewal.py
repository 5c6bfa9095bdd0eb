"""`opencode-mcp update`: the managed copy is renewed, and nothing else is touched."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from opencode_mcp.cli.commands.update import describe, find_other
from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode.process import renewal
from opencode_mcp.opencode.process.install import Program, managed_program
from opencode_mcp.opencode.process.renewal import Renewal, renew_managed_copy
from opencode_mcp.settings import Settings
from tests.cli.command_process import run_command

from .test_install import VERSION_SCRIPT, InstallContext, make_install_context, packages_in, truncated, write_program

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("environ")]


@pytest.fixture
def context(tmp_path: Path, environ: Mapping[str, str]) -> InstallContext:
    """No copy yet; npm has one that says the right version."""
    return make_install_context(tmp_path, environ)


async def renew(context: InstallContext) -> Renewal:
    """Renew the copy."""
    return await renew_managed_copy(context.cache, context.environ, context.report, [packages_in(context.npm)])


def write_former_copy(context: InstallContext, version: str) -> Path:
    """Write the copy of a former release, whose program runs until it is killed; return the program."""
    program = Path(managed_program(context.cache / f"opencode-{version}").command[0])
    return write_program(program, f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")


async def test_a_copy_is_installed_kept_and_repaired(context: InstallContext) -> None:
    assert (await renew(context)).action == "installed"
    assert (await renew(context)).action == "kept"
    truncated(context)
    repaired = await renew(context)
    assert (repaired.action, repaired.version, repaired.folder) == ("repaired", SNAPSHOT_VERSION, context.folder)
    assert context.npm_calls() == 2


async def test_copies_of_other_versions_are_removed_unless_one_runs(context: InstallContext) -> None:
    """Nothing else in the cache is touched, and no folder is half removed."""
    unused, used = write_former_copy(context, "1.18.1"), write_former_copy(context, "1.18.2")
    for name in ("opencode-notes", "documents"):
        (context.cache / name).mkdir()
    process = await anyio.open_process([str(used)])
    try:
        done = await renew(context)
    finally:
        process.kill()
        await process.wait()
    assert (done.removed, done.in_use) == (("1.18.1",), ("1.18.2",))
    assert (unused.exists(), used.exists()) == (False, True)
    assert {path.name for path in context.cache.glob("*/")} >= {"opencode-notes", "documents", context.folder.name}
    assert context.unfinished_folders() == []
    assert (await renew(context)).removed == ("1.18.2",)


async def test_nothing_is_removed_where_it_is_not_known_what_runs(
    context: InstallContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = write_former_copy(context, "1.18.1")
    monkeypatch.setenv("PATH", "/nonexistent")  # there is no `ps`
    assert renewal.list_commands() is None
    assert (await renew(context)).in_use == ("1.18.1",)
    assert former.exists()


async def test_a_failed_installation_removes_nothing(context: InstallContext) -> None:
    former = write_former_copy(context, "1.18.1")
    (context.npm / "fails").touch()
    with pytest.raises(ServerStartError, match="could not be installed"):
        await renew(context)
    assert former.exists()


async def test_the_program_of_the_user_is_named_and_not_touched(context: InstallContext, tmp_path: Path) -> None:
    """It comes before the copy, which is renewed all the same."""
    own = write_program(tmp_path / "bin" / "opencode", VERSION_SCRIPT.format(version="1.18.40"))
    before = (own.read_bytes(), own.stat().st_ctime_ns)
    context.environ["PATH"] = os.pathsep.join([str(own.parent), context.environ["PATH"]])
    settings = Settings.load({}, {**context.environ, "OPENCODE_MCP_COMMAND": "", "XDG_CACHE_HOME": str(tmp_path / "c")})
    used_instead = await find_other(settings)
    assert used_instead == f"{own} (1.18.40)"
    lines = list(describe(await renew(context), used_instead))
    assert lines == [
        f"OpenCode {SNAPSHOT_VERSION} is installed: {context.folder}",
        f"Not touched: {own} (1.18.40), which comes before the copy",
    ]
    assert (own.read_bytes(), own.stat().st_ctime_ns) == before
    assert await find_other(Settings(url="http://me:word@host.test")) == "http://host.test"


async def test_the_command_says_what_it_has_done(environ: Mapping[str, str], program: Program, tmp_path: Path) -> None:
    """Exit code 1 where the copy cannot be installed."""
    cache = tmp_path / "opencode-mcp"
    own = {**environ, "XDG_CACHE_HOME": str(tmp_path), "OPENCODE_MCP_COMMAND": ""}
    failed = await run_command({**own, "PATH": "/nonexistent"}, "update")
    assert failed.returncode == 1
    assert "npm was not found" in failed.stderr

    (cache / f"opencode-{SNAPSHOT_VERSION}").symlink_to(copy_folder(program))
    done = await run_command(own, "update", "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert (data["action"], data["version"], data["removed"]) == ("kept", SNAPSHOT_VERSION, [])


def copy_folder(program: Program) -> Path:
    """Return the folder of the copy that has a program."""
    return next(folder for folder in Path(program.command[0]).parents if folder.name == f"opencode-{SNAPSHOT_VERSION}")
