"""Write opencode_mcp/opencode/managed.json: the hashes of the packages of the managed OpenCode.

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
from opencode_mcp.opencode.download import OPENCODE, RIPGREP

LOCK = Path(__file__).parents[1] / "opencode_mcp" / "opencode" / "managed.json"
RIPGREP_VERSION = "1.18.0"
VARIANTS = {"x64": ("", "-baseline"), "arm64": ("",)}


def names() -> Iterator[tuple[str, str]]:
    """Yield every package of a managed OpenCode on any platform, with its version."""
    yield OPENCODE, SNAPSHOT_VERSION
    for system in ("linux", "darwin", "windows"):
        for machine, variants in VARIANTS.items():
            for variant in variants:
                yield f"opencode-{system}-{machine}{variant}", SNAPSHOT_VERSION
                if system == "linux":
                    yield f"opencode-{system}-{machine}{variant}-musl", SNAPSHOT_VERSION
            yield f"{RIPGREP}-{'win32' if system == 'windows' else system}-{machine}", RIPGREP_VERSION


def asked(name: str, version: str) -> dict[str, Any] | None:
    """Return a package's version and hash from the registry, or None if it is not there."""
    done = subprocess.run(
        ["npm", "view", f"{name}@{version}", "dist.integrity", "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return None
    return {"version": version, "integrity": json.loads(done.stdout)}


def renewed(previous: dict[str, Any]) -> dict[str, Any]:
    """Return the packages with the registry's hashes, and the known ones for packages that it does not have."""
    packages: dict[str, Any] = {}
    for name, version in names():
        known = previous.get(name, {})
        kept = known if known.get("version") == version else None
        found = asked(name, version)
        if found is not None and kept is not None and found["integrity"] == kept["integrity"]:
            found = kept
        if found is None and kept is None:
            print(f"{name}@{version} is not in the registry: it cannot be installed", file=sys.stderr)
            continue
        packages[name] = found or kept
    return packages


def main() -> int:
    """Write the file, or with --check compare its versions with the snapshot's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a version differs")
    packages: dict[str, Any] = json.loads(LOCK.read_text())["packages"]
    if parser.parse_args().check:
        wanted = dict(names())
        return int(any(one["version"] != wanted[name] for name, one in packages.items()))
    LOCK.write_text(json.dumps({"packages": renewed(packages)}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
