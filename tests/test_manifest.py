"""manifest.json and server.json say what the package is, and pack into a bundle that hosts accept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from opencode_mcp import __version__
from opencode_mcp.opencode.process.install import cache_folder
from opencode_mcp.settings import SETTINGS
from opencode_mcp.skills import read_skills

ROOT = Path(__file__).parent.parent
MCPB = "@anthropic-ai/mcpb@2.1.2"


@pytest.fixture(scope="session")
def mcpb() -> Path:
    """The bundle's own command line tool, installed once per machine."""
    folder = cache_folder(os.environ) / "tests" / "mcpb-2.1.2"
    program = folder / "node_modules" / ".bin" / "mcpb"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm = shutil.which("npm")
        assert npm is not None
        subprocess.run([npm, "install", "--no-audit", "--no-fund", "--prefix", folder, MCPB], check=True)
    return program


def read_manifest(name: str) -> dict[str, Any]:
    """Read one of the files."""
    return json.loads((ROOT / name).read_text())


@pytest.mark.usefixtures("spawns")
def test_the_manifests_are_up_to_date() -> None:
    """Version and tool list come from the package; `python scripts/write_manifest.py` renews them."""
    command = [sys.executable, "scripts/write_manifest.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0
    assert read_manifest("manifest.json")["version"] == read_manifest("server.json")["version"] == __version__


def test_the_version_stands_in_one_place() -> None:
    """The distribution is built with the one that the package reports."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in config["project"]
    assert config["project"]["dynamic"] == ["version"]
    assert f'\n__version__ = "{__version__}"\n' in (ROOT / config["tool"]["hatch"]["version"]["path"]).read_text()


def test_every_variable_of_the_bundle_is_a_setting() -> None:
    """The manifest and the registry entry set nothing that the server does not read."""
    known = {setting.variable for setting in SETTINGS}
    (package,) = read_manifest("server.json")["packages"]

    assert read_manifest("manifest.json")["server"]["mcp_config"]["env"].keys() <= known
    assert {one["name"] for one in package["environmentVariables"]} <= known


def test_the_readme_has_the_registry_s_marker() -> None:
    """The registry proves ownership by this line of the package's description."""
    assert f"<!-- mcp-name: {read_manifest('server.json')['name']} -->" in (ROOT / "README.md").read_text()


def test_nothing_that_git_ignores_is_packed() -> None:
    """Packages that were built before would double the bundle, and the cache of the site would add a third."""
    ignored, left_out = ({*(ROOT / name).read_text().split()} for name in (".gitignore", ".mcpbignore"))
    assert ignored | {".cache/"} <= left_out


@pytest.mark.usefixtures("spawns")
def test_the_manifest_is_valid_and_packs(mcpb: Path, tmp_path: Path) -> None:
    """The bundle's own tool accepts the manifest and the icon; the bundle is small and holds no tests."""
    bundle = tmp_path / "out.mcpb"
    subprocess.run([mcpb, "validate", "manifest.json"], cwd=ROOT, check=True)
    subprocess.run([mcpb, "pack", ".", bundle], cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(bundle) as packed:
        names = set(packed.namelist())

    assert {"manifest.json", "pyproject.toml", "opencode_mcp/__main__.py", "docs/icon.png"} <= names
    assert {f"opencode_mcp/plugin/skills/{skill.name}/SKILL.md" for skill in read_skills()} <= names
    assert not [name for name in names if name.startswith(("tests/", ".venv/", ".git/"))]
    assert bundle.stat().st_size < 1_000_000
