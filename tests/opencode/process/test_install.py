"""The managed copy of OpenCode: verified, repaired, the user's alone; and programs that are no OpenCode 1.x."""

from __future__ import annotations

import io
import os
import signal
import stat
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode.process import install
from opencode_mcp.opencode.process.cache import UNFINISHED_PREFIX, hold_lock
from opencode_mcp.opencode.process.download import Package, compute_integrity, load_lockfile, required_packages
from opencode_mcp.opencode.process.executable import read_version, which
from opencode_mcp.opencode.process.install import Program, ensure_managed_copy, find_program, managed_program
from tests.bridge import find_processes
from tests.eventually import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("environ")]

NPM = """#!{python}
import os, pathlib, shutil, sys, time
words = sys.argv[1:]
assert words[0] == "pack" and "--ignore-scripts" in words, words
store = pathlib.Path(words[words.index("--cache") + 1])
archives = pathlib.Path(words[words.index("--pack-destination") + 1])
store.mkdir()
(store / "part").write_bytes(b"0" * 3_000_000)
folder = pathlib.Path(os.environ["FAKE_NPM"])
with open(folder / "calls", "a") as calls:
    calls.write(" ".join(words[-3:]) + "\\n")
while (folder / "hangs").exists():
    time.sleep(0.02)
if (folder / "fails").exists():
    sys.exit("npm error 404 there is no such package")
for archive in folder.glob("*.tgz"):
    shutil.copy(archive, archives)
"""
VERSION_SCRIPT = "#!/bin/sh\necho {version}\n"
INSTALL_PROGRAM = """
import anyio, os, sys
from pathlib import Path
from opencode_mcp.opencode.process.install import ensure_managed_copy
from tests.opencode.process.test_install import packages_in
async def report(message): print(message, flush=True)
anyio.run(ensure_managed_copy, Path(sys.argv[1]), os.environ, report, [packages_in(Path(os.environ["FAKE_NPM"]))])
"""


@dataclass
class InstallContext:
    """A cache, an npm that copies archives, and what was reported."""

    cache: Path
    npm: Path
    environ: dict[str, str]
    reported: list[str] = field(default_factory=list[str])

    async def report(self, message: str) -> None:
        self.reported.append(message)

    async def ensure_copy(self) -> Program:
        """Return the managed copy."""
        return await ensure_managed_copy(self.cache, self.environ, self.report, [packages_in(self.npm)])

    @property
    def folder(self) -> Path:
        return self.cache / f"opencode-{SNAPSHOT_VERSION}"

    @property
    def program(self) -> Path:
        return Path(managed_program(self.folder).command[0])

    def npm_calls(self) -> int:
        """How often npm was called."""
        return len((self.npm / "calls").read_text().splitlines()) if (self.npm / "calls").exists() else 0

    def unfinished_folders(self) -> list[str]:
        """The folders of unfinished copies."""
        return [path.name for path in self.cache.glob(f"{UNFINISHED_PREFIX}*")]


def write_archive(folder: Path, package: str, files: Mapping[str, str]) -> None:
    """Write an archive as npm has it."""
    name = package.removeprefix("@").replace("/", "-")
    with tarfile.open(folder / f"{name}-1.0.0.tgz", "w:gz") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size, entry.mode = len(text.encode()), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))


def packages_in(folder: Path) -> list[Package]:
    """The lock of the archives that were written first."""
    names = ("opencode-this-machine", "opencode-ai", "@vscode/ripgrep-this")
    files = [folder / f"{name.removeprefix('@').replace('/', '-')}-1.0.0.tgz" for name in names]
    locked_as = [(folder / f"{file.name}.integrity").read_text() for file in files]
    return [Package(name, "1.0.0", text, 1_000_000) for name, text in zip(names, locked_as, strict=True)]


def write_release(folder: Path, version: str = SNAPSHOT_VERSION) -> None:
    """Write the archives of a copy that says a version, and their hashes."""
    write_archive(folder, "opencode-this-machine", {"bin/opencode": VERSION_SCRIPT.format(version=version)})
    write_archive(folder, "opencode-ai", {"package.json": "{}", "bin/opencode.exe": "echo not yet"})
    write_archive(folder, "@vscode/ripgrep-this", {"bin/rg": "#!/bin/sh\n"})
    for file in folder.glob("*.tgz"):
        (folder / f"{file.name}.integrity").write_text(compute_integrity(file.read_bytes(), "sha512"))


