"""Check which assistants share the OpenCode that this one would use, and why others do not."""

from __future__ import annotations

import os
from collections.abc import Sequence

from opencode_mcp.cli.shared_servers import SharedServer, read_shared_servers
from opencode_mcp.settings import Settings

from .check_result import CheckResult

CLIENT_NAME = "opencode-mcp doctor"
"""The name of this command in lists of assistants."""


async def check_sharing(settings: Settings) -> CheckResult:
    """Name the other assistants that share the OpenCode, or what keeps assistants apart."""
    if settings.urls:
        return CheckResult("sharing", "ok", "does not apply: a running server is used, and others may use it too")
    if settings.no_share:
        return CheckResult("sharing", "ok", "off (--no-share): this assistant runs an OpenCode of its own")
    servers = await read_shared_servers(settings.environ, settings.child_environ)
    own = [server for server in servers if any(each.pid == os.getpid() for each in server.assistants)]
    sentences = [describe_own(server) for server in own] or ["on"]
    sentences += [describe_other(server) for server in servers if server not in own]
    silent = any(server.state == "unresponsive" for server in servers)
    return CheckResult(
        "sharing",
        "warning" if silent else "ok",
        "; ".join(sentences),
        "`opencode-mcp status --stop --force` stops it, and aborts what runs" if silent else "",
        {"servers": [server.as_data() for server in servers]},
    )


def describe_own(server: SharedServer) -> str:
    """Describe the server that this command shares."""
    others = clients_of(server, without=os.getpid())
    return f"shared with {', '.join(others)}" if others else "on; no other assistant uses it now"


def describe_other(server: SharedServer) -> str:
    """Describe a server that this command does not share, and why."""
    if server.state == "unresponsive":
        return f"the supervisor of an OpenCode (process {server.supervisor_pid}) does not answer"
    if server.state == "dead":
        return f"the supervisor of an OpenCode (process {server.pid}) was killed; the next start ends what is left"
    users = ", ".join(clients_of(server)) or "no assistant"
    if server.differing_variables:
        return f"not with {users}: these variables differ: {', '.join(server.differing_variables)}"
    return f"not with {users}: another program or version ({server.version or 'unknown'})"


def clients_of(server: SharedServer, without: int | None = None) -> Sequence[str]:
    """Return the names of the assistants that share a server."""
    return [each.client or f"process {each.pid}" for each in server.assistants if each.pid != without]
