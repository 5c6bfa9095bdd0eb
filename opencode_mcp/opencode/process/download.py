"""npm packages at the versions of the lockfile: fetched by npm, verified against the lockfile, unpacked.

npm fetches, as it has the user's registry, proxy and credentials; it runs no package scripts. A package-lock.json is
not enough: npm 11 ignores a wrong SHA-256 if the registry gives a SHA-512.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import sysconfig
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import anyio.to_thread

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.opencode.concurrency import background_task
from opencode_mcp.opencode.endpoint import ProgressCallback

from .executable import which
from .supervised import run_supervised_process

INSTALL_SECONDS = 900.0
PROGRESS_SECONDS = 1.0
MEGABYTE = 1_000_000
OPENCODE = "opencode-ai"
RIPGREP = "@vscode/ripgrep"
"""OpenCode searches with ripgrep, and tries to download one when there is none."""

SYSTEMS = {"Linux": ("linux", "linux"), "Darwin": ("darwin", "darwin"), "Windows": ("windows", "win32")}
"""A system's name in OpenCode's packages and in ripgrep's."""

MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}

NO_NPM = (
    "OpenCode is not installed, and npm was not found to install it. Do one of these: install OpenCode "
    "(https://opencode.ai/docs) so that `opencode` is on PATH; install Node.js, then call again to install OpenCode; "
    "or set --url or OPENCODE_MCP_URL to the address of a running OpenCode."
)


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the lockfile. `integrity` is a hash in npm's format, `algorithm-base64`; `bytes` is its size, or
    0."""

    name: str
    version: str
    integrity: str
    bytes: int = 0

    @property
    def archive_name(self) -> str:
        """The name that npm gives its archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def load_lockfile() -> dict[str, Package]:
    """Return every package of the lockfile by its name."""
    text = resources.files(__package__ or __name__).joinpath("managed.json").read_text(encoding="utf-8")
    packages: dict[str, dict[str, Any]] = json.loads(text)["packages"]
    return {name: Package(name, **entry) for name, entry in packages.items()}


def is_musl() -> bool:
    """Whether this machine's C library is musl, as on Alpine Linux."""
    return "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or "") or Path("/etc/alpine-release").exists()


def build_names(system: str, machine: str, musl: bool) -> list[str]:
    """Return the names of the packages with OpenCode's program for a machine; the second is for older processors.

    Raises:
        ServerStartError: the lockfile has no package for the machine.
    """
    name = f"opencode-{SYSTEMS.get(system, (system.lower(), ''))[0]}-{MACHINES.get(machine.lower(), machine)}"
    candidates = [f"{name}{variant}{'-musl' if musl else ''}" for variant in ("", "-baseline")]
    supported = [candidate for candidate in candidates if candidate in load_lockfile()]
    if not supported:
        raise ServerStartError(
            f"opencode-mcp cannot install OpenCode on this machine: its lockfile has no {candidates[0]}. Install "
            "OpenCode 1.x (`npm install -g opencode-ai@1`) so that `opencode` is on PATH, or set --url."
        )
    return supported


def required_packages(
    system: str | None = None, machine: str | None = None, musl: bool | None = None
) -> list[list[Package]]:
    """Return the packages of a copy of OpenCode, one list for each build, for a machine (default: this one)."""
    system, machine = system or platform.system(), machine or platform.machine()
    packages = load_lockfile()
    ripgrep = f"{RIPGREP}-{SYSTEMS.get(system, ('', ''))[1]}-{MACHINES.get(machine.lower(), machine)}"
    common = [packages[OPENCODE], *(packages[name] for name in (ripgrep,) if name in packages)]
    return [[packages[name], *common] for name in build_names(system, machine, is_musl() if musl is None else musl)]


async def fetch_packages(
    packages: Sequence[Package],
    folder: Path,
    environ: Mapping[str, str],
    report_progress: ProgressCallback,
    pass_fds: Sequence[int] = (),
) -> None:
    """Fetch packages into `node_modules` of a folder, all or none.

    Raises:
        ServerStartError: with the end of npm's output, or the package that does not match the lockfile.
    """
    npm = which("npm", environ)
    if npm is None or which("node", environ) is None:
        raise ServerStartError(NO_NPM)
    archives, store = folder / "archives", folder / "npm"
    archives.mkdir()
    specs = [f"{entry.name}@{entry.version}" for entry in packages]
    # Relative to the folder that npm runs in: npm.cmd of Windows would read a `&` in a path as the end of a command.
    flags = ("--ignore-scripts", "--cache", store.name, "--pack-destination", archives.name)
    async with background_task(partial(report_download_size, store, packages, report_progress)):
        completed = await run_supervised_process(
            (npm, "pack", *flags, *specs), environ, str(folder), INSTALL_SECONDS, pass_fds
        )
    if completed is None or completed.status != 0:
        reason = f"it took longer than {INSTALL_SECONDS:g} s" if completed is None else completed.output[-1500:].strip()
        raise ServerStartError(
            f"OpenCode could not be installed: `npm pack {' '.join(specs)}` failed.\n{reason}\nInstall OpenCode so "
            "that `opencode` is on PATH, or set --url to a running one."
        )
    await report_progress("checking and unpacking OpenCode")
    for package in packages:
        await anyio.to_thread.run_sync(
            verify_and_unpack, package, archives / package.archive_name, folder / "node_modules" / package.name
        )


async def report_download_size(store: Path, packages: Sequence[Package], report_progress: ProgressCallback) -> None:
    """Report how much npm has downloaded, by the size of its cache."""
    total = sum(package.bytes for package in packages) / MEGABYTE
    while True:
        fetched = min(folder_size(store) / MEGABYTE, total)
        await report_progress(f"fetching {packages[0].name} {packages[0].version}: {fetched:.0f} of {total:.0f} MB")
        await anyio.sleep(PROGRESS_SECONDS)


def folder_size(folder: Path) -> int:
    """Return the total size of the files below a folder, in bytes; files may appear and vanish meanwhile."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def verify_and_unpack(package: Package, archive: Path, folder: Path) -> None:
    """Verify an archive against the lockfile, and unpack its `package` folder.

    Raises:
        ServerStartError: the archive does not match, or cannot be read.
    """
    try:
        data = archive.read_bytes()
        if compute_integrity(data, package.integrity.partition("-")[0]) != package.integrity:
            raise ServerStartError(
                f"{package.name}@{package.version} from npm does not match the lockfile of opencode-mcp (its "
                f"{package.integrity.partition('-')[0]} differs): it was discarded without running it. Check whether "
                "the registry or a proxy modifies packages, or install OpenCode so that `opencode` is on PATH."
            )
        with tarfile.open(archive) as files:
            members = [entry for entry in files.getmembers() if PurePosixPath(entry.name).parts[0] == "package"]
            for member in members:
                member.name = str(PurePosixPath(*PurePosixPath(member.name).parts[1:]))
            files.extractall(folder, [entry for entry in members if entry.name != "."], filter="data")
    except (OSError, tarfile.TarError) as error:
        raise ServerStartError(f"{package.name}@{package.version} cannot be unpacked: {error}") from error


def compute_integrity(data: bytes, algorithm: str) -> str:
    """Return the hash of data as npm writes it."""
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"
