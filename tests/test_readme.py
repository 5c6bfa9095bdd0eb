"""What README.md says, against what is there."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import mcp_types as types
import pytest

from opencode_mcp.cli import main
from opencode_mcp.cli.main import COMMANDS
from opencode_mcp.openapi import SNAPSHOT_VERSION, Catalog
from opencode_mcp.settings import Settings
from opencode_mcp.tools import Toolbox, select
from tests.tiers import TIERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
TESTS = "-m 'unit or opencode or process'"
"""How the second command ends."""


def shell(markdown: str) -> list[str]:
    """Every command of a text's shell blocks, comments apart."""
    blocks = re.findall(r"^```sh\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def steps(command: str) -> list[str]:
    """The commands that && joins."""
    return command.split(" && ")


def command(markdown: str, ending: str) -> str:
    """The one command that ends so."""
    (found,) = [line for line in shell(markdown) if line.endswith(ending)]
    return found


def test_both_commands_begin_in_the_clone_with_a_virtual_environment_of_its_own() -> None:
    for ending in ("examples/quickstart.py", TESTS):
        assert steps(command(README, ending))[0] == "python3 -m venv .venv"


def test_contributing_has_the_same_commands() -> None:
    """Both pages name the whole test run and the first task in the same words."""
    assert steps(command(README, TESTS))[-1] in shell(CONTRIBUTING)
    assert steps(command(README, "examples/quickstart.py"))[-1] in shell(CONTRIBUTING)


def test_contributing_names_every_tier() -> None:
    """A contributor finds how to run each."""
    assert {tier for tier in TIERS if f"`{tier}`" not in CONTRIBUTING} == set()


@pytest.mark.usefixtures("spawns")
def test_the_generated_tables_are_those_of_the_package() -> None:
    command = [sys.executable, "scripts/write_readme.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_the_buttons_hold_the_entry_of_the_published_package() -> None:
    links: list[tuple[str, str]] = re.findall(r"\[!\[Install in ([\w ]+)\]\([^)]*\)\]\(([^)]*)\)", README)
    queries = {client: dict(parse_qsl(urlsplit(link).query)) for client, link in links}
    entries = {
        client: json.loads(config if client == "VS Code" else base64.b64decode(config))
        for client, config in ((client, query["config"]) for client, query in queries.items())
    }

    entry = {"command": "uvx", "args": ["opencode-mcp", "--toolsets", "essential"]}
    assert entries == {"VS Code": entry, "Cursor": entry, "LM Studio": entry}


@pytest.mark.parametrize("toolset", ["all", "essential"])
def test_the_comparison_has_our_own_figures(toolset: str) -> None:
    catalog = Catalog.bundled()
    tools = Toolbox(catalog, select(catalog, [toolset]), 40_000).listed
    answer = types.ListToolsResult(tools=tools).model_dump_json(by_alias=True, exclude_none=True)

    assert f" | {len(tools)} | {len(answer.encode()):,} | " in README


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 400


def test_the_settings_table_is_that_of_the_settings() -> None:
    table = re.findall(r"^\| (?:`(--[a-z-]+)`)? ?\| `([A-Z_]+)` \| (.*) \|$", README, re.MULTILINE)
    documented = {(flag, variable) for flag, variable, _ in table}
    actual = {
        (f"--{one.name.replace('_', '-')}" if one.metadata.get("flag", True) else "", one.metadata["variable"])
        for one in fields(Settings)
        if one.metadata
    }

    assert documented == actual
    assert len(table) == len(actual)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        ".github/CONTRIBUTING.md",
        ".github/SECURITY.md",
        "CHANGELOG.md",
        "docs/library.md",
        "docs/performance.md",
        "docs/scaling.md",
    ],
)
def test_links_to_files_lead_to_files(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)#]+)", page.read_text())

    assert [link for link in links if "://" not in link and not (page.parent / link).is_file()] == []


def test_every_flag_that_it_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
    known = flags(capsys.readouterr().out) | {"--model", "--from"}  # of the quick start and of uvx

    assert flags(re.sub(r"^```sh\n.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)) <= known


def flags(text: str) -> set[str]:
    """The flags in a text."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def test_every_operation_that_it_names_exists() -> None:
    names = set(re.findall(r"`((?:v2_)?(?:session|event|global|pty|find|worktree|sync)_\w+)`", README))

    assert names <= set(Catalog.bundled())
    assert f"`opencode-ai` {SNAPSHOT_VERSION}" in README
    assert f"the {len(Catalog.bundled())} operations" in README


def test_the_constraints_pin_each_package_exactly() -> None:
    lines = (ROOT / "constraints-dev.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]

    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9.]+((b|post)[0-9]+)?", pin)] == []
    assert {"pytest", "hypothesis", "ruff", "pyright", "mcp", "httpx2"} <= {pin.partition("==")[0] for pin in pins}
