"""The engine of OpenCode 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from pydantic import BaseModel

from opencode_mcp.exceptions import APIError, UnsupportedServer, WorkflowError
from opencode_mcp.opencode.client import QUICK_READ_SECONDS, OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.models import (
    Agent,
    AgentRequest,
    Branch,
    Config,
    FileChange,
    FileNode,
    Message,
    PermissionRequest,
    PermissionRule,
    ProjectPath,
    Providers,
    QuestionRequest,
    Session,
    SessionStatus,
    Todo,
    Worktree,
    parse_model,
)
from opencode_mcp.opencode.project_sessions import include_worktrees

from .optional import optional
from .protocol import DiffBase, EngineTraits, MessagePage, PermissionReply

TRAITS = EngineTraits(
    min_version="1.15.13",
    default_variant="default",
    replaces_rules=False,
    shell="bash",
    subagent="task",
    subagents_ask=False,
    reading=(
        *("read", "glob", "grep", "list", "lsp", "todowrite", "todoread", "question", "skill", "webfetch", "websearch"),
        "doom_loop",
    ),
    permissions=(
        *("read", "edit", "glob", "grep", "list", "bash", "task", "external_directory", "todowrite", "todoread"),
        *("question", "webfetch", "websearch", "lsp", "doom_loop", "skill", "plan_enter", "plan_exit"),
    ),
    decided_by={
        **dict.fromkeys(("write", "patch", "multiedit", "apply_patch"), "edit"),
        **dict.fromkeys(("list_mcp_resources", "list_mcp_resource_templates", "read_mcp_resource"), "read"),
    },
    always_lasts="until OpenCode exits",
    has_system_prompts=True,
    has_forms=False,
    lists_tools="tool_ids",
    needs_model=False,
    words={},
    has_command_templates=True,
    file_operation="v2_fs_read",
    reading_tools="file_read and find_text",
)
"""1.18.33. Versions before 1.15.13 drop a session's `metadata`: a task's policy, request id and worktree."""


PROJECT_SECONDS = 60.0
"""How long it is remembered which folder of which project the default directory is."""


class V2Response(BaseModel):
    """A response of the v2 API: active sessions by id, or a page of messages."""

    data: dict[str, Any] | list[Any]


@dataclass(frozen=True, slots=True)
class Engine1:
    """Requests of tasks to an OpenCode 1."""

    opencode: OpenCodeClient
    traits: EngineTraits = TRAITS

    async def read_session(self, session_id: str) -> Session:
        return await self.opencode.call_as(Session, "session_get", sessionID=session_id)

    async def list_sessions(self, directory: str | None, limit: int) -> list[Session]:
        query = {"scope": "project", "limit": limit, **optional(directory=directory)}
        return await self.opencode.call_as(list[Session], "session_list", **query)

    async def list_recent_sessions(self, limit: int) -> list[Session]:
        key, read = ("project", self.opencode.directory or ""), partial(include_worktrees, self.opencode, {})
        query = {"limit": limit, **await self.opencode.shared_reads.read(key, PROJECT_SECONDS, read)}
        return await self.opencode.call_as(list[Session], "session_list", **query)

    async def list_newest_sessions(self, limit: int) -> list[Session]:
        return await self.opencode.call_as(list[Session], "session_list", limit=limit)

    async def list_roots(self, limit: int) -> list[Session]:
        return await self.opencode.call_as(list[Session], "experimental_session_list", roots=True, limit=limit)

    async def show_session(self, session_id: str) -> dict[str, Any]:
        return await self.opencode.call_as(dict[str, Any], "session_get", sessionID=session_id)

    async def list_children(self, session_id: str) -> list[Session]:
        return await self.opencode.call_as(list[Session], "session_children", sessionID=session_id)

    async def create_session(
        self,
        directory: str | None,
        *,
        metadata: Mapping[str, Any],
        title: str | None = None,
        parent_id: str | None = None,
        agent: str | None = None,
        rules: Sequence[PermissionRule] = (),
    ) -> Session:
        facts = optional(directory=directory, title=title, parentID=parent_id, permission=dump(rules) or None)
        created: object = None
        with anyio.CancelScope(shield=True):
            created = await self.opencode.call("session_create", metadata=metadata, **facts)
        return parse_model("the response of session_create", Session, created)

    async def update_session(
        self, session_id: str, *, metadata: Mapping[str, Any], rules: Sequence[PermissionRule] | None = None
    ) -> Session:
        facts = optional(permission=dump(rules or ()) or None)
        return await self.opencode.call_as(Session, "session_update", sessionID=session_id, metadata=metadata, **facts)

    async def delete_session(self, session_id: str) -> None:
        await self.opencode.call("session_delete", sessionID=session_id)

    async def read_statuses(self, directory: str | None) -> dict[str, SessionStatus]:
        location = optional(directory=directory)
        statuses = await self.opencode.call_as(dict[str, SessionStatus], "session_status", **location)
        return {session_id: status for session_id, status in statuses.items() if status.type != "idle"}

    async def list_running(self, directory: str) -> set[str]:
        return {*await self.read_statuses(directory)}

    async def list_active(self) -> dict[str, bool]:
        """Those of the v2 API, whose messages are kept apart; the others are listed for a directory only."""
        with suppress(UnsupportedServer, APIError):  # a server before 1.17.19
            return dict.fromkeys((await self.opencode.call_as(V2Response, "v2_session_active")).data, False)
        return {}

    async def list_messages(self, session_id: str, limit: int | None = None) -> list[Message]:
        query = optional(limit=limit)
        return await self.opencode.call_as(list[Message], "session_messages", sessionID=session_id, **query)

    async def read_message_page(self, session_id: str, limit: int, before: str | None) -> MessagePage:
        operation = self.opencode.catalog["session_messages"]
        call = self.opencode.prepare(operation, {"sessionID": session_id, "limit": limit, **optional(before=before)})
        await self.opencode.authorize_ids(call)
        answer = await self.opencode.request(operation, call.parts, read_seconds=QUICK_READ_SECONDS)
        messages = parse_model("the response of session_messages", list[Message], answer.value)
        return MessagePage(messages, answer.fields.get("next_cursor"))

    async def read_message(self, session_id: str, message_id: str) -> Message:
        ids = {"sessionID": session_id, "messageID": message_id}
        return await self.opencode.call_as(Message, "session_message", **ids)

    async def list_todos(self, session_id: str) -> list[Todo]:
        return await self.opencode.call_as(list[Todo], "session_todo", sessionID=session_id)

    async def refuse_unreadable(self, session_id: str) -> None:
        """OpenCode 1.18.33 keeps one list of sessions for both of its APIs, and their messages apart."""
        try:
            active, messages = await gather(
                partial(self.opencode.call_as, V2Response, "v2_session_active"),
                partial(self.opencode.call_as, V2Response, "v2_session_messages", sessionID=session_id, limit=1),
            )
        except (UnsupportedServer, APIError):  # a server before 1.17.19, or a session that the v2 API cannot read
            return
        if session_id in active.data or messages.data:
            raise WorkflowError(
                f"{session_id} is a session of OpenCode's v2 API, which the task tools cannot read or stop: use "
                "v2_session_active (is it running?), v2_session_messages (its messages) and "
                "v2_session_interrupt (stop it)",
                session_id,
            )

    async def send_prompt(
        self,
        session: Session,
        parts: Sequence[Mapping[str, Any]],
        selection: Mapping[str, Any],
        message_id: str | None = None,
    ) -> None:
        sent = [*parts]
        if message_id is not None:  # else a prompt that is sent twice would have its text twice
            sent[0] = {**sent[0], "id": f"prt_{message_id.removeprefix('msg_')}"}
        facts = {**selection, **optional(messageID=message_id)}
        await self.opencode.call("session_prompt_async", sessionID=session.id, parts=sent, **facts)

    async def run_shell(self, session_id: str, agent: str, command: str) -> None:
        operation = self.opencode.catalog["session_shell"]
        call = self.opencode.prepare(operation, {"sessionID": session_id, "agent": agent, "command": command})
        await self.opencode.request(operation, call.parts, read_seconds=None)

    async def abort(self, session_id: str) -> None:
        await self.opencode.call("session_abort", sessionID=session_id)

    async def list_requests(self, directory: str) -> list[AgentRequest]:
        permissions, questions = await gather(
            partial(self.opencode.call_as, list[PermissionRequest], "permission_list", directory=directory),
            partial(self.opencode.call_as, list[QuestionRequest], "question_list", directory=directory),
        )
        return [*permissions, *questions]

    async def reply_to_permission(
        self, directory: str, request: AgentRequest, reply: PermissionReply, message: str = ""
    ) -> None:
        facts = {"requestID": request.id, "directory": directory, "reply": reply, **optional(message=message or None)}
        await self.opencode.call("permission_reply", **facts)

    async def answer_question(
        self, directory: str, request: QuestionRequest, answers: Sequence[Sequence[str]] | None, message: str = ""
    ) -> None:
        """A rejection has no words: those of a message are the answer to each question (1.18.33)."""
        facts: dict[str, Any] = {"requestID": request.id, "directory": directory}
        if message:
            answers = [[message]] * len(request.questions)
        if answers is None:
            await self.opencode.call("question_reject", **facts)
        else:
            await self.opencode.call("question_reply", **facts, answers=[[*labels] for labels in answers])

    async def read_config(self, directory: str | None) -> Config:
        return await self.opencode.call_as(Config, "config_get", **optional(directory=directory))

    async def list_agents(self, directory: str | None) -> list[Agent]:
        return await self.opencode.call_as(list[Agent], "app_agents", **optional(directory=directory))

    async def list_models(self, directory: str | None) -> dict[str, dict[str, Any]]:
        providers = await self.opencode.call_as(Providers, "config_providers", **optional(directory=directory))
        return providers.models

    async def list_default_models(self, directory: str | None) -> set[str]:
        """That of the configuration, else the default of each provider, of which OpenCode uses the last one used."""
        providers = await self.opencode.call_as(Providers, "config_providers", **optional(directory=directory))
        configured = (await self.read_config(directory)).model
        if configured in providers.models:
            return {configured}
        return {f"{provider}/{model_id}" for provider, model_id in providers.default.items()}

    async def list_tool_names(self, directory: str | None) -> tuple[set[str], set[str]]:
        location = optional(directory=directory)
        tools, servers = await gather(
            partial(self.opencode.call_as, list[str], "tool_ids", **location),
            partial(self.opencode.call_as, dict[str, Any], "mcp_status", **location),
        )
        return {*tools}, {*servers}

    async def list_files(self, directory: str | None, path: str) -> list[str]:
        facts = {"path": path, **optional(directory=directory)}
        return [node.name for node in await self.opencode.call_as(list[FileNode], "file_list", **facts)]

    async def find_files(self, query: str, limit: int) -> list[str]:
        return await self.opencode.call_as(list[str], "find_files", query=query, type="file", limit=limit)

    async def read_paths(self, directory: str | None) -> ProjectPath:
        return await self.opencode.call_as(ProjectPath, "path_get", **optional(directory=directory))

    async def read_branch(self, directory: str) -> Branch:
        return await self.opencode.call_as(Branch, "vcs_get", directory=directory)

    async def list_uncommitted(self, directory: str) -> list[FileChange]:
        return await self.opencode.call_as(list[FileChange], "vcs_status", directory=directory)

    async def diff_files(self, directory: str, base: DiffBase) -> list[FileChange]:
        return await self.opencode.call_as(list[FileChange], "vcs_diff", directory=directory, mode=base)

    async def apply_patch(self, directory: str, patch: str) -> None:
        await self.opencode.call("vcs_apply", directory=directory, patch=patch)

    async def diff_turn(self, session_id: str, message_id: str) -> list[FileChange]:
        """Without a message's id OpenCode always says that nothing changed (1.18.33).

        The document allows for entries without a file's name; there is nothing to say of those.
        """
        ids = {"sessionID": session_id, "messageID": message_id}
        entries = await self.opencode.call_as(list[dict[str, Any]], "session_diff", **ids)
        named = [entry for entry in entries if entry.get("file")]
        return parse_model("the response of session_diff", list[FileChange], named)

    async def list_worktrees(self, directory: str) -> list[str]:
        return await self.opencode.call_as(list[str], "worktree_list", directory=directory)

    async def create_worktree(self, directory: str | None) -> Worktree:
        created: object = None
        with anyio.CancelScope(shield=True):
            created = await self.opencode.call("worktree_create", **optional(directory=directory))
        return parse_model("the response of worktree_create", Worktree, created)

    async def remove_worktree(self, directory: str | None, worktree: str) -> None:
        body = {"directory": worktree}
        await self.opencode.call("worktree_remove", body=body, **optional(directory=directory))


def dump(rules: Sequence[PermissionRule]) -> list[dict[str, str]]:
    """Return rules as OpenCode takes them."""
    return [rule.model_dump() for rule in rules]
