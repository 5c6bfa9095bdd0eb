"""Tables of calls that together are every operation of OpenCode."""

from . import attachments, projects, second_engine, servers, sessions

SHARING = (*sessions.SCENARIOS, *projects.SCENARIOS, *attachments.SCENARIOS, *second_engine.SCENARIOS)
"""Scenarios that leave nothing behind but their own project."""

APART = servers.SCENARIOS
"""Scenarios that disturb others on the same server, or are disturbed."""

__all__ = ["APART", "SHARING"]
