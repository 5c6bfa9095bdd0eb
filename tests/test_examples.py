"""The examples, run as a person runs them: each a process of its own, judged by what it prints and leaves."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from tests.eventually import eventually

EXAMPLES = Path(__file__).parents[1] / "examples"
QUICKSTART = EXAMPLES / "quickstart.py"
HELPERS = {"__init__.py", "scripted_model.py", "workbench.py"}
SESSION, WORKSPACE = r"ses_\w+", r"wrk_\w+"
EXPECTED_OUTPUT: dict[str, tuple[str, ...]] = {
    "run_task.py": (
        rf"{SESSION} is completed: done: write",
        r"it changed scripted\.txt added \+1",
    ),
    "answer_permission.py": (
        r"2026-07-28: OpenCode asks for permission: bash: touch allowed\.txt.*",
        r"allowed once: allowed\.txt is there",
    ),
    "answer_permission.py --era 2025-11-25": (
        r"2025-11-25: OpenCode asks for permission: bash: touch allowed\.txt.*",
        r"allowed once: allowed\.txt is there",
    ),
    "watch_session.py": (
        rf"opencode://session/{SESSION}/transcript was updated, and read: the prompt and its answer are in it",
    ),
    "parallel_worktrees.py": (
        r"3 tasks completed, each in its own worktree",
        r"collected: blue\.txt, green\.txt, red\.txt",
    ),
    "drive_terminal.py": (r"terminal pty_\w+ is open", r"the shell remembers: hello world", r"closed"),
    "sync_sessions.py": (
        rf"workspaces {WORKSPACE} and {WORKSPACE}, session {SESSION}",
        r"history: [2-9] events, from session\.created\.1 on",
        r"replayed: known events are not applied twice",
        rf"{WORKSPACE} has the session",
        rf"{WORKSPACE} has the session",
    ),
    "serve_http.py": (
        r"/hello: hello from the application",
        rf"/opencode/mcp: \d+ tools, session {SESSION} created",
    ),
    "python_client.py": (
        r"session\.prompt: Hello from the scripted model\. good morning",
        r"find\.text: README\.md:3",
        r"events: session\.updated",
        r"InvalidArguments: sessionID: .*nonsense.*",
        r"APIError: 404 Session not found: ses_unknown",
    ),
}
"""What each example prints, line by line; it has checked it before."""
STEPS = (
    r"A real OpenCode, the model scripted/scripted, the project /\S+",
    r" +\d+\.\d s  connected over stdio: MCP 2026-07-28, (\d+) tools",
    r" +\d+\.\d s  OpenCode \d+\.\d+\.\d+ is running",
    r" +\d+\.\d s  session ses_\w+ created",
    r" +\d+\.\d s  prompt answered by scripted/scripted: Hello from the scripted model\. .*what is a git worktree\?",
    r" +\d+\.\d s  find_text found README\.md:3: A line for the search to find\.",
    r" +\d+\.\d s  worktree \S+ created on branch opencode/\S+, and removed",
    r" +\d+\.\d s  sync_history_list: \d+ events, [1-9]\d* of them of this session",
    r"done in \d+\.\d s",
)


@pytest.fixture
def folders(tmp_path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """An environment with a home and a folder for temporary files of its own."""
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    return {**environ, "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}


def run_quickstart(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the quick start."""
    return run_example(environ, QUICKSTART, *arguments)


def run_example(environ: Mapping[str, str], program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example from a folder that is not the clone's."""
    return subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=environ["HOME"],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=300,
    )


async def check_nothing_left(temporary: Path) -> None:
    """See that the folders of the example and of its OpenCode go; the client does not wait for the latter."""
    await eventually(lambda: [*temporary.glob("opencode-mcp-*")], until=lambda left: not left)


def test_the_quickstart_prints_every_step_with_its_result(folders: dict[str, str]) -> None:
    done = run_quickstart(folders)

    assert (done.returncode, done.stderr) == (0, "")
    assert "          … OpenCode: starting\n" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line and "…" not in line]
    assert len(lines) == len(STEPS), done.stdout
    found = [re.fullmatch(expected, line) for expected, line in zip(STEPS, lines, strict=True)]
    assert all(found), done.stdout
    assert found[1] is not None
    assert int(found[1][1]) >= 188


@pytest.mark.slow
def test_the_quickstart_leaves_only_the_requested_project(folders: dict[str, str], tmp_path: Path) -> None:
    done = run_quickstart(folders, "--directory", str(tmp_path / "asked"))

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "asked").iterdir()) == [".git", "README.md"]
    anyio.run(check_nothing_left, tmp_path / "temporary")
    assert {path.name for path in (tmp_path / "home").iterdir()} <= {".cache"}


def test_the_quickstart_fails_when_opencode_does_not_start(folders: dict[str, str]) -> None:
    done = run_quickstart({**folders, "OPENCODE_MCP_COMMAND": "/nonexistent/opencode"})

    assert done.returncode == 1
    assert "FAILED: global_health: " in done.stderr
    assert "/nonexistent/opencode" in done.stderr
    assert "is running" not in done.stdout
    assert "done" not in done.stdout


def test_a_folder_that_is_not_empty_is_not_touched(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")

    done = run_quickstart(folders, "--directory", str(tmp_path / "mine"))

    assert done.returncode == 1
    assert done.stderr == f"\nFAILED: {tmp_path / 'mine'} is not an empty folder\n"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]


def test_a_model_without_its_provider_is_wrong_usage(folders: dict[str, str]) -> None:
    done = run_quickstart(folders, "--model", "scripted")

    assert done.returncode == 2
    assert "PROVIDER/MODEL" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", EXPECTED_OUTPUT)
def test_an_example_prints_its_documented_output(folders: dict[str, str], command: str) -> None:
    """It ends well, with nothing on stderr, and leaves nothing behind."""
    name, *arguments = command.split()

    done = run_example(folders, EXAMPLES / name, *arguments)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert len(lines) == len(EXPECTED_OUTPUT[command]), done.stdout
    assert all(map(re.fullmatch, EXPECTED_OUTPUT[command], lines)), done.stdout
    anyio.run(check_nothing_left, Path(folders["TMPDIR"]))


def test_an_example_fails_when_a_check_fails(folders: dict[str, str]) -> None:
    """Its exit code is 1, and the reason is on stderr."""
    done = run_example({**folders, "OPENCODE_MCP_COMMAND": "/nonexistent/opencode"}, EXAMPLES / "run_task.py")

    assert done.returncode == 1
    assert done.stderr.startswith("\nFAILED: run_task: ")


def test_every_example_is_run_and_is_short() -> None:
    """At most 120 lines, apart from the quick start; what they share is a module of its own."""
    programs = {path.name for path in EXAMPLES.glob("*.py")} - HELPERS - {QUICKSTART.name}

    assert programs == {command.split()[0] for command in EXPECTED_OUTPUT}
    assert {name for name in programs if len((EXAMPLES / name).read_text().splitlines()) > 120} == set()
