"""examples/frameworks, as a person runs them: an agent of each framework has OpenCode write a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest

from examples.scripted_model import ScriptedModel
from tests import npm, pypi
from tests.conftest import make_project

pytestmark = [pytest.mark.clients, pytest.mark.anyio]

EXAMPLES = Path(__file__).parents[2] / "examples" / "frameworks"
TYPESCRIPT = EXAMPLES / "typescript_sdk.mjs"
PROMPT = 'script:tool run_task {"prompt": "script:write", "permissions": "allow"}'
CODE = """<code>
report = run_task(prompt="script:write", permissions="allow")
final_answer(report["state"])
</code>"""
ANSWER = "done: tool"
FRAMEWORKS = {
    "openai_agents": ("sdk2", PROMPT, ANSWER),
    "langchain_agent": ("sdk1", PROMPT, ANSWER),
    "pydantic_ai_agent": ("sdk2", PROMPT, ANSWER),
    "google_adk": ("sdk1", PROMPT, ANSWER),
    "microsoft_agent_framework": ("sdk2", PROMPT, ANSWER),
    # Its model writes code in place of calls.
    "smolagents_agent": ("sdk1", f"script:say {quote(CODE)}", "completed"),
}
"""By the name of the example: the environment with the framework, what the agent is told, and its answer."""


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_an_agent_of_a_framework_has_opencode_do_a_task(
    attached_environ: Mapping[str, str], model: ScriptedModel, tmp_path: Path, name: str
) -> None:
    """It prints its answer, and the file is there."""
    environment, prompt, answer = FRAMEWORKS[name]
    project = make_project(tmp_path / "project", attached_environ)
    python = pypi.install_environment("converters", Path(__file__).parent / "converters" / f"{environment}.txt")
    environ = {
        **attached_environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), attached_environ["PATH"]]),
        "OPENAI_BASE_URL": model.url,
        "OPENAI_API_KEY": "scripted",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
    }
    command = [str(python), str(EXAMPLES / f"{name}.py"), "scripted", str(project), prompt]
    done = await anyio.run_process(command, env=environ, cwd=tmp_path, check=False)

    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines()[-1:] == [answer]
    assert (project / "scripted.txt").exists()


async def test_a_client_of_the_typescript_sdk_has_opencode_do_a_task(
    attached_environ: Mapping[str, str], tmp_path: Path
) -> None:
    """It prints the state, and the file is there; on stderr is the progress."""
    project = make_project(tmp_path / "project", attached_environ)
    (tmp_path / "node_modules").symlink_to(npm.install_packages("typescript-sdk", (npm.TYPESCRIPT_SDK,)))
    program = tmp_path / TYPESCRIPT.name
    program.write_bytes(TYPESCRIPT.read_bytes())  # Node looks for packages beside the file
    path = os.pathsep.join([str(Path(sys.executable).parent), attached_environ["PATH"]])
    command = ["node", str(program), str(project), "script:write"]
    done = await anyio.run_process(command, env={**attached_environ, "PATH": path}, cwd=tmp_path, check=False)

    assert (done.returncode, done.stdout.decode()) == (0, "completed\n"), done.stderr.decode()
    assert "write" in done.stderr.decode()
    assert (project / "scripted.txt").exists()


def test_every_example_of_a_framework_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*FRAMEWORKS}
    assert [*EXAMPLES.glob("*.mjs")] == [TYPESCRIPT]
