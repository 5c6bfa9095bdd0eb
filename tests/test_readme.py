"""README.md and the pages in docs agree with the package."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import mcp_types as types
import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.cli import main
from opencode_mcp.cli.clients import CLIENTS
from opencode_mcp.cli.clients.known_clients import COMMON_CLIENTS
from opencode_mcp.cli.main import COMMANDS
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode.process.registration import VOLATILE_PREFIXES, VOLATILE_VARIABLES
from opencode_mcp.settings import SETTINGS
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools import ToolRegistry, select_tools
from tests.tiers import TIERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
DOCS = {page.stem: page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))}
TESTS = "-m 'unit or opencode or process'"
"""How the second command ends."""


def shell_blocks(markdown: str) -> list[str]:
    """Every command of a text's shell blocks, comments apart."""
    blocks = re.findall(r"^```sh\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def split_steps(command: str) -> list[str]:
    """The commands that && joins."""
    return command.split(" && ")


def find_command(markdown: str, ending: str) -> str:
    """The one command that ends so."""
    (found,) = [line for line in shell_blocks(markdown) if line.endswith(ending)]
    return found


def test_both_commands_start_in_the_clone_with_their_own_virtual_environment() -> None:
    for ending in ("examples/quickstart.py", TESTS):
        assert split_steps(find_command(README, ending))[0] == "python3 -m venv .venv"


def test_contributing_has_the_same_commands() -> None:
    """Both pages name the whole test run and the first task in the same words."""
    assert split_steps(find_command(README, TESTS))[-1] in shell_blocks(CONTRIBUTING)
    assert split_steps(find_command(README, "examples/quickstart.py"))[-1] in shell_blocks(CONTRIBUTING)


def test_contributing_names_every_tier() -> None:
    """A contributor finds how to run each."""
    assert {tier for tier in TIERS if f"`{tier}`" not in CONTRIBUTING} == set()


@pytest.mark.usefixtures("spawns")
def test_the_generated_blocks_are_up_to_date() -> None:
    """Entries of clients, settings and tools; `python scripts/write_readme.py` writes them anew."""
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
def test_the_comparison_has_current_figures(toolset: str) -> None:
    catalog = Catalog.from_snapshot()
    tools = ToolRegistry(catalog, select_tools(catalog, [toolset]), 40_000).listed
    answer = types.ListToolsResult(tools=tools).model_dump_json(by_alias=True, exclude_none=True)

    assert f" | {len(tools)} | {len(answer.encode()):,} | " in DOCS["comparison"]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_readme_installs_from_a_clone_until_there_is_a_release() -> None:
    """What stands first works today; what the release will need is beside it."""
    commands = shell_blocks(README)[:3]

    assert commands[0] == "python3 -m venv .venv && .venv/bin/pip install -e ."
    assert commands[1] == 'claude mcp add opencode -- "$PWD/.venv/bin/opencode-mcp"'
    assert commands[2] == ".venv/bin/opencode-mcp install CLIENT"
    assert "`claude mcp add opencode -- uvx opencode-mcp`" in README


def test_the_readme_has_a_section_for_each_other_common_client() -> None:
    """A collapsed one, with the entry of the published package."""
    summaries: list[str] = re.findall(r"<details><summary><b>([^<]+)</b>", README)

    assert summaries == [client.title for client in COMMON_CLIENTS.values() if client.name != "claude-code"]
    assert README.count('"opencode-mcp", "--toolsets", "essential"]') == len(summaries)


def test_the_page_about_clients_has_a_section_for_each() -> None:
    assert re.findall(r"^### (.+)$", DOCS["clients"], re.MULTILINE) == [client.title for client in CLIENTS.values()]


@pytest.mark.parametrize("page", ["README", "tasks"])
def test_every_task_tool_has_its_row(page: str) -> None:
    """In the order in which they are listed."""
    text = README if page == "README" else DOCS[page].partition("\n## States\n")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| \w", text, re.MULTILINE)

    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(TASK_TOOLS)


def test_the_settings_table_matches_the_settings() -> None:
    table = re.findall(r"^\| (?:`(--[a-z-]+)`)? ?\| `([A-Z_]+)` \| (.*) \|$", DOCS["settings"], re.MULTILINE)
    documented = {(flag, variable) for flag, variable, _ in table}
    actual = {(setting.flag, setting.variable) for setting in SETTINGS}

    assert documented == actual
    assert len(table) == len(actual)


def test_every_flag_that_a_page_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
    known = find_flags(capsys.readouterr().out) | {
        "--model",
        "--from",
        "--continue",
    }  # of the quick start, uvx and Claude Code
    others = {"performance", "reliability"}  # they name flags of pytest, the benchmarks and the MCP inspector
    pages = {"README": README, **{name: text for name, text in DOCS.items() if name not in others}}
    prose = {name: re.sub(r"^```sh\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL) for name, text in pages.items()}

    assert {name: find_flags(text) - known for name, text in prose.items() if not find_flags(text) <= known} == {}


def find_flags(text: str) -> set[str]:
    """The flags in a text."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def test_every_operation_that_a_page_names_exists() -> None:
    text = "\n".join([README, *DOCS.values()])
    names = set(re.findall(r"`((?:v2_)?(?:session|event|global|pty|find|worktree|sync)_\w+)`", text))

    assert names - {"session_id", "session_ids"} <= set(Catalog.from_snapshot())
    assert {"session_prompt", "pty_connect", "event_subscribe"} <= names
    assert f"`opencode-ai` {SNAPSHOT_VERSION}" in DOCS["settings"]
    assert f"the {len(Catalog.from_snapshot())} operations" in README


def test_every_command_of_the_page_about_reliability_selects_a_test() -> None:
    names = re.findall(
        r"^(?:async )?def (test_\w+)", "\n".join(map(Path.read_text, ROOT.glob("tests/**/*.py"))), re.MULTILINE
    )
    selected = set(re.findall(r"pytest [^`]*-k (\w+)", DOCS["reliability"]))

    assert len(selected) > 4
    assert [word for word in selected if not any(word in name for name in names)] == []


def test_the_constraints_pin_each_package_exactly() -> None:
    lines = (ROOT / "constraints-dev.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]

    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9.]+((b|post)[0-9]+)?", pin)] == []
    assert {"pytest", "hypothesis", "ruff", "pyright", "mcp", "httpx2"} <= {pin.partition("==")[0] for pin in pins}


def test_every_module_that_contributing_names_exists() -> None:
    """Paths are below the package, or below the clone."""
    paths = set(re.findall(r"`([\w.-]+/[\w./-]*)`", CONTRIBUTING))
    roots = (ROOT, ROOT / "opencode_mcp")

    assert len(paths) > 20
    assert not [path for path in sorted(paths) if not any((root / path).exists() for root in roots)]


def test_the_page_on_sharing_lists_the_variables_that_do_not_keep_bridges_apart() -> None:
    listed = DOCS["sharing"].partition("These variables do not matter either")[2].split("\n\n")[1]
    assert {*re.findall("`([^`]+)`", listed)} == {*VOLATILE_VARIABLES, *(f"{prefix}…" for prefix in VOLATILE_PREFIXES)}
