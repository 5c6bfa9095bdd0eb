"""Drive a real OpenCode through opencode-mcp, step by step, as any MCP client does.

Without --model a scripted model answers, without a key or a network; OpenCode then keeps its data and configuration in
a temporary folder, and yours stay unchanged. With --model it runs your own OpenCode with your configuration, and the
session stays in its history. If OpenCode is not installed, a copy is downloaded.

    python examples/quickstart.py [--model PROVIDER/MODEL] [--directory FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.types import TextContent
from workbench import FILE, LIMIT_SECONDS, LINE, Failed, environment, expect, innermost_error, make_project

CHECKOUT_SECONDS = 60.0
SCRIPTED = "scripted/scripted"
ALL_TOOLS_ENVIRON = {"OPENCODE_MCP_TOOLSETS": "all", "OPENCODE_MCP_MAX_RESULT_CHARS": "1000000000"}
"""Every tool, and results of any length: the history of an OpenCode in use is long."""


@dataclass
class Tour:
    """What the steps share. `session_id` is set by the step that creates the session."""

    client: Client
    project: Path
    model: str
    session_id: str = ""

    async def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool and return its result: an object, or `{"result": …}` for anything else.

        Raises:
            Failed: the tool returned an error; the message is the tool's.
        """
        outcome = await self.client.call_tool(tool, arguments, progress_callback=self.show_progress)
        text = "\n".join(block.text for block in outcome.content if isinstance(block, TextContent))
        if outcome.is_error:
            raise Failed(f"{tool}: {text}")
        return outcome.structured_content or json.loads(text)

    async def show_progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Print a progress message."""
        print(f"          … {message}", flush=True)


async def connect(tour: Tour) -> str:
    """List the tools; the client is connected."""
    tools = (await tour.client.list_tools()).tools
    expect({"session_prompt", "find_text", "worktree_create"} <= {tool.name for tool in tools}, "tools are missing")
    return f"connected over stdio: MCP {tour.client.protocol_version}, {len(tools)} tools"


async def start_opencode(tour: Tour) -> str:
    """Make the first call, which starts OpenCode and downloads it if it is not installed."""
    health = await tour.call("global_health")
    expect(health["healthy"] is True, f"OpenCode is not healthy: {health}")
    return f"OpenCode {health['version']} is running"


async def create_session(tour: Tour) -> str:
    """Create a session in the project."""
    session = await tour.call("session_create", title="opencode-mcp quick start")
    expect(Path(session["directory"]) == tour.project, f"the session is of {session['directory']}")
    tour.session_id = session["id"]
    return f"session {tour.session_id} created"


async def prompt(tour: Tour) -> str:
    """Send a prompt, and wait for the answer."""
    question = "In one short sentence, and without using tools: what is a git worktree?"
    provider, _, model = tour.model.partition("/")
    answer = await tour.call(
        "session_prompt",
        sessionID=tour.session_id,
        model={"providerID": provider, "modelID": model},
        parts=[{"type": "text", "text": question}],
    )
    # When the model fails, the call still returns a message, with the error in it.
    expect("error" not in answer["info"], f"the model failed: {answer['info'].get('error')}")
    text = " ".join(part["text"] for part in answer["parts"] if part["type"] == "text").strip()
    expect(question in text if tour.model == SCRIPTED else bool(text), f"the answer is {text!r}")
    return f"prompt answered by {tour.model}: {text}"


async def search(tour: Tour) -> str:
    """Search the project's text."""
    matches = (await tour.call("find_text", pattern=LINE))["result"]
    found = [(match["path"]["text"], match["line_number"]) for match in matches]
    expect(found == [(FILE, 3)], f"find_text found {found}")
    return f"find_text found {FILE}:3: {matches[0]['lines']['text'].strip()}"


async def use_worktree(tour: Tour) -> str:
    """Create a worktree, check that it has the project's file, and remove it."""
    worktree = await tour.call("worktree_create", name="quickstart")
    folder = anyio.Path(worktree["directory"])
    try:
        with anyio.move_on_after(CHECKOUT_SECONDS):
            while not await (folder / FILE).is_file():  # git checks it out after the answer
                await anyio.sleep(0.1)
        expect(await (folder / FILE).is_file(), f"{folder} has no {FILE} after {CHECKOUT_SECONDS:g} s")
    finally:
        await tour.call("worktree_remove", body={"directory": str(folder)})
    expect(not await folder.exists(), f"the worktree {folder} is still there")
    return f"worktree {worktree['name']} created on branch {worktree['branch']}, and removed"


async def read_history(tour: Tour) -> str:
    """Read the events that OpenCode stores to synchronize sessions."""
    events = (await tour.call("sync_history_list", body={}))["result"]
    own_events = [event for event in events if event["aggregate_id"] == tour.session_id]
    expect(bool(own_events), f"none of {len(events)} events is of the session")
    return f"sync_history_list: {len(events)} events, {len(own_events)} of them of this session"


STEPS = (connect, start_opencode, create_session, prompt, search, use_worktree, read_history)


async def run(model: str | None, project: Path, temporary: Path) -> None:
    """Connect to the server and run the steps."""
    with anyio.fail_after(LIMIT_SECONDS):
        async with environment(model, temporary) as environ:
            server = StdioServerParameters(
                command=sys.executable,
                args=["-m", "opencode_mcp", "--directory", str(project)],
                env={**environ, **ALL_TOOLS_ENVIRON},
            )
            print(f"A real OpenCode, the model {model or SCRIPTED}, the project {project}\n", flush=True)
            start = time.monotonic()
            async with Client(server) as client:
                await run_steps(Tour(client, project, model or SCRIPTED), start)
    print(f"\ndone in {time.monotonic() - start:.1f} s")


async def run_steps(tour: Tour, start: float) -> None:
    """Run each step, and print its result with its duration in seconds."""
    for step in STEPS:
        result = await step(tour)
        print(f"{time.monotonic() - start:6.1f} s  {result}", flush=True)
        start = time.monotonic()


def parse_model(text: str) -> str:
    """Check a --model."""
    provider, _, model = text.partition("/")
    if not provider or not model:
        raise argparse.ArgumentTypeError("must be PROVIDER/MODEL, as OpenCode names it")
    return text


def main() -> int:
    """Run; return 0 if every step passed, else 1."""
    parser = argparse.ArgumentParser(description="Drive a real OpenCode through opencode-mcp, step by step.")
    parser.add_argument("--model", type=parse_model, help="PROVIDER/MODEL of your OpenCode (default: a scripted one)")
    parser.add_argument("--directory", type=Path, help="new or empty folder for the project (default: temporary)")
    options = parser.parse_args()
    try:
        # OpenCode may still write its last files while the folder is removed.
        with tempfile.TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as name:
            temporary = Path(name).resolve()
            project = make_project((options.directory or temporary / "project").resolve())
            anyio.run(run, options.model, project, temporary)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        cause = innermost_error(error)
        sys.stdout.flush()
        print(f"\nFAILED: {cause if isinstance(cause, Failed) else repr(cause)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
