"""Run a task and read its report: the answer, the changes, the next call.

python examples/run_task.py
"""

from __future__ import annotations

import sys

from mcp import Client
from workbench import Workbench, call, expect, run


async def run_task(bench: Workbench) -> None:
    """Run a task to its end; the report's `state` decides what to do next."""
    async with Client(bench.server()) as client:
        # "script:write" makes the scripted model write a file; a real model gets plain instructions.
        report = await call(client, "run_task", prompt="script:write", permissions="allow")
        while report["state"] == "running":  # it takes longer than `timeout_seconds`
            report = (await call(client, report["next"]["tool"], **report["next"]["arguments"]))["tasks"][0]
        expect(report["state"] == "completed", f"the task is {report['state']}: {report.get('error')}")
        print(f"{report['session_id']} is {report['state']}: {report['answer']}")

        changes = await call(client, "collect_changes", session_id=report["session_id"])
        changed = [f"{file['path']} {file['status']} +{file['additions']}" for file in changes["files"]]
        expect(changed == ["scripted.txt added +1"], f"it changed {changed}")
        expect((bench.project / "scripted.txt").is_file(), "the file does not exist")
        print(f"it changed {', '.join(changed)}")


if __name__ == "__main__":
    sys.exit(run(run_task))
