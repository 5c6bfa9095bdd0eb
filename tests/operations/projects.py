"""A project: its files, its changes, its worktrees and copies, and what OpenCode offers in it."""

from __future__ import annotations

from opencode_mcp.openapi import SNAPSHOT_VERSION

from .scenario import NO_CONTENT, TRUE, Fails, Has, KeepValue, Lacks, Like, OperationScenario, Step

PATCH = "diff --git a/new.txt b/new.txt\nnew file mode 100644\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+patched\n"

FILES = OperationScenario(
    "files, listed, read and searched",
    (
        Step("file_list", {"path": "src"}, {"result": [{"name": "main.py", "path": "src/main.py", "type": "file"}]}),
        Step("file_read", {"path": "README.md"}, {"type": "text", "content": "hello from the project"}),
        Step("file_status", {}, {"result": []}),
        Step(
            "find_text",
            {"pattern": "hel+o"},
            {
                "result": [
                    {"path": {"text": "README.md"}, "line_number": 1, "lines": {"text": "hello from the project\n"}}
                ]
            },
        ),
        Step("find_files", {"query": "main"}, {"result": ["src/main.py"]}, eventually=True),
        Step("find_symbols", {"query": "main"}, {"result": []}),
    ),
    files={"src/main.py": "print('main')\n"},
)

CHANGES = OperationScenario(
    "changes against git",
    (
        Step("vcs_get", {}, {"branch": "main", "default_branch": "main"}),
        Step(
            "vcs_status", {}, {"result": [{"file": "README.md", "status": "modified", "additions": 1, "deletions": 1}]}
        ),
        Step(
            "vcs_diff",
            {"mode": "git"},
            {"result": [{"file": "README.md", "patch": Like(r"-hello from the project\n\+changed\n$")}]},
        ),
        Step("vcs_diff_raw", {}, {"result": Like(r"^diff --git a/README.md b/README.md\n")}),
        Step("vcs_apply", {"patch": PATCH}, {"applied": True}),
        Step("file_read", {"path": "new.txt"}, {"content": "patched"}),
    ),
    files={"README.md": "changed\n"},
)

SERVER_INFO = OperationScenario(
    "what OpenCode is and offers",
    (
        Step("global_health", {}, {"healthy": True, "version": SNAPSHOT_VERSION}),
        Step("app_log", {"service": "tests", "level": "info", "message": "hello"}, TRUE),
        Step("path_get", {}, {"directory": "$project", "worktree": "$project"}),
        Step("config_get", {}, {"model": "scripted/scripted", "share": "disabled"}),
        Step("config_providers", {}, {"models": [{"model": "scripted/scripted"}]}),
        Step(
            "config_providers",
            {"full": True},
            {"providers": [{"id": "scripted"}], "default": {"scripted": "scripted"}},
        ),
        Step("provider_list", {}, {"all": [{"id": "scripted"}], "connected": ["scripted"]}),
        Step("provider_auth", {}, {"openai": Has({"type": "api"})}),
        Step("app_agents", {}, {"result": Has({"name": "build", "mode": "primary"})}),
        Step("app_skills", {}, {"result": Has({"name": "customize-opencode"})}),
        Step("command_list", {}, {"result": Has({"name": "init", "source": "command"})}),
        Step("tool_ids", {}, {"result": Has("bash")}),
        Step(
            "tool_list",
            {"provider": "scripted", "model": "scripted"},
            {"result": Has({"id": "bash", "parameters": dict})},
        ),
        Step("lsp_status", {}, {"result": []}),
        Step("formatter_status", {}, {"result": []}),
        Step("pty_shells", {}, {"result": Has({"name": "sh", "acceptable": True})}),
        Step("experimental_capabilities_get", {}, {"backgroundSubagents": False}),
        Step("experimental_console_get", {}, {"consoleManagedProviders": [], "switchableOrgCount": 0}),
        Step("experimental_console_list_orgs", {}, {"orgs": []}),
        Step("experimental_console_switch_org", {"accountID": "nobody", "orgID": "none"}, Fails(400, "BadRequest")),
        Step("instance_dispose", {}, TRUE),
        Step("path_get", {}, {"directory": "$project"}),
    ),
)

WORKTREES = OperationScenario(
    "a project, its worktrees and its copies",
    (
        Step("project_init_git", {"directory": "$folder/plain"}, {"worktree": "$folder/plain", "vcs": "git"}),
        Step("vcs_get", {"directory": "$folder/plain"}, {"branch": str}),
        Step("project_current", {}, {"id": KeepValue("id"), "worktree": "$project", "vcs": "git"}),
        Step("project_update", {"projectID": "$id", "name": "Renamed"}, {"id": "$id", "name": "Renamed"}),
        Step("project_list", {}, {"result": Has({"id": "$id", "name": "Renamed", "worktree": "$project"})}),
        Step("worktree_create", {"name": "tree"}, {"name": "tree", "directory": KeepValue("tree")}),
        Step("worktree_list", {}, {"result": ["$tree"]}),
        Step("session_create", {}, {"id": KeepValue("session"), "directory": "$project"}),
        Step(
            "experimental_control_plane_move_session",
            {"sessionID": "$session", "destination": {"directory": "$tree"}, "moveChanges": True},
            NO_CONTENT,
        ),
        Step("session_get", {"sessionID": "$session"}, {"directory": "$tree"}),
        Step("file_list", {"path": ".", "directory": "$tree"}, {"result": Has({"name": "unsaved.txt"})}),
        Step(
            "session_shell", {"sessionID": "$session", "agent": "build", "command": "date > now.log"}, {"parts": list}
        ),
        Step("file_list", {"path": ".", "directory": "$tree"}, {"result": Has({"name": "now.log", "ignored": True})}),
        Step("worktree_reset", {"body": {"directory": "$tree"}}, TRUE),
        Step("file_list", {"path": ".", "directory": "$tree"}, {"result": Lacks({"name": "unsaved.txt"})}),
        Step("file_list", {"path": ".", "directory": "$tree"}, {"result": Lacks({"name": "now.log"})}),
        Step("worktree_remove", {"body": {"directory": "$tree"}}, TRUE),
        Step("worktree_list", {}, {"result": []}),
        Step(
            "experimental_project_copy_generate_name",
            {"projectID": "$id", "context": "a login page"},
            {"name": Like(r"^[a-z-]+$")},
        ),
        Step(
            "v2_project_copy_create",
            {"projectID": "$id", "strategy": "git_worktree", "directory": "$folder/copies", "name": "copy"},
            {"directory": "$folder/copies/copy"},
        ),
        Step("v2_project_copy_refresh", {"projectID": "$id"}, NO_CONTENT),
        Step(
            "project_directories",
            {"projectID": "$id"},
            {"result": Has({"directory": "$folder/copies/copy", "strategy": "git_worktree"})},
        ),
        Step(
            "v2_project_copy_remove",
            {"projectID": "$id", "directory": "$folder/copies/copy", "force": True},
            NO_CONTENT,
        ),
        Step("project_directories", {"projectID": "$id"}, {"result": Lacks({"directory": "$folder/copies/copy"})}),
    ),
    files={".gitignore": "*.log\n", "unsaved.txt": "not committed\n", "../plain/README.md": "no repository yet\n"},
)

SCENARIOS = (FILES, CHANGES, SERVER_INFO, WORKTREES)
