"""Packages from PyPI that tests run apart from their own: in pinned versions, installed once per machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from tests.install_once import install_once

UV = (sys.executable, "-m", "uv", "--quiet", "--no-progress")
"""Makes an environment of a hundred packages in a few seconds."""


def install_environment(name: str, requirements: Path) -> Path:
    """Return the Python of a virtual environment with the packages of a requirements file."""
    packages = str(requirements)

    def install(folder: Path) -> None:
        subprocess.run([*UV, "venv", "--python", sys.executable, str(folder)], check=True)
        python = str(folder / "bin" / "python")
        subprocess.run([*UV, "pip", "install", "--python", python, "--no-deps", "-r", packages], check=True)

    version = f"{platform.python_version()}-{sha256(requirements.read_bytes()).hexdigest()[:12]}"
    return install_once(name, version, install) / "bin" / "python"
