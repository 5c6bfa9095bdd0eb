"""Sessions: their life, what is said in them, what waits for an answer."""

from __future__ import annotations

from .scenario import NO_CONTENT, OPAQUE, TRUE, Fails, Has, KeepValue, Lacks, Like, OperationScenario, Step, prompt

MODEL = {"providerID": "scripted", "modelID": "scripted"}

LIFECYCLE = OperationScenario(
    "a session from its creation to its end",
    (
        Step(
            "session_create",
            {"title": "first"},
            {"id": KeepValue("session"), "title": "first", "directory": "$project"},
        ),
        Step("session_get", {"sessionID": "$session"}, {"id": "$session", "title": "first"}),
        Step("session_update", {"sessionID": "$session", "title": "renamed"}, {"title": "renamed"}),
        Step("session_create", {"parentID": "$session"}, {"id": KeepValue("child"), "parentID": "$session"}),
        Step("session_children", {"sessionID": "$session"}, {"result": [{"id": "$child"}]}),
        Step("session_fork", {"sessionID": "$session"}, {"id": KeepValue("fork"), "title": "renamed (fork #1)"}),
        Step("session_children", {"sessionID": "$session"}, {"result": [{"id": "$child"}]}),
        Step("session_list", {"search": "renamed"}, {"result": Has({"id": "$session", "title": "renamed"})}),
        Step(
            "experimental_session_list",
            {"directory": "$project", "limit": 1},
            {"result": [{"id": "$fork"}], "next_cursor": str},
        ),
        Step("session_share", {"sessionID": "$session"}, Fails(500, "UnknownError", OPAQUE)),
        Step("session_unshare", {"sessionID": "$session"}, {"id": "$session"}),
        Step("session_delete", {"sessionID": "$session"}, TRUE),
        Step("session_get", {"sessionID": "$session"}, Fails(404, "NotFoundError", "Session not found: $session")),
        Step("session_list", {}, {"result": Lacks({"id": "$session"})}),
    ),
)

TURNS = OperationScenario(
    "what is said and done in a session, undone and done again",
    (
        Step("session_create", {}, {"id": KeepValue("session")}),
        Step(
            "session_prompt",
            {"sessionID": "$session", "parts": prompt("script:text good morning")},
            {
                "info": {"id": KeepValue("answer"), "parentID": KeepValue("question"), "finish": "stop"},
                "parts": Has({"type": "text", "text": "Hello from the scripted model. good morning"}),
            },
        ),
        Step(
            "session_message",
            {"sessionID": "$session", "messageID": "$question"},
            {"info": {"role": "user"}, "parts": [{"id": KeepValue("part"), "text": "script:text good morning"}]},
        ),
        Step(
            "session_messages",
            {"sessionID": "$session", "limit": 1},
            {"result": [{"info": {"id": "$answer", "role": "assistant"}}], "next_cursor": str},
        ),
        Step(
            "part_update",
            {
                "sessionID": "$session",
                "messageID": "$question",
                "partID": "$part",
                "body": {
                    "id": "$part",
                    "sessionID": "$session",
                    "messageID": "$question",
                    "type": "text",
                    "text": "script:text good evening",
                },
            },
            {"id": "$part", "text": "script:text good evening"},
        ),
        Step("part_delete", {"sessionID": "$session", "messageID": "$question", "partID": "$part"}, TRUE),
        Step("session_message", {"sessionID": "$session", "messageID": "$question"}, {"parts": []}),
        # Not the question: OpenCode would write it back with the turn's summary (1.18.33).
        Step("session_delete_message", {"sessionID": "$session", "messageID": "$answer"}, TRUE),
        Step(
            "session_message",
            {"sessionID": "$session", "messageID": "$answer"},
            Fails(404, "NotFoundError", "Message not found: $answer"),
        ),
        Step(
            "session_command",
            {"sessionID": "$session", "command": "greet", "arguments": "all of you"},
            {"parts": Has({"type": "text", "text": "Hello from the scripted model. greetings to all of you"})},
        ),
        Step(
            "session_shell",
            {"sessionID": "$session", "agent": "build", "command": "echo from-the-shell"},
            {"parts": [{"tool": "bash", "state": {"status": "completed", "output": "from-the-shell\n"}}]},
        ),
        Step(
            "session_prompt",
            {"sessionID": "$session", "parts": prompt("script:todowrite")},
            {"parts": Has({"text": "done: todowrite"})},
        ),
        Step("session_todo", {"sessionID": "$session"}, {"result": [{"content": "try it", "status": "pending"}]}),
        Step(
            "session_prompt",
            {"sessionID": "$session", "parts": prompt("script:write")},
            {"info": {"parentID": KeepValue("question")}, "parts": Has({"text": "done: write"})},
        ),
        Step(
            "session_diff",
            {"sessionID": "$session", "messageID": "$question"},
            {"result": [{"file": "scripted.txt", "status": "added", "additions": 1, "deletions": 0}]},
            eventually=True,
        ),
        Step(
            "session_revert",
            {"sessionID": "$session", "messageID": "$question"},
            {"id": "$session", "revert": {"messageID": "$question"}},
        ),
        Step("file_list", {"path": "."}, {"result": Lacks({"name": "scripted.txt"})}),
        Step("session_unrevert", {"sessionID": "$session"}, {"id": "$session"}),
        Step("file_read", {"path": "scripted.txt"}, {"type": "text", "content": "written by the scripted model"}),
        Step("session_init", {"sessionID": "$session", "messageID": "msg_init", **MODEL}, TRUE),
        Step("session_summarize", {"sessionID": "$session", **MODEL}, TRUE),
        Step(
            "session_messages",
            {"sessionID": "$session", "limit": 1},
            {"result": [{"info": {"summary": True}, "parts": Has({"type": "text", "text": Like("^## Goal\n")})}]},
        ),
    ),
    # Not a file below .opencode/: OpenCode would fetch packages into that folder before the first answer.
    files={
        "opencode.json": """{
            "snapshot": true,
            "command": {"greet": {"template": "script:text greetings to $ARGUMENTS"}}
        }"""
    },
)

