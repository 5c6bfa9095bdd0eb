"""`opencode-mcp completion`: the scripts, in the shells that are on this machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from opencode_mcp.cli.completion_scripts import SHELLS
from opencode_mcp.cli.main import COMMANDS

from .command_process import run_command

pytestmark = pytest.mark.anyio

INSTALLED_SHELLS = [shell for shell in SHELLS if shutil.which(shell)]

COMPLETE_SCRIPTS = {
    "bash": """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _opencode_mcp
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { :; }
        _describe() { for one in ${(P)2}; do print -r -- ${one%%:*}; done }
        compset() { kept=${words[CURRENT]%${words[CURRENT]##${~2}}}; }
        compadd() { while [[ $1 != -- ]]; do shift; done; shift; for one in "$@"; do print -r -- "$kept$one"; done }
        _files() { :; }
        source "$1"; shift
        words=("$@"); CURRENT=$#
        _opencode_mcp
    """,
    "fish": """
        set script $argv[1]; source $script
        complete --do-complete="$(string join -- ' ' $argv[2..])" | string replace --regex '\\t.*' ''
    """,
}
"""What a shell does at the tab key, without a terminal; zsh's own functions for it need one."""


@pytest.fixture(scope="module")
async def scripts(module_environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a script for each shell."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        done = await run_command(module_environ, "completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        (folder / shell).write_text(done.stdout)
    return folder


@pytest.fixture(params=INSTALLED_SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """A shell of this machine."""
    return request.param


def complete(scripts: Path, shell: str, *words: str) -> set[str]:
    """What a shell offers in place of the last word: words that begin so."""
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    rest = [] if shell == "fish" else [shell]
    command = [shell, *flags, "-c", COMPLETE_SCRIPTS[shell], *rest, str(scripts / shell), "opencode-mcp", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=scripts, timeout=60)
    assert done.stderr == ""
    return {line for line in done.stdout.splitlines() if line.startswith(words[-1]) and line}


def test_bash_is_installed() -> None:
    """Else nothing below would be tried."""
    assert "bash" in INSTALLED_SHELLS


def test_bash_registers_the_function(scripts: Path) -> None:
    """`complete -p` knows the command after the script was sourced as README says."""
    command = ["bash", "--norc", "-c", f"source <(cat '{scripts / 'bash'}'); complete -p opencode-mcp"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.stdout.strip() == "complete -o default -F _opencode_mcp opencode-mcp"


def test_commands_are_completed(scripts: Path, shell: str) -> None:
    """All of them, and only those that begin as what was typed; after flags too."""
    assert complete(scripts, shell, "do") == {"doctor"}
    assert complete(scripts, shell, "") >= {*COMMANDS}
    assert complete(scripts, shell, "--directory", "/tmp", "--read-only", "c") == {"call", "completion"}


def test_flags_are_those_of_the_command(scripts: Path, shell: str) -> None:
    """Settings everywhere, and what only one command has."""
    assert complete(scripts, shell, "--tool") == {"--toolsets", "--tools"}
    assert "--port" in complete(scripts, shell, "http", "--p")
    assert complete(scripts, shell, "tools", "--p") == set()


def test_tool_names_are_completed_for_the_commands_that_take_one(scripts: Path, shell: str) -> None:
    """The first word after the command, and no other."""
    assert complete(scripts, shell, "call", "run_t") == {"run_task", "run_tasks"}
    assert complete(scripts, shell, "tools", "--json", "find_te") == {"find_text"}
    assert complete(scripts, shell, "call", "run_task", "run_t") == set()
    assert complete(scripts, shell, "doctor", "run_t") == set()


def test_values_are_completed_where_they_are_known(scripts: Path, shell: str) -> None:
    """Those of a flag, and those of a command's first argument."""
    assert complete(scripts, shell, "--log-level", "de") == {"debug"}
    assert complete(scripts, shell, "completion", "") >= {"bash", "zsh", "fish"}


def test_a_list_of_toolsets_or_tools_is_completed_after_its_last_comma(scripts: Path, shell: str) -> None:
    assert complete(scripts, shell, "--toolsets", "es") == {"essential"}
    assert complete(scripts, shell, "--toolsets", "tasks,fi") == {"tasks,file", "tasks,find"}
    assert complete(scripts, shell, "stdio", "--tools", "run_task,find_te") == {"run_task,find_text"}
    assert "all" in complete(scripts, shell, "tools", "--toolsets", "")


def test_the_arguments_of_a_tool_are_completed_after_its_name(scripts: Path, shell: str) -> None:
    """For `call` alone, and before and after another argument."""
    assert complete(scripts, shell, "call", "run_task", "perm") == {"permissions="}
    assert complete(scripts, shell, "call", "--read-only", "find_text", "pattern=x", "pat") == {"pattern="}
    assert {"prompt=", "worktree="} <= complete(scripts, shell, "call", "run_task", "prompt=x", "")
    assert complete(scripts, shell, "tools", "run_task", "perm") == set()


def test_the_values_of_an_argument_are_completed_where_they_are_known(scripts: Path, shell: str) -> None:
    """Those of an enumeration and of a boolean."""
    assert complete(scripts, shell, "call", "answer_permission", "reply=") == {
        "reply=always",
        "reply=once",
        "reply=reject",
    }
    assert complete(scripts, shell, "call", "run_task", "prompt=x", "worktree=t") == {"worktree=true"}
    assert complete(scripts, shell, "call", "run_task", "prompt=t") == set()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("call", "run_task", "worktree", "="), {"true", "false"}),
        (("call", "run_task", "worktree", "=", "t"), {"true"}),
        (("--log-level", "=", "de"), {"debug"}),
        (("--log-level", "=", "debug", "call", "run_task", "perm"), {"permissions="}),
    ],
)
def test_bash_completes_words_that_it_splits_at_the_equals_sign(
    scripts: Path, words: tuple[str, ...], offered: set[str]
) -> None:
    script = COMPLETE_SCRIPTS["bash"]
    command = ["bash", "--norc", "-c", script, "bash", str(scripts / "bash"), "opencode-mcp", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.stderr == ""
    assert set(done.stdout.splitlines()) == offered


async def test_an_unknown_shell_is_wrong_usage(environ: Mapping[str, str]) -> None:
    """The known ones are named."""
    done = await run_command(environ, "completion", "tcsh")

    assert done.returncode == 2
    assert "fish" in done.stderr
