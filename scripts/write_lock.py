"""Write opencode_mcp/opencode/process/managed.json: the hashes of the packages of the managed OpenCode.

python scripts/write_lock.py [--check]

npm looks up each package's hash in the configured registry. A package that is not there keeps its hash if the version
is unchanged. `--check` needs no registry: it compares the versions with the snapshot's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode.process.download import OPENCODE, RIPGREP

LOCK = Path(__file__).parents[1] / "opencode_mcp" / "opencode" / "process" / "managed.json"
RIPGREP_VERSION = "1.18.0"
VARIANTS = {"x64": ("", "-baseline"), "arm64": ("",)}


def package_versions() -> Iterator[tuple[str, str]]:
    """Yield every package of a managed OpenCode on any platform, with its version."""
    yield OPENCODE, SNAPSHOT_VERSION
    for system in ("linux", "darwin", "windows"):
        for machine, variants in VARIANTS.items():
            for variant in variants:
                yield f"opencode-{system}-{machine}{variant}", SNAPSHOT_VERSION
                if system == "linux":
                    yield f"opencode-{system}-{machine}{variant}-musl", SNAPSHOT_VERSION
            yield f"{RIPGREP}-{'win32' if system == 'windows' else system}-{machine}", RIPGREP_VERSION


def read_registry(name: str, version: str) -> dict[str, Any] | None:
    """Return a package's version and hash from the registry, or None if it is not there."""
    done = subprocess.run(
        ["npm", "view", f"{name}@{version}", "dist.integrity", "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return None
    return {"version": version, "integrity": json.loads(done.stdout)}


def update_packages(previous: dict[str, Any]) -> dict[str, Any]:
    """Return the packages with the registry's hashes, and the known ones for packages that it does not have."""
    packages: dict[str, Any] = {}
    for name, version in package_versions():
        known = previous.get(name, {})
        unchanged = known if known.get("version") == version else None
        current = read_registry(name, version)
        if current is not None and unchanged is not None and current["integrity"] == unchanged["integrity"]:
            current = unchanged
        if current is None and unchanged is None:
            print(f"{name}@{version} is not in the registry: it cannot be installed", file=sys.stderr)
            continue
        packages[name] = current or unchanged
    return packages


def main() -> int:
    """Write the file, or with --check compare its versions with the snapshot's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a version differs")
    packages: dict[str, Any] = json.loads(LOCK.read_text())["packages"]
    if parser.parse_args().check:
        versions = dict(package_versions())
        return int(any(package["version"] != versions[name] for name, package in packages.items()))
    LOCK.write_text(json.dumps({"packages": update_packages(packages)}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
