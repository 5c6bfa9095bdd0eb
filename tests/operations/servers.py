"""What concerns a whole server: accounts, workspaces and the history of everything, the configuration."""

from __future__ import annotations

from .scenario import NO_CONTENT, OPAQUE, TRUE, Fails, Has, KeepValue, Like, OperationScenario, Step

ACCOUNTS = OperationScenario(
    "accounts at providers",
    (
        Step("auth_set", {"providerID": "scripted", "body": {"type": "api", "key": "secret"}}, TRUE),
        Step("instance_dispose", {}, TRUE),
        Step("config_providers", {"full": True}, {"providers": [{"id": "scripted", "key": "secret"}]}),
        Step("auth_remove", {"providerID": "scripted"}, TRUE),
        Step("v2_integration_connect_key", {"integrationID": "openai", "key": "secret", "label": "work"}, NO_CONTENT),
        Step(
            "v2_integration_get",
            {"integrationID": "openai"},
            {"data": {"connections": [{"type": "credential", "id": KeepValue("credential"), "label": "work"}]}},
        ),
        Step("v2_credential_update", {"credentialID": "$credential", "label": "home"}, NO_CONTENT),
        Step(
            "v2_integration_list",
            {},
            {"data": Has({"id": "openai", "connections": [{"id": "$credential", "label": "home"}]})},
        ),
        Step("v2_credential_remove", {"credentialID": "$credential"}, NO_CONTENT),
        Step("v2_integration_get", {"integrationID": "openai"}, {"data": {"id": "openai", "connections": []}}),
        # A login in a browser: OpenCode listens on localhost:1455 for its end, and only one can at a time.
        Step(
            "v2_integration_connect_oauth",
            {"integrationID": "openai", "methodID": "chatgpt-browser", "inputs": {}},
            {"data": {"attemptID": KeepValue("attempt"), "url": Like(r"^https://auth\.openai\.com/"), "mode": "auto"}},
            eventually=True,
        ),
        Step("v2_integration_attempt_status", {"attemptID": "$attempt"}, {"data": {"status": "pending"}}),
        # This login takes no code.
        Step(
            "v2_integration_attempt_complete",
            {"attemptID": "$attempt", "code": "none"},
            Fails(500, "UnknownError", OPAQUE),
        ),
        Step("v2_integration_attempt_cancel", {"attemptID": "$attempt"}, NO_CONTENT),
        Step("v2_integration_attempt_status", {"attemptID": "$attempt"}, Fails(500, "UnknownError", OPAQUE)),
        Step(
            "provider_oauth_authorize",
            {"providerID": "poe", "method": 0},
            {"method": "auto", "url": Like(r"^https://poe\.com/oauth/authorize\?")},
        ),
        Step(
            "provider_oauth_callback",
            {"providerID": "scripted", "method": 0, "code": "none"},
            Fails(400, "ProviderAuthOauthMissing"),
        ),
    ),
)

WORKSPACES = OperationScenario(
    "workspaces, and the history that they share",
    (
        Step("experimental_workspace_adapter_list", {}, {"result": Has({"type": "worktree"})}),
        Step(
            "experimental_workspace_create",
            {"type": "worktree", "branch": None},
            {"id": KeepValue("workspace"), "type": "worktree", "directory": str},
        ),
        Step("experimental_workspace_list", {}, {"result": [{"id": "$workspace"}]}),
        Step(
            "experimental_workspace_status",
            {},
            {"result": [{"workspaceID": "$workspace", "status": "connected"}]},
            eventually=True,
        ),
        Step("experimental_workspace_sync_list", {}, NO_CONTENT),
        Step("session_create", {}, {"id": KeepValue("session")}),
        Step("experimental_workspace_warp", {"id": "$workspace", "sessionID": "$session"}, NO_CONTENT),
        Step("session_get", {"sessionID": "$session"}, {"workspaceID": "$workspace"}),
        Step("session_create", {"title": "stolen"}, {"id": KeepValue("session")}),
        Step("sync_start", {}, TRUE),
        Step(
            "sync_history_list",
            {},
            {
                "result": Has(
                    {"aggregate_id": "$session", "seq": 0, "id": KeepValue("event"), "data": KeepValue("created", dict)}
                )
            },
        ),
        Step(
            "sync_replay",
            {
                "body": {
                    "directory": "$project",
                    "events": [
                        {
                            "id": "$event",
                            "aggregateID": "$session",
                            "seq": 0,
                            "type": "session.created.1",
                            "data": "$created",
                        }
                    ],
                }
            },
            {"sessionID": "$session"},
        ),
        Step("sync_steal", {"sessionID": "$session", "workspace": "$workspace"}, {"sessionID": "$session"}),
        Step("session_get", {"sessionID": "$session"}, {"title": "stolen", "workspaceID": "$workspace"}),
        Step("experimental_workspace_remove", {"id": "$workspace"}, {"id": "$workspace"}),
        Step("experimental_workspace_list", {}, {"result": []}),
    ),
)

CONFIGURATION = OperationScenario(
    "the configuration, and the whole server's end of work",
    (
        Step("global_config_get", {}, {}),
        Step("global_config_update", {"body": {"username": "somebody"}}, {"username": "somebody"}),
        Step("global_config_get", {}, {"username": "somebody"}),
        Step("config_get", {}, {"username": "somebody"}),
        # OpenCode writes a file that it never reads.
        Step("config_update", {"body": {"username": "another"}}, {"username": "another"}),
        Step("file_read", {"path": "config.json"}, {"content": Like('"username": "another"')}),
        Step("config_get", {}, {"username": "somebody"}),
        # No program that could have installed this OpenCode is on the PATH of this server.
        Step("global_upgrade", {"target": "1.0.0"}, Fails(400, "", "Unknown installation method")),
        Step("session_create", {}, {"id": KeepValue("session")}),
        Step("global_dispose", {}, TRUE),
        Step("session_get", {"sessionID": "$session"}, {"id": "$session"}),
    ),
)

SCENARIOS = (ACCOUNTS, WORKSPACES, CONFIGURATION)
