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

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
CI = (ROOT / ".ci" / "run").read_text()


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
    for ending in ("examples/quickstart.py", "/pytest"):
        assert steps(command(README, ending))[0] == "python3 -m venv .venv"


def test_ci_runs_the_second_command_in_two_halves() -> None:
    """What one leaves out the other runs, so that together they are what the README says."""
    environment, install, tests = steps(command(README, "/pytest"))
    ours = ci_lines()

    assert environment in ours
    # Before more is installed: what it installs must be all that the tests need.
    assert ours[ours.index(install) + 1] == ".venv/bin/python -m pytest --collect-only -qq || status=$?"
    halves = [line for line in ours if line.startswith(tests) and " -m " not in line]
    [folders] = re.findall(r"pytest ([\w/ ]+) >", halves[0])
    others = "".join(f" --ignore {folder}" for folder in folders.split())
    assert halves == [f'{tests} {folders} >"$folder/half.log" 2>&1 &', f"{tests}{others} || status=$?"]
    assert ours[-3:] == ['wait "$half" || status=$?', 'cat "$folder/half.log"', 'exit "$status"']


def test_ci_runs_what_the_second_command_leaves_out_too() -> None:
    """Each failure is one of the run's, and what runs in the background is waited for and shown."""
    ours = ci_lines()
    (left_out,) = re.findall(r'"-m", "([a-z ]+)"', (ROOT / "pyproject.toml").read_text())
    runs = [line for line in ours if re.match(r"\.venv/bin/(pytest|python -m)", line)]
    behind = [index for index, line in enumerate(ours) if line in runs and line.endswith(" &")]

    assert set(re.findall(r"not (\w+)", left_out)) == set(re.findall(r"pytest -m (\w+)", "\n".join(runs)))
    assert ".venv/bin/python -m benchmarks --check || status=$?" in runs
    assert all(line.endswith((" &", " || status=$?")) for line in runs)
    for index in behind:
        name = ours[index + 1].removesuffix("=$!")
        assert ours[index].endswith(f' >"$folder/{name}.log" 2>&1 &')
        waited = ours.index(f'wait "${name}" || status=$?')
        assert ours[waited + 1] == f'cat "$folder/{name}.log"'


def ci_lines() -> list[str]:
    """The lines of .ci/run, its environment named as the README does."""
    return CI.replace('"$folder"/', "").replace('"$folder/.venv"', ".venv").splitlines()


def test_contributing_has_the_same_commands() -> None:
    assert steps(command(README, "/pytest"))[-1] in shell(CONTRIBUTING)
    assert steps(command(README, "examples/quickstart.py"))[-1] in shell(CONTRIBUTING)


def test_contributing_and_ci_check_the_same() -> None:
    ours = CI.replace('"$folder"/', "").replace('"$folder/.venv/', '"').replace('"', "")
    for check in ("ruff check", "ruff format --check", "pyright --pythonpath"):
        assert f"\n.venv/bin/{check}" in ours
        assert f".venv/bin/{check}" in CONTRIBUTING


def test_contributing_has_five_commands() -> None:
    assert len(shell(CONTRIBUTING)) == 5


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
