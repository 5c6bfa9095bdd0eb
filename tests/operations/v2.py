"""The v2 API. It reads no OPENCODE_CONFIG_CONTENT, so its projects have a configuration file."""

from __future__ import annotations

from .scenario import NO_CONTENT, Fails, Has, KeepValue, Lacks, OperationScenario, Step

MODEL = {"id": "scripted", "providerID": "scripted"}
REQUEST = {"action": "external_directory", "resources": ["/etc/*"], "save": ["/etc/*"]}
CONFIGURED = {"opencode.json": "$config"}
NEW_SESSION = Step(
    "v2_session_create",
    {"model": MODEL, "location": {"directory": "$project"}},
    {"data": {"id": KeepValue("session"), "location": {"directory": "$project"}}},
)

# A location is being loaded when its first question comes: until then it has nothing, and a prompt is never answered.
LOADED = (
    Step("v2_agent_list", {}, {"data": Has({"id": "build"})}, eventually=True),
    Step("v2_model_list", {}, {"data": Has({"id": "scripted", "providerID": "scripted"})}, eventually=True),
)

V2_TURNS = OperationScenario(
    "a session of the v2 API, its turns done, undone and interrupted",
    (
        *LOADED,
        NEW_SESSION,
        Step(
            "v2_session_prompt",
            {"sessionID": "$session", "prompt": {"text": "script:text good morning"}},
            {"data": {"id": KeepValue("greeting"), "sessionID": "$session"}},
        ),
        Step(
            "v2_session_messages",
            {"sessionID": "$session", "order": "asc"},
            {
                "data": [
                    {"id": "$greeting", "type": "user"},
                    {"finish": "stop", "content": [{"text": "Hello from the scripted model. good morning"}]},
                ]
            },
            eventually=True,
        ),
        Step(
            "v2_session_prompt",
            {"sessionID": "$session", "prompt": {"text": "script:write"}},
            {"data": {"id": KeepValue("order")}},
        ),
        Step(
            "v2_session_context",
            {"sessionID": "$session"},
            {"data": Has({"finish": "stop", "content": [{"text": "done: write"}]})},
            eventually=True,
        ),
        Step(
            "v2_session_message",
            {"sessionID": "$session", "messageID": "$order"},
            {"data": {"id": "$order", "type": "user", "text": "script:write"}},
        ),
        Step(
            "v2_session_history",
            {"sessionID": "$session", "limit": 1},
            {"data": [{"durable": {"seq": 1}}], "hasMore": True},
        ),
        Step(
            "v2_session_events",
            {"sessionID": "$session", "after": 0, "max_events": 1},
            {"events": [{"type": "session.next.prompt.admitted", "data": {"messageID": "$greeting"}}]},
        ),
        Step(
            "v2_session_revert_stage",
            {"sessionID": "$session", "messageID": "$order", "files": True},
            {"data": {"messageID": "$order", "files": [{"path": "scripted.txt", "status": "deleted"}]}},
            eventually=True,
        ),
        Step("v2_fs_list", {}, {"data": Lacks({"path": "scripted.txt"})}),
        Step("v2_session_revert_clear", {"sessionID": "$session"}, NO_CONTENT),
        Step("v2_fs_list", {}, {"data": Has({"path": "scripted.txt"})}),
        Step(
            "v2_session_revert_stage",
            {"sessionID": "$session", "messageID": "$order"},
            {"data": {"messageID": "$order"}},
        ),
        Step("v2_session_revert_commit", {"sessionID": "$session"}, NO_CONTENT),
        # What came after the message is gone; the message itself stays.
        Step(
            "v2_session_messages",
            {"sessionID": "$session"},
            {"data": [{"id": "$order"}, {"type": "assistant"}, {"id": "$greeting"}]},
        ),
        Step(
            "v2_session_prompt",
            {"sessionID": "$session", "prompt": {"text": "script:slow 3000 0.2"}},
            {"data": {"sessionID": "$session"}},
        ),
        Step("v2_session_active", {}, {"data": {"$session": {"type": "running"}}}, eventually=True),
        Step(
            "v2_event_subscribe",
            {"types": ["session.next.text.delta"], "max_events": 2, "timeout_seconds": 20},
            {"events": [{"data": {"sessionID": "$session", "delta": str}}] * 2, "ended": "max_events"},
            eventually=True,  # what happens in the first engine closes this stream
        ),
        Step("v2_session_interrupt", {"sessionID": "$session"}, NO_CONTENT),
        Step("v2_session_active", {}, {"data": {}}, eventually=True),
        Step("v2_session_switch_agent", {"sessionID": "$session", "agent": "plan"}, NO_CONTENT),
        Step("v2_session_switch_model", {"sessionID": "$session", "model": {**MODEL, "variant": "fast"}}, NO_CONTENT),
        Step("v2_session_get", {"sessionID": "$session"}, {"data": {"agent": "plan", "model": {"variant": "fast"}}}),
        Step("v2_session_list", {}, {"data": [{"id": "$session"}]}),
        Step(
            "v2_session_wait",
            {"sessionID": "$session"},
            Fails(503, "ServiceUnavailableError", "Session wait is not available yet"),
        ),
        Step(
            "v2_session_compact",
            {"sessionID": "$session"},
            Fails(503, "ServiceUnavailableError", "Session compact is not available yet"),
        ),
    ),
    files=CONFIGURED,
)