def write_program(path: Path, text: str) -> Path:
    """Write a script that may be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make_install_context(tmp_path: Path, environ: Mapping[str, str]) -> InstallContext:
    """Return a context without a copy; npm has one that says the right version."""
    npm = tmp_path / "npm"
    write_program(npm / "bin" / "npm", NPM.format(python=sys.executable))
    write_program(npm / "bin" / "node", "#!/bin/sh\n")
    write_release(npm)
    path = os.pathsep.join([str(npm / "bin"), "/usr/bin", "/bin"])
    own = {**environ, "PATH": path, "FAKE_NPM": str(npm), "INSTALL_MARK": uuid4().hex}
    return InstallContext(tmp_path / "cache" / "opencode-mcp", npm, own)


@pytest.fixture
def install_context(tmp_path: Path, environ: Mapping[str, str]) -> InstallContext:
    """No copy yet; npm has one that says the right version."""
    return make_install_context(tmp_path, environ)


async def test_a_copy_is_installed_once_and_verified(install_context: InstallContext) -> None:
    """Of what npm gave: the program in its place, ripgrep, and nothing else; the folder is the user's alone."""
    copy = await install_context.ensure_copy()

    assert copy == managed_program(install_context.folder)
    assert copy.version == SNAPSHOT_VERSION
    assert [Path(folder).name for folder in copy.path] == ["bin"]
    assert (
        stat.S_IMODE(install_context.cache.stat().st_mode)
        == stat.S_IMODE(install_context.folder.stat().st_mode)
        == 0o700
    )
    assert install_context.unfinished_folders() == []
    assert await install_context.ensure_copy() == copy
    assert install_context.npm_calls() == 1


async def test_the_progress_of_an_installation_is_what_npm_has_fetched(install_context: InstallContext) -> None:
    """In megabytes, of how many."""
    (install_context.npm / "hangs").touch()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(install_context.ensure_copy)
        await eventually(lambda: "fetching opencode-this-machine 1.0.0: 3 of 3 MB" in install_context.reported)
        (install_context.npm / "hangs").unlink()
    assert install_context.reported[-1] == "checking and unpacking OpenCode"


@pytest.mark.parametrize("package", ["opencode-this-machine", "opencode-ai", "vscode-ripgrep-this"])
async def test_a_package_that_is_not_the_one_of_the_lock_is_neither_kept_nor_run(
    install_context: InstallContext, package: str
) -> None:
    """Whether the registry, a mirror or a proxy changed it."""
    evil = install_context.npm / "ran"
    archived = "@vscode/ripgrep-this" if package.startswith("vscode") else package
    write_archive(
        install_context.npm, archived, {"bin/opencode": f"#!/bin/sh\ntouch {evil}\necho {SNAPSHOT_VERSION}\n"}
    )
    with pytest.raises(
        ServerStartError, match=r"@1\.0\.0 from npm does not match the lockfile .* discarded without running it"
    ):
        await install_context.ensure_copy()

    assert not evil.exists()
    assert not install_context.folder.exists()
    assert install_context.unfinished_folders() == []


async def test_an_npm_failure_is_reported_and_leaves_no_files(install_context: InstallContext) -> None:
    """With the ways out."""
    (install_context.npm / "fails").touch()
    with pytest.raises(ServerStartError, match=r"no such package[\s\S]*on PATH, or set --url to a running one"):
        await install_context.ensure_copy()
    assert install_context.unfinished_folders() == []


async def test_a_copy_with_another_version_is_not_used(install_context: InstallContext) -> None:
    """As one for another processor, which says nothing."""
    write_release(install_context.npm, "1.18.0")
    with pytest.raises(ServerStartError, match=r"does not run on this machine .*`--version` gives 1\.18\.0"):
        await install_context.ensure_copy()
    assert not install_context.folder.exists()


