"""Watch a session: subscribe to its transcript, and read it again whenever the server says that it has changed.

python examples/watch_session.py
"""

from __future__ import annotations

import sys

import anyio
from mcp import Client
from mcp.types import TextResourceContents
from workbench import Workbench, call, expect, run

WORDS = "good morning"


async def transcript(client: Client, uri: str) -> str:
    """Read the resource."""
    contents = (await client.read_resource(uri)).contents
    return "".join(one.text for one in contents if isinstance(one, TextResourceContents))


async def watch_session(bench: Workbench) -> None:
    """Prompt a session that is watched, until the watcher has read the answer."""
    async with Client(bench.server()) as client:
        session = (await call(client, "session_create", title="watched"))["id"]
        uri = f"opencode://session/{session}/transcript"
        text, updates = await transcript(client, uri), 0
        expect(WORDS not in text, "it is in the transcript before it was said")

        async with client.listen(resource_subscriptions=[uri]) as changes, anyio.create_task_group() as tasks:
            parts = [{"type": "text", "text": WORDS}]
            tasks.start_soon(lambda: call(client, "session_prompt", sessionID=session, parts=parts))
            async for _ in changes:
                updates += 1
                text = await transcript(client, uri)
                # The scripted model repeats the prompt.
                if text.count(WORDS) == 2:
                    break

    expect(updates > 0, "no update came")
    print(f"{uri} was updated, and read: the prompt and its answer are in it")


if __name__ == "__main__":
    sys.exit(run(watch_session))
