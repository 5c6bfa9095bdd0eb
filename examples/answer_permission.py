"""A client that answers a permission request of OpenCode during a tool call (MCP elicitation).

Up to protocol version 2025-11-25 the server sends the request while the call is open. Since 2026-07-28 the call returns
the request, and the client repeats the call with the response. The SDK's client does that itself: the code is the same.

    python examples/answer_permission.py [--era 2025-11-25]
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from typing import Literal

from mcp import Client
from mcp.client import ClientRequestContext
from mcp.types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult
from workbench import Workbench, call, expect, run

CLIENT_MODES: dict[str, Literal["legacy", "auto"]] = {"2025-11-25": "legacy", "2026-07-28": "auto"}
COMMAND = {"command": "touch allowed.txt", "description": "Make a file"}


async def answer_permission(protocol_version: str, bench: Workbench) -> None:
    """Run a task that needs permission for a command, and allow it once."""
    created_file = bench.project / "allowed.txt"
    (bench.project / "opencode.json").write_text('{"permission": {"bash": "ask"}}')
    messages: list[str] = []

    async def allow_once(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """Accept; a real client shows its user the message and the form."""
        expect(isinstance(params, ElicitRequestFormParams) and not created_file.exists(), "the command ran too early")
        messages.append(params.message)
        return ElicitResult(action="accept", content={"reply": "once"})

    async with Client(bench.server(), mode=CLIENT_MODES[protocol_version], elicitation_callback=allow_once) as client:
        expect(client.protocol_version == protocol_version, f"the server speaks {client.protocol_version}")
        prompt = f"script:tool bash {json.dumps(COMMAND)}"
        report = await call(client, "run_task", prompt=prompt, permissions="ask", timeout_seconds=600)

    expect(len(messages) == 1 and COMMAND["command"] in messages[0], f"it asked {messages}")
    print(f"{protocol_version}: {messages[0]}")
    expect(report["state"] == "completed", f"the task is {report['state']}: {report.get('error')}")
    expect(created_file.is_file(), "the command was allowed and did not run")
    print("allowed once: allowed.txt is there")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Answer a permission request of OpenCode.")
    parser.add_argument("--era", choices=CLIENT_MODES, default="2026-07-28", help="protocol version")
    sys.exit(run(partial(answer_permission, parser.parse_args().era)))
