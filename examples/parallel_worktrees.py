"""Run several tasks at once, each in its own git worktree, and merge their changes into the project.

python examples/parallel_worktrees.py
"""

from __future__ import annotations

import json
import sys

from mcp import Client
from workbench import Workbench, call, expect, run

COLOURS = ("red", "green", "blue")


def prompt(colour: str) -> str:
    """Return a prompt that makes the scripted model run a command; a real model gets plain instructions."""
    return f"script:tool bash {json.dumps({'command': f'echo {colour} > {colour}.txt', 'description': 'Paint'})}"


async def parallel_worktrees(bench: Workbench) -> None:
    """Run three tasks, check that the project is unchanged, and collect their changes."""
    async with Client(bench.server()) as client:
        tasks = [{"prompt": prompt(colour), "permissions": "allow"} for colour in COLOURS]
        reports = (await call(client, "run_tasks", tasks=tasks, timeout_seconds=600))["tasks"]
        states = [report["state"] for report in reports]
        expect(states == ["completed"] * len(COLOURS), f"the tasks are {states}")
        folders = {report["directory"] for report in reports}
        expect(len(folders) == len(COLOURS) and str(bench.project) not in folders, f"they worked in {folders}")
        expect(not [*bench.project.glob("*.txt")], "a task wrote into the project")
        print(f"{len(reports)} tasks completed, each in its own worktree")

        for report in reports:
            session = report["session_id"]
            changes = await call(client, "collect_changes", session_id=session, apply=True, discard=True)
            expect(changes["applied_to"] == str(bench.project), f"applied to {changes['applied_to']}")
    for colour in COLOURS:
        expect((bench.project / f"{colour}.txt").read_text() == f"{colour}\n", f"{colour}.txt is wrong")
    print(f"collected: {', '.join(sorted(path.name for path in bench.project.glob('*.txt')))}")


if __name__ == "__main__":
    sys.exit(run(parallel_worktrees))
