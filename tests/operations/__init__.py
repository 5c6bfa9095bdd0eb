"""Tables of calls that together are every operation of OpenCode."""

from . import projects, servers, sessions, terminals, v2

SHARED_SERVER_SCENARIOS = (*sessions.SCENARIOS, *projects.SCENARIOS, *terminals.SCENARIOS, *v2.SCENARIOS)
"""Scenarios that leave nothing behind but their own project."""

OWN_SERVER_SCENARIOS = servers.SCENARIOS
"""Scenarios that disturb others on the same server, or are disturbed."""

__all__ = ["OWN_SERVER_SCENARIOS", "SHARED_SERVER_SCENARIOS"]
