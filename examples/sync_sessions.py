"""The event history of sessions: list it, replay it, and move a session to another workspace.

A workspace is a directory that sessions work in, here a git worktree. OpenCode stores each session as a list of events.
A client that has the events can replay them, and a workspace that steals a session continues it.

    python examples/sync_sessions.py
"""

from __future__ import annotations

import sys

from mcp import Client
from workbench import Workbench, call, expect, run


async def sync_sessions(bench: Workbench) -> None:
    """Create a session, read and replay its history, and move it between two workspaces."""
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
            {
                "id": event["id"],
                "aggregateID": session,
                "seq": event["seq"],
                "type": event["type"],
                "data": event["data"],
            }
            for event in history
        ]
        replayed = await call(client, "sync_replay", body={"directory": str(bench.project), "events": events})
        expect(replayed["sessionID"] == session, f"the replay gave {replayed}")
        print("replayed: known events are not applied twice")

        for workspace in (first, second):
            await call(client, "sync_steal", sessionID=session, workspace=workspace)
            owner = (await call(client, "session_get", sessionID=session)).get("workspaceID")
            expect(owner == workspace, f"the session belongs to {owner}")
            print(f"{workspace} has the session")

        for workspace in (first, second):
            await call(client, "experimental_workspace_remove", id=workspace)
        remaining = (await call(client, "experimental_workspace_list"))["result"]
        expect(remaining == [], f"the workspaces {remaining} are left")


if __name__ == "__main__":
    sys.exit(run(sync_sessions))
