"""Packages from npm, as they were when this package was released: fetched by npm, checked against the lock, unpacked.

npm knows the user's registry, proxy and credentials, so it fetches; it runs nothing that it fetched. Its own
package-lock.json would not do: npm 11 passes over a SHA-256 that is wrong when the registry names a SHA-512.
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

from .background import alongside
from .program import which
from .server import Report
from .supervised import finish

INSTALL_SECONDS = 900.0
PROGRESS_SECONDS = 1.0
MEGABYTE = 1_000_000
OPENCODE = "opencode-ai"
RIPGREP = "@vscode/ripgrep"
"""OpenCode searches with ripgrep, and tries to download one when there is none."""

SYSTEMS = {"Linux": ("linux", "linux"), "Darwin": ("darwin", "darwin"), "Windows": ("windows", "win32")}
"""How OpenCode's packages and ripgrep's call a system."""

MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}

NO_NPM = (
    "OpenCode is not installed, and npm was not found to install it. Do one of these: install OpenCode "
    "(https://opencode.ai/docs) so that `opencode` is on PATH; install Node.js, then call again to install OpenCode; "
    "or set --url or OPENCODE_MCP_URL to the address of a running OpenCode."
)


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the lock. `integrity` is a hash as npm writes it: its name, and base64; `bytes` its size, or 0."""

    name: str
    version: str
    integrity: str
    bytes: int = 0

    @property
    def file(self) -> str:
        """The name that npm gives its archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def lock() -> dict[str, Package]:
    """Return every package of the lock by its name."""
    text = resources.files(__package__ or __name__).joinpath("managed.json").read_text()
    packages: dict[str, dict[str, Any]] = json.loads(text)["packages"]
    return {name: Package(name, **facts) for name, facts in packages.items()}


def is_musl() -> bool:
    """Whether this machine's C library is musl, as on Alpine Linux."""
    return "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or "") or Path("/etc/alpine-release").exists()


def builds(system: str, machine: str, musl: bool) -> list[str]:
    """Return the packages that may have OpenCode's program for a machine: the second for an old processor.

    Raises:
        ServerStartError: there is none whose contents the lock knows.
    """
    name = f"opencode-{SYSTEMS.get(system, (system.lower(), ''))[0]}-{MACHINES.get(machine.lower(), machine)}"
    names = [f"{name}{variant}{'-musl' if musl else ''}" for variant in ("", "-baseline")]
    known = [one for one in names if one in lock()]
    if not known:
        raise ServerStartError(
            f"opencode-mcp cannot install OpenCode on this machine: its lockfile has no {names[0]}. Install OpenCode "
            "1.x (`npm install -g opencode-ai@1`) so that `opencode` is on PATH, or set --url."
        )
    return known


def needed(system: str | None = None, machine: str | None = None, musl: bool | None = None) -> list[list[Package]]:
    """Return the sets of packages, one for each build, that make a copy of OpenCode on a machine, by default this."""
    system, machine = system or platform.system(), machine or platform.machine()
    packages = lock()
    ripgrep = f"{RIPGREP}-{SYSTEMS.get(system, ('', ''))[1]}-{MACHINES.get(machine.lower(), machine)}"
    common = [packages[OPENCODE], *(packages[name] for name in (ripgrep,) if name in packages)]
    return [[packages[name], *common] for name in builds(system, machine, is_musl() if musl is None else musl)]


async def fetch(
    packages: Sequence[Package], folder: Path, environ: Mapping[str, str], report: Report, pass_fds: Sequence[int] = ()
) -> None:
    """Fetch packages into `node_modules` of a folder, all or none.

    Raises:
        ServerStartError: with the end of npm's output, or which package is another than the lock knows.
    """
    npm = which("npm", environ)
    if npm is None or which("node", environ) is None:
        raise ServerStartError(NO_NPM)
    archives, store = folder / "archives", folder / "npm"
    archives.mkdir()
    specs = [f"{one.name}@{one.version}" for one in packages]
    flags = ("--ignore-scripts", "--cache", str(store), "--pack-destination", str(archives))
    async with alongside(partial(tell_size, store, packages, report)):
        done = await finish((npm, "pack", *flags, *specs), environ, str(folder), INSTALL_SECONDS, pass_fds)
    if done is None or done.status != 0:
        why = f"it took longer than {INSTALL_SECONDS:g} s" if done is None else done.output[-1500:].strip()
        raise ServerStartError(
            f"OpenCode could not be installed: `npm pack {' '.join(specs)}` failed.\n{why}\nInstall OpenCode so that "
            "`opencode` is on PATH, or set --url to a running one."
        )
    await report("checking and unpacking OpenCode")
    for package in packages:
        await anyio.to_thread.run_sync(take, package, archives / package.file, folder / "node_modules" / package.name)


async def tell_size(store: Path, packages: Sequence[Package], report: Report) -> None:
    """Report how much npm has fetched: it streams what comes into its store."""
    whole = sum(package.bytes for package in packages) / MEGABYTE
    while True:
        fetched = min(size_of(store) / MEGABYTE, whole)
        await report(f"fetching {packages[0].name} {packages[0].version}: {fetched:.0f} of {whole:.0f} MB")
        await anyio.sleep(PROGRESS_SECONDS)


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder hold; they come and go meanwhile."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def take(package: Package, archive: Path, folder: Path) -> None:
    """Check an archive against the lock, and unpack its `package` folder.

    Raises:
        ServerStartError: it is another one, or cannot be read.
    """
    try:
        data = archive.read_bytes()
        if integrity(data, package.integrity.partition("-")[0]) != package.integrity:
            raise ServerStartError(
                f"{package.name}@{package.version} from npm does not match the lockfile of opencode-mcp (its "
                f"{package.integrity.partition('-')[0]} differs): it was discarded without running it. Check whether "
                "the registry or a proxy modifies packages, or install OpenCode so that `opencode` is on PATH."
            )
        with tarfile.open(archive) as files:
            members = [one for one in files.getmembers() if PurePosixPath(one.name).parts[0] == "package"]
            for member in members:
                member.name = str(PurePosixPath(*PurePosixPath(member.name).parts[1:]))
            files.extractall(folder, [one for one in members if one.name != "."], filter="data")
    except (OSError, tarfile.TarError) as error:
        raise ServerStartError(f"{package.name}@{package.version} cannot be unpacked: {error}") from error


def integrity(data: bytes, algorithm: str) -> str:
    """Return the hash of data as npm writes it."""
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"
