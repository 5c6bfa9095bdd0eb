"""Build the packages, and check what PyPI and a user make of them.

python scripts/check_packages.py

Builds the sdist and from it the wheel, checks their metadata (`twine check`), and installs each into a fresh
environment, where the program must run and every file of the package must be. Needs uv and PyPI.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from opencode_mcp import __version__

ROOT = Path(__file__).resolve().parents[1]
TWINE = "twine==7.0.0"
UV = (sys.executable, "-m", "uv", "--quiet", "--no-progress")
TOOL = (*UV, "tool", "run", "--python", sys.executable, "--from")
LIST_FILES = "import importlib.metadata as m; print(*m.files('opencode-mcp'), sep='\\n')"


def run(command: Sequence[str], folder: Path = ROOT) -> str:
    """Run a command in a folder, and return what it prints on stdout.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it may lead to the clone
    return subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout


def build(folder: Path) -> list[Path]:
    """Build the sdist and the wheel into a folder, and return them; the metadata of both is valid."""
    packages = folder / "dist"
    run([*UV, "build", "--python", sys.executable, "--out-dir", str(packages)])
    found = sorted(path for path in packages.iterdir() if path.suffix in {".gz", ".whl"})
    sys.stdout.write(run([*TOOL, TWINE, "twine", "check", "--strict", *map(str, found)]))
    return found


def install(folder: Path, package: Path) -> None:
    """Install a package into a fresh environment, and check that it is complete there.

    Raises:
        ValueError: it is not.
    """
    environment = folder / f"env-{package.suffix.removeprefix('.')}"
    run([*UV, "venv", "--python", sys.executable, str(environment)])
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    run([*UV, "pip", "install", "--python", str(scripts / "python"), str(package)])
    # Elsewhere than in the clone, whose files would be imported.
    version = run([str(scripts / "opencode-mcp"), "--version"], folder).strip()
    if version != f"opencode-mcp {__version__}":
        raise ValueError(f"{package.name} says that it is {version!r}")
    missing = package_files() - {*run([str(scripts / "python"), "-c", LIST_FILES], folder).splitlines()}
    if missing:
        raise ValueError(f"{package.name} lacks {', '.join(sorted(missing))}")
    tools = json.loads(run([str(scripts / "opencode-mcp"), "tools", "--json"], folder))["tools"]
    sys.stdout.write(f"{package.name}: installed, {len(tools)} tools\n")


def package_files() -> set[str]:
    """Return the files of the package that git has."""
    return {*run(["git", "ls-files", "opencode_mcp"]).splitlines()}


def main() -> None:
    """Build, check and install; fails where something is wrong."""
    with tempfile.TemporaryDirectory(prefix="packages-") as name, ThreadPoolExecutor() as threads:
        folder = Path(name)
        try:
            packages = build(folder)
            if sorted(package.suffix for package in packages) != [".gz", ".whl"]:
                raise ValueError(f"not a wheel and an sdist: {packages}")
            list(threads.map(partial(install, folder), packages))
        except (ValueError, subprocess.CalledProcessError) as error:
            sys.exit(f"check_packages: {error}")


if __name__ == "__main__":
    main()