V2_CATALOG = OperationScenario(
    "what the v2 API offers at a location, and what waits there for an answer",
    (
        Step("v2_health_get", {}, {"healthy": True}),
        Step("v2_location_get", {}, {"directory": "$project", "project": {"id": KeepValue("id")}}),
        *LOADED,
        Step("v2_command_list", {}, {"data": Has({"name": "init"})}, eventually=True),
        Step("v2_skill_list", {}, {"data": Has({"name": "customize-opencode"})}, eventually=True),
        Step("v2_provider_list", {}, {"data": Has({"id": "scripted", "name": "Scripted model"})}, eventually=True),
        Step("v2_provider_get", {"providerID": "scripted"}, {"data": {"id": "scripted"}}, eventually=True),
        Step("v2_reference_list", {}, {"data": []}),
        Step("v2_fs_list", {"path": "src"}, {"data": [{"path": "src/main.py", "type": "file"}]}),
        Step("v2_fs_find", {"query": "main"}, {"data": [{"path": "src/main.py", "type": "file"}]}, eventually=True),
        Step("v2_fs_read", {"path": "src/main.py"}, {"result": "print('main')\n"}),
        NEW_SESSION,
        Step(
            "v2_session_permission_create",
            {"sessionID": "$session", **REQUEST},
            {"data": {"id": KeepValue("request"), "effect": "ask"}},
        ),
        Step("v2_permission_request_list", {}, {"data": [{"id": "$request", **REQUEST}]}),
        Step("v2_session_permission_list", {"sessionID": "$session"}, {"data": [{"id": "$request"}]}),
        Step(
            "v2_session_permission_get",
            {"sessionID": "$session", "requestID": "$request"},
            {"data": {"id": "$request", **REQUEST}},
        ),
        Step(
            "v2_session_permission_reply",
            {"sessionID": "$session", "requestID": "$request", "reply": "always"},
            NO_CONTENT,
        ),
        Step(
            "v2_permission_saved_list",
            {"projectID": "$id"},
            {"data": [{"id": KeepValue("saved"), "resource": "/etc/*"}]},
        ),
        Step("v2_permission_saved_remove", {"id": "$saved"}, NO_CONTENT),
        Step("v2_permission_saved_list", {"projectID": "$id"}, {"data": []}),
        Step(
            "v2_session_prompt",
            {"sessionID": "$session", "prompt": {"text": "script:question"}},
            {"data": {"sessionID": "$session"}},
        ),
        Step(
            "v2_question_request_list",
            {},
            {"data": [{"id": KeepValue("request"), "sessionID": "$session", "questions": [{"header": "Colour"}]}]},
            eventually=True,
        ),
        Step(
            "v2_session_question_reply",
            {"sessionID": "$session", "requestID": "$request", "answers": [["Red"]]},
            NO_CONTENT,
        ),
        Step(
            "v2_session_context",
            {"sessionID": "$session"},
            {"data": Has({"content": Has({"name": "question", "state": {"structured": {"answers": [["Red"]]}}})})},
            eventually=True,
        ),
        Step(
            "v2_session_prompt",
            {"sessionID": "$session", "prompt": {"text": "script:question"}},
            {"data": {"sessionID": "$session"}},
        ),
        Step(
            "v2_session_question_list",
            {"sessionID": "$session"},
            {"data": [{"id": KeepValue("request")}]},
            eventually=True,
        ),
        Step("v2_session_question_reject", {"sessionID": "$session", "requestID": "$request"}, NO_CONTENT),
        Step("v2_session_question_list", {"sessionID": "$session"}, {"data": []}),
    ),
    files={**CONFIGURED, "src/main.py": "print('main')\n"},
)

SCENARIOS = (V2_TURNS, V2_CATALOG)