def empty(world: InstallContext) -> None:
    """A copy of nothing."""
    world.folder.rename(world.cache / "other")
    world.folder.mkdir()


def truncated(world: InstallContext) -> None:
    """A program of which the end is missing."""
    world.program.write_text("#!/bin/sh\nexit 2")


def not_executable(world: InstallContext) -> None:
    """A program without its right to be run."""
    world.program.chmod(0o644)


def without_ripgrep(world: InstallContext) -> None:
    """A copy that cannot search."""
    (world.folder / "node_modules" / "@vscode").rename(world.cache / "other")


def writable(world: InstallContext) -> None:
    """A copy that others can change."""
    world.folder.chmod(0o777)


DAMAGE_CASES = {
    empty: "files are missing",
    truncated: "`--version` gives nothing",
    not_executable: "it is not executable",
    without_ripgrep: "files are missing",
    writable: "others can write to it",
}


@pytest.mark.parametrize("damage", DAMAGE_CASES)
async def test_a_damaged_copy_is_installed_again_once_and_reported(
    install_context: InstallContext, damage: object
) -> None:
    """With what was wrong with it; the next start finds nothing wrong."""
    await install_context.ensure_copy()
    assert callable(damage)
    damage(install_context)
    repaired = await install_context.ensure_copy()

    assert DAMAGE_CASES[damage] in repaired.note  # pyright: ignore[reportArgumentType]
    assert "opencode-mcp reinstalled its copy" in repaired.note
    assert any("is damaged" in message for message in install_context.reported)
    assert (await install_context.ensure_copy()).note == ""
    assert install_context.npm_calls() == 2
    assert install_context.unfinished_folders() == []


async def test_a_damaged_copy_that_cannot_be_repaired_is_an_error_each_time(install_context: InstallContext) -> None:
    """It is never started."""
    await install_context.ensure_copy()
    truncated(install_context)
    (install_context.npm / "fails").touch()
    for _ in range(2):
        with pytest.raises(ServerStartError, match="could not be installed"):
            await install_context.ensure_copy()


