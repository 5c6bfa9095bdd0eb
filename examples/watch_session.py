"""Watch a session: subscribe to its transcript, and read it again after each update notification.

python examples/watch_session.py
"""

from __future__ import annotations

import sys

import anyio
from mcp import Client
from mcp.types import TextResourceContents
from workbench import Workbench, call, expect, run

PROMPT = "good morning"


async def read_transcript(client: Client, uri: str) -> str:
    """Read the resource."""
    contents = (await client.read_resource(uri)).contents
    return "".join(content.text for content in contents if isinstance(content, TextResourceContents))


async def watch_session(bench: Workbench) -> None:
    """Prompt a session while watching it, until the transcript has the answer."""
    async with Client(bench.server()) as client:
        session = (await call(client, "session_create", title="watched"))["id"]
        uri = f"opencode://session/{session}/transcript"
        text, updates = await read_transcript(client, uri), 0
        expect(PROMPT not in text, "the prompt is in the transcript before it was sent")

        async with client.listen(resource_subscriptions=[uri]) as changes, anyio.create_task_group() as tasks:
            parts = [{"type": "text", "text": PROMPT}]
            tasks.start_soon(lambda: call(client, "session_prompt", sessionID=session, parts=parts))
            async for _ in changes:
                updates += 1
                text = await read_transcript(client, uri)
                # The scripted model repeats the prompt.
                if text.count(PROMPT) == 2:
                    break

    expect(updates > 0, "no update arrived")
    print(f"{uri} was updated, and read: the prompt and its answer are in it")


if __name__ == "__main__":
    sys.exit(run(watch_session))
