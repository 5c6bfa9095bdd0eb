"""Drive a terminal (PTY) call by call: send input, read the output, continue from the cursor.

python examples/drive_terminal.py
"""

from __future__ import annotations

import sys

from mcp import Client
from workbench import Workbench, call, expect, run


async def drive_terminal(bench: Workbench) -> None:
    """Set a variable in one call, use it in the next: both reach the same shell."""
    async with Client(bench.server("--toolsets", "all")) as client:
        pty = (await call(client, "pty_create", command="/bin/sh", title="example"))["id"]
        print(f"terminal {pty} is open")

        # The terminal echoes the input, so `until` must not occur in it: the shell joins the two words.
        screen = await call(client, "pty_connect", ptyID=pty, input='who=world; echo "rea""dy"\n', until="ready")
        expect(screen["ended"] == "until", f"the shell did not answer: {screen}")

        answer = await call(
            client, "pty_connect", ptyID=pty, cursor=screen["cursor"], input='echo "hello $who"\n', until="hello world"
        )
        expect(answer["ended"] == "until" and "ready" not in answer["output"], f"the shell answered {answer}")
        print("the shell remembers: hello world")

        await call(client, "pty_remove", ptyID=pty)
        remaining = [terminal["id"] for terminal in (await call(client, "pty_list"))["result"]]
        expect(pty not in remaining, f"the terminals {remaining} are left")
        print("closed")


if __name__ == "__main__":
    sys.exit(run(drive_terminal))
