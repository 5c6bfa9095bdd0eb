"""What is the same for all requests to an OpenCode 2."""

from __future__ import annotations

from opencode_mcp.opencode.engine.protocol import EngineTraits

from .rules import ACTIONS

ALWAYS_LASTS = "permanently"

TRAITS = EngineTraits(
    min_version="2.0.8",
    default_variant=None,
    replaces_rules=True,
    shell="shell",
    subagent="subagent",
    subagents_ask=True,
    reading=("read", "glob", "grep", "question", "skill", "webfetch", "websearch"),
    permissions=(
        *("read", "edit", "glob", "grep", "shell", "subagent", "skill", "question", "webfetch", "websearch"),
        *("external_directory", "execute"),
        *ACTIONS,
    ),
    decided_by=dict.fromkeys(("write", "patch", "multiedit", "apply_patch"), "edit"),
    always_lasts=ALWAYS_LASTS,
    has_system_prompts=False,
    has_forms=True,
    lists_tools="mcp_list",
    needs_model=True,
    words={
        "config_providers": "model_list",
        "app_agents": "agent_list",
        "until OpenCode exits": ALWAYS_LASTS,
        '{"bash": ': '{"shell": ',
        "remove worktree and branch;": "remove the worktree;",
        "Added to the system prompt.": "Refused by OpenCode 2.",
    },
    has_command_templates=False,
    file_operation="fs_read",
    reading_tools="fs_read and fs_find",
)
"""2.0.8 is the oldest version that anything is known of, beside the preview versions, whose shapes are others."""
