"""The async client without MCP: OpenCode's operations as Python methods with type stubs.

python examples/python_client.py
"""

from __future__ import annotations

import sys

from workbench import FILE, LINE, Workbench, expect, run

from opencode_mcp import APIError, InvalidArguments, OpenCode


async def python_client(bench: Workbench) -> None:
    """Start OpenCode, prompt it, read its events, and stop it."""
    async with OpenCode(directory=bench.project, environ=bench.environ) as opencode:
        session = await opencode.session.create(title="from Python")
        expect(session["directory"] == str(bench.project), f"the session is of {session['directory']}")

        # The scripted model repeats the prompt.
        reply = await opencode.session.prompt(sessionID=session["id"], parts=[{"type": "text", "text": "good morning"}])
        text = " ".join(part["text"] for part in reply["parts"] if part["type"] == "text")
        expect("good morning" in text, f"the answer is {text!r}")
        print(f"session.prompt: {text}")

        matches = await opencode.find.text(pattern=LINE)
        expect([match["line_number"] for match in matches] == [3], f"find.text gave {matches}")
        print(f"find.text: {FILE}:3")

        async with opencode.events() as events:
            await opencode.session.update(sessionID=session["id"], title="renamed")
            async for event in events:
                if event["type"] == "session.updated" and event["properties"]["info"]["title"] == "renamed":
                    break
        print("events: session.updated")

        page = await opencode.answer("session_messages", sessionID=session["id"], limit=1)
        expect(len(page.value) == 1 and "next_cursor" in page.fields, f"session_messages gave {page}")
        await handle_errors(opencode)


async def handle_errors(opencode: OpenCode) -> None:
    """Handle the errors: invalid arguments are rejected before anything is sent."""
    try:
        await opencode.session.get(sessionID="nonsense")
    except InvalidArguments as error:
        print(f"InvalidArguments: {error.problems[0]}")
    else:
        expect(False, "an invalid id was sent")
    try:
        await opencode.call("session_get", sessionID="ses_unknown")
    except APIError as error:
        expect(error.status == 404, f"the error is {error}")
        print(f"APIError: {error.status} {error.message}")
    else:
        expect(False, "an unknown session was found")


if __name__ == "__main__":
    sys.exit(run(python_client))
