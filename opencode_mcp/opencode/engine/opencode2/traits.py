"""What is the same for all requests to an OpenCode 2."""

from __future__ import annotations

from opencode_mcp.opencode.engine.protocol import EngineTraits

TRAITS = EngineTraits(
    min_version="2.0.8",
    default_agent="build",
    default_variant=None,
    replaces_rules=True,
    shell="shell",
    subagent="subagent",
    subagents_ask=True,
    reading=("read", "glob", "grep", "question", "skill", "webfetch", "websearch"),
    permissions=(
        *("read", "edit", "glob", "grep", "shell", "subagent", "skill", "question", "webfetch", "websearch"),
        *("external_directory", "execute"),
    ),
    decided_by={"write": "edit", "patch": "edit"},
    always_lasts="for good, as OpenCode stores it for the project",
    has_system_prompts=False,
)
"""2.0.8 is the oldest version that anything is known of, beside the preview versions, whose shapes are others."""
