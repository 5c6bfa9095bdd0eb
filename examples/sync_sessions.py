"""The history that sessions are kept in: list it, replay it, and let a workspace take a session over.

A workspace is a place that sessions work in, here a git worktree. OpenCode keeps each session as a list of
events; whoever has them can replay them, and a workspace that steals a session goes on with it.

    python examples/sync_sessions.py
"""

from __future__ import annotations

import sys

from mcp import Client
from workbench import Workbench, call, expect, run


async def sync_sessions(bench: Workbench) -> None:
    """Make a session, read and replay its history, and move it between two workspaces."""
    async with Client(bench.server("--toolsets", "all", "--max-result-chars", "1000000000")) as client:
        workspaces = [await call(client, "experimental_workspace_create", type="worktree", branch=None) for _ in "ab"]
        first, second = (workspace["id"] for workspace in workspaces)
        session = (await call(client, "session_create", title="new"))["id"]
        await call(client, "session_update", sessionID=session, title="on the move")
        print(f"workspaces {first} and {second}, session {session}")

        listed = (await call(client, "sync_history_list", body={}))["result"]
        history = [event for event in listed if event["aggregate_id"] == session]
        expect([event["seq"] for event in history] == [*range(len(history))], f"the history is {history}")
        later = (await call(client, "sync_history_list", body={session: history[-1]["seq"]}))["result"]
        expect(session not in {event["aggregate_id"] for event in later}, f"{later} came after the last event")
        print(f"history: {len(history)} events, from {history[0]['type']} on")

        events = [
            {"id": one["id"], "aggregateID": session, "seq": one["seq"], "type": one["type"], "data": one["data"]}
            for one in history
        ]
        replayed = await call(client, "sync_replay", body={"directory": str(bench.project), "events": events})
        expect(replayed["sessionID"] == session, f"the replay gave {replayed}")
        print("replayed: nothing that is known happens twice")

        for workspace in (first, second):
            await call(client, "sync_steal", sessionID=session, workspace=workspace)
            owner = (await call(client, "session_get", sessionID=session)).get("workspaceID")
            expect(owner == workspace, f"the session belongs to {owner}")
            print(f"{workspace} has the session")

        for workspace in (first, second):
            await call(client, "experimental_workspace_remove", id=workspace)
        left = (await call(client, "experimental_workspace_list"))["result"]
        expect(left == [], f"the workspaces {left} are left")


if __name__ == "__main__":
    sys.exit(run(sync_sessions))