async def test_a_cache_of_another_user_is_not_used(install_context: InstallContext) -> None:
    """Its programs are not run, whatever they are."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    await install_context.ensure_copy()
    os.chown(install_context.cache, 12345, 12345)
    with pytest.raises(
        ServerStartError, match=r"belongs to another user, so programs in it are not run.*XDG_CACHE_HOME"
    ):
        await install_context.ensure_copy()


async def test_programs_in_a_cache_that_others_can_write_are_not_run(install_context: InstallContext) -> None:
    """It is made private, and the copy is installed again; the one before is gone even where that fails."""
    await install_context.ensure_copy()
    evil = install_context.npm / "ran"
    write_program(install_context.program, f"#!/bin/sh\ntouch {evil}\necho {SNAPSHOT_VERSION}\n")
    install_context.cache.chmod(0o777)
    (install_context.npm / "fails").touch()
    with pytest.raises(ServerStartError, match="could not be installed"):
        await install_context.ensure_copy()
    (install_context.npm / "fails").unlink()
    copy = await install_context.ensure_copy()

    assert not evil.exists()
    assert copy.command == managed_program(install_context.folder).command
    assert stat.S_IMODE(install_context.cache.stat().st_mode) == 0o755
    assert install_context.unfinished_folders() == []


async def test_a_cancelled_installation_ends_npm_and_leaves_no_files(install_context: InstallContext) -> None:
    """No process of it, and no folder."""
    (install_context.npm / "hangs").touch()
    mark = f"INSTALL_MARK={install_context.environ['INSTALL_MARK']}"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(install_context.ensure_copy)
        await eventually(lambda: install_context.npm_calls() == 1)
        assert find_processes(mark)
        tasks.cancel_scope.cancel()

    assert find_processes(mark) == {}
    assert install_context.unfinished_folders() == []


async def test_a_bridge_killed_during_an_installation_leaves_no_npm_and_the_next_start_cleans_up(
    install_context: InstallContext,
) -> None:
    """`kill -9`: the supervisor ends npm, and the next installation removes what is unfinished."""
    (install_context.npm / "hangs").touch()
    mark = f"INSTALL_MARK={install_context.environ['INSTALL_MARK']}"
    bridge = await anyio.open_process(
        [sys.executable, "-c", INSTALL_PROGRAM, str(install_context.cache)], env=install_context.environ
    )
    await eventually(lambda: install_context.npm_calls() == 1)
    bridge.send_signal(signal.SIGKILL)
    await bridge.wait()
    assert bridge.stdout is not None
    await bridge.stdout.aclose()
    await eventually(lambda: find_processes(mark), until=lambda left: not left)
    assert len(install_context.unfinished_folders()) == 1
    (install_context.npm / "hangs").unlink()
    write_program(install_context.npm / "bin" / "opencode", VERSION_SCRIPT.format(version="1.18.22"))

    async def swept() -> bool:
        assert (
            await find_program((), install_context.cache, install_context.environ, install_context.report)
        ).version == "1.18.22"
        return install_context.unfinished_folders() == []

    await eventually(swept)  # the supervisor holds the cache's lock for a moment longer than npm lives


async def test_a_running_installation_is_awaited_and_not_removed(install_context: InstallContext) -> None:
    """Two bridges at once install once."""
    install_context.cache.mkdir(parents=True, mode=0o700)
    unfinished = install_context.cache / f"{UNFINISHED_PREFIX}by-another"
    async with hold_lock(install_context.cache, install_context.report):
        unfinished.mkdir()
        await find_program(
            (write_program(install_context.npm / "oc", VERSION_SCRIPT.format(version="1.18.22")).as_posix(),),
            *other_context(install_context),
        )
        assert unfinished.exists()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(install_context.ensure_copy)
            await eventually(lambda: any("waiting for another opencode-mcp" in one for one in install_context.reported))
            assert install_context.npm_calls() == 0
            tasks.cancel_scope.cancel()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(install_context.ensure_copy)
        tasks.start_soon(install_context.ensure_copy)

    assert install_context.npm_calls() == 1
    assert install_context.unfinished_folders() == []


def other_context(world: InstallContext) -> tuple[Path, Mapping[str, str], install.ProgressCallback]:
    """What `find_program` takes besides a command."""
    return world.cache, world.environ, world.report


async def test_a_version_is_read_once_while_its_file_is_unchanged(install_context: InstallContext) -> None:
    """By path, size, times and rights; a file that was replaced is asked again."""
    program = write_program(
        install_context.npm / "oc", f"#!/bin/sh\necho >> {install_context.npm}/asked\necho 1.18.22\n"
    )

    def asked() -> int:
        return len((install_context.npm / "asked").read_text().splitlines())

    for _ in range(3):
        assert await read_version((str(program),), install_context.environ, install_context.cache) == "1.18.22"
    assert asked() == 1
    write_program(program, f"#!/bin/sh\necho >> {install_context.npm}/asked\necho opencode v2.0.8\n")
    assert await read_version((str(program),), install_context.environ, install_context.cache) == "2.0.8"
    assert asked() == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo opencode v2.0.8", "is OpenCode 2.0.8, whose API differs"),
        ("echo 0.5.29", "is OpenCode 0.5.29, whose API differs"),
        ("echo hello", "does not print its version"),
        ("exit 1", "does not print its version"),
    ],
)
async def test_only_an_opencode_1_on_path_is_used(
    install_context: InstallContext, program: Program, text: str, words: str
) -> None:
    """Else the managed copy, with a note that says why."""
    write_program(install_context.npm / "bin" / "opencode", f"#!/bin/sh\n{text}\n")
    cache = Path(program.command[0]).parents[4]
    found = await find_program((), cache, install_context.environ, install_context.report)

    assert found.command == program.command
    assert words in found.note
    assert f"uses its own copy of OpenCode {SNAPSHOT_VERSION} instead" in found.note


async def test_an_old_opencode_1_on_path_is_used(install_context: InstallContext) -> None:
    """Its plain operations work."""
    path = write_program(install_context.npm / "bin" / "opencode", VERSION_SCRIPT.format(version="1.3.0"))
    assert await find_program((), *other_context(install_context)) == Program((str(path),), version="1.3.0")


async def test_an_opencode_2_given_as_command_is_refused(install_context: InstallContext) -> None:
    """The user has chosen it, so no other is used in its place; it is never started, as that changes its data."""
    path = write_program(
        install_context.npm / "oc2",
        f"#!/bin/sh\n[ $1 = --version ] || touch {install_context.npm}/served\necho v2.1.2\n",
    )
    with pytest.raises(ServerStartError, match=r"--command: `.*oc2` is OpenCode 2\.1\.2, .* it is not started"):
        await find_program((str(path),), *other_context(install_context))
    assert not (install_context.npm / "served").exists()


async def test_without_npm_an_opencode_2_on_path_is_named_with_the_alternatives(
    install_context: InstallContext,
) -> None:
    """What is there, and what to do."""
    write_program(install_context.npm / "bin" / "opencode", "#!/bin/sh\necho opencode v2.0.8\n")
    (install_context.npm / "bin" / "npm").unlink()
    environ = {**install_context.environ, "PATH": str(install_context.npm / "bin")}
    with pytest.raises(
        ServerStartError, match=r"is OpenCode 2\.0\.8, .* it is not started\. OpenCode is not installed"
    ):
        await find_program((), install_context.cache, environ, install_context.report)


@pytest.mark.parametrize("windows", [False, True])
def test_programs_of_the_current_directory_are_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool
) -> None:
    """Windows searches there first; an empty or relative entry of PATH means it on other systems."""
    ending = ".cmd" if windows else ""
    write_program(tmp_path / "project" / f"opencode{ending}", "#!/bin/sh\n")
    write_program(tmp_path / "project" / "bin" / f"opencode{ending}", "#!/bin/sh\n")
    own = write_program(tmp_path / "own" / f"opencode{ending}", "#!/bin/sh\n")
    monkeypatch.chdir(tmp_path / "project")
    variables = {"PATHEXT": ".exe;.cmd"}
    for path in ("", ".", "bin", os.pathsep.join(["", ".", "bin"])):
        assert which("opencode", {**variables, "PATH": path}, windows) is None
    path = os.pathsep.join(["", ".", "bin", str(tmp_path / "own")])
    assert which("opencode", {**variables, "PATH": path}, windows) == str(own)


@pytest.mark.parametrize(
    ("system", "machine", "builds"),
    [
        ("Linux", "x86_64", ["opencode-linux-x64", "opencode-linux-x64-baseline"]),
        ("Linux", "aarch64", ["opencode-linux-arm64"]),
        ("Darwin", "arm64", ["opencode-darwin-arm64"]),
        ("Darwin", "x86_64", ["opencode-darwin-x64"]),
        ("Windows", "AMD64", ["opencode-windows-x64"]),
        ("Windows", "ARM64", ["opencode-windows-arm64"]),
    ],
)
def test_the_lock_knows_the_packages_of_each_machine(system: str, machine: str, builds: list[str]) -> None:
    """OpenCode's program, opencode-ai and ripgrep, each with a hash."""
    sets = required_packages(system, machine, musl=False)

    assert [packages[0].name for packages in sets] == builds
    for _, wrapper, ripgrep in sets:
        assert wrapper.name == "opencode-ai"
        assert ripgrep.name.startswith("@vscode/ripgrep-")


def test_a_machine_whose_package_the_lock_does_not_know_is_refused() -> None:
    """An unknown program is not run."""
    with pytest.raises(ServerStartError, match="its lockfile has no opencode-linux-x64-musl"):
        required_packages("Linux", "x86_64", musl=True)


def test_every_hash_of_the_lock_is_whole() -> None:
    """SHA-512, but for two packages of which no more than a SHA-256 is known."""
    for name, package in load_lockfile().items():
        algorithm = package.integrity.partition("-")[0]
        assert package.integrity == f"{algorithm}-{package.integrity.partition('-')[2]}"
        assert algorithm == ("sha256" if name.startswith("opencode-windows") else "sha512")
        assert len(package.integrity) == len(compute_integrity(b"", algorithm))