WAITING = OperationScenario(
    "turns that wait for permissions and answers, and one that is aborted",
    (
        Step(
            "session_create",
            {"permission": [{"permission": "bash", "pattern": "*", "action": "ask"}]},
            {"id": KeepValue("session")},
        ),
        Step("session_prompt_async", {"sessionID": "$session", "parts": prompt("script:bash")}, NO_CONTENT),
        Step(
            "permission_list",
            {},
            {"result": [{"id": KeepValue("request"), "sessionID": "$session", "patterns": ["echo hello-from-bash"]}]},
            eventually=True,
        ),
        Step("permission_reply", {"requestID": "$request", "reply": "once"}, TRUE),
        Step(
            "session_messages",
            {"sessionID": "$session"},
            {
                "result": [
                    {"info": {"role": "user"}},
                    {"parts": Has({"tool": "bash", "state": {"output": "hello-from-bash\n"}})},
                    {"info": {"finish": "stop"}, "parts": Has({"text": "done: bash"})},
                ]
            },
            eventually=True,
        ),
        Step("session_status", {}, {}, eventually=True),  # else the prompt may join the turn that ends
        Step("session_prompt_async", {"sessionID": "$session", "parts": prompt("script:bash")}, NO_CONTENT),
        Step("permission_list", {}, {"result": [{"id": KeepValue("request")}]}, eventually=True),
        Step(
            "permission_respond",
            {"sessionID": "$session", "permissionID": "$request", "response": "reject"},
            TRUE,
        ),
        Step("permission_list", {}, {"result": []}),
        Step("session_status", {}, {}, eventually=True),
        Step(
            "session_messages",
            {"sessionID": "$session", "limit": 1},
            {"result": [{"parts": Has({"tool": "bash", "state": {"status": "error"}})}]},
        ),
        Step("session_prompt_async", {"sessionID": "$session", "parts": prompt("script:question")}, NO_CONTENT),
        Step(
            "question_list",
            {},
            {"result": [{"id": KeepValue("request"), "sessionID": "$session", "questions": [{"header": "Colour"}]}]},
            eventually=True,
        ),
        Step("question_reply", {"requestID": "$request", "answers": [["Red"]]}, TRUE),
        Step(
            "session_messages",
            {"sessionID": "$session", "limit": 2},
            {
                "result": [
                    {"parts": Has({"tool": "question", "state": {"metadata": {"answers": [["Red"]]}}})},
                    {"info": {"finish": "stop"}, "parts": Has({"text": "done: question"})},
                ]
            },
            eventually=True,
        ),
        Step("session_status", {}, {}, eventually=True),
        Step("session_prompt_async", {"sessionID": "$session", "parts": prompt("script:question")}, NO_CONTENT),
        Step("question_list", {}, {"result": [{"id": KeepValue("request")}]}, eventually=True),
        Step("question_reject", {"requestID": "$request"}, TRUE),
        Step("session_status", {}, {}, eventually=True),
        Step(
            "session_messages",
            {"sessionID": "$session", "limit": 1},
            {"result": [{"parts": Has({"tool": "question", "state": {"status": "error"}})}]},
        ),
        # Ten minutes of text, unless it is aborted.
        Step("session_prompt_async", {"sessionID": "$session", "parts": prompt("script:slow 3000 0.2")}, NO_CONTENT),
        Step("session_status", {}, {"$session": {"type": "busy"}}, eventually=True),
        Step(
            "event_subscribe",
            {"types": ["message.part.delta"], "max_events": 2, "timeout_seconds": 20},
            {"events": [{"properties": {"sessionID": "$session", "delta": str}}] * 2, "ended": "max_events"},
        ),
        Step(
            "global_event",
            {"types": ["message.part.delta"], "max_events": 1, "timeout_seconds": 20},
            {"events": [{"directory": "$project", "payload": {"properties": {"sessionID": "$session"}}}]},
            eventually=True,
        ),
        Step("experimental_session_background", {"sessionID": "$session"}, {"result": False}),
        Step("session_abort", {"sessionID": "$session"}, TRUE),
        Step(
            "session_messages",
            {"sessionID": "$session", "limit": 1},
            {"result": [{"info": {"error": {"name": "MessageAbortedError"}}, "parts": Has({"type": "text"})}]},
            eventually=True,
        ),
        Step("session_status", {}, {}, eventually=True),
    ),
)

SCENARIOS = (LIFECYCLE, TURNS, WAITING)
