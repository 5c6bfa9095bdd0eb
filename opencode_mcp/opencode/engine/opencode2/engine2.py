"""The engine of OpenCode 2: one line for each method, the rest is in the files beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.engine.protocol import DiffBase, EngineTraits, MessagePage, PermissionReply
from opencode_mcp.opencode.models import (
    Agent,
    AgentRequest,
    Branch,
    Config,
    FileChange,
    Message,
    PermissionRule,
    ProjectPath,
    QuestionRequest,
    Session,
    SessionStatus,
    Todo,
    Worktree,
)

from . import directories, messages, model_selection, prompts, requests, sessions, shells, statuses, worktrees
from .traits import TRAITS


@dataclass(frozen=True, slots=True)
class Engine2:
    """Requests of tasks to an OpenCode 2."""

    opencode: OpenCodeClient
    traits: EngineTraits = TRAITS

    # Sessions

    async def read_session(self, session_id: str) -> Session:
        return await sessions.read_session(self.opencode, session_id)

    async def list_sessions(self, directory: str | None, limit: int) -> list[Session]:
        return await sessions.list_sessions(self.opencode, directory, limit)

    async def list_recent_sessions(self, limit: int) -> list[Session]:
        return await sessions.list_sessions(self.opencode, None, limit)

    async def list_newest_sessions(self, limit: int) -> list[Session]:
        return await sessions.list_newest_sessions(self.opencode, limit)

    async def list_roots(self, limit: int) -> list[Session]:
        return await sessions.list_roots(self.opencode, limit)

    async def show_session(self, session_id: str) -> dict[str, Any]:
        return await sessions.show_session(self.opencode, session_id)

    async def list_children(self, session_id: str) -> list[Session]:
        return await sessions.list_children(self.opencode, session_id)

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
        facts = {"metadata": metadata, "title": title, "parentID": parent_id, "agent": agent}
        return await sessions.create_session(self.opencode, directory, facts, rules)

    async def update_session(
        self, session_id: str, *, metadata: Mapping[str, Any], rules: Sequence[PermissionRule] | None = None
    ) -> Session:
        return await sessions.update_session(self.opencode, session_id, metadata, rules)

    async def delete_session(self, session_id: str) -> None:
        await sessions.delete_session(self.opencode, session_id)

    async def read_statuses(self, directory: str | None) -> dict[str, SessionStatus]:
        return await statuses.read_statuses(self.opencode, directory)

    async def list_running(self, directory: str) -> set[str]:
        return await statuses.list_running(self.opencode, directory)

    async def list_active(self) -> dict[str, bool]:
        return dict.fromkeys(await statuses.list_active(self.opencode), True)

    # Messages

    async def list_messages(self, session_id: str, limit: int | None = None) -> list[Message]:
        return await messages.list_messages(self.opencode, session_id, limit)

    async def read_message_page(self, session_id: str, limit: int, before: str | None) -> MessagePage:
        return await messages.read_message_page(self.opencode, session_id, limit, before)

    async def read_message(self, session_id: str, message_id: str) -> Message:
        return await messages.read_message(self.opencode, session_id, message_id)

    async def list_todos(self, session_id: str) -> list[Todo]:
        return []  # OpenCode 2 has no to-do lists

    async def refuse_unreadable(self, session_id: str) -> None:
        """OpenCode 2 has one API only."""

    # Work

    async def send_prompt(
        self,
        session: Session,
        parts: Sequence[Mapping[str, Any]],
        selection: Mapping[str, Any],
        message_id: str | None = None,
    ) -> None:
        await prompts.send_prompt(self.opencode, session, parts, selection, message_id, self.list_agents)

    async def run_shell(self, session_id: str, agent: str, command: str) -> None:
        await shells.run_shell(self.opencode, session_id, command)

    async def abort(self, session_id: str) -> None:
        await prompts.abort(self.opencode, session_id)

    # Requests

    async def list_requests(self, directory: str) -> list[AgentRequest]:
        return await requests.list_requests(self.opencode, directory)

    async def reply_to_permission(
        self, directory: str, request: AgentRequest, reply: PermissionReply, message: str = ""
    ) -> None:
        await requests.reply_to_permission(self.opencode, request, reply, message)

    async def answer_question(
        self, directory: str, request: QuestionRequest, answers: Sequence[Sequence[str]] | None, message: str = ""
    ) -> None:
        await requests.answer_question(self.opencode, directory, request, answers, message)

    # What a directory has

    async def read_config(self, directory: str | None) -> Config:
        return await model_selection.read_config(self.opencode, directory)

    async def list_agents(self, directory: str | None) -> list[Agent]:
        return await model_selection.list_agents(self.opencode, directory)

    async def list_models(self, directory: str | None) -> dict[str, dict[str, Any]]:
        return await model_selection.list_models(self.opencode, directory)

    async def list_default_models(self, directory: str | None) -> set[str]:
        return await model_selection.list_default_models(self.opencode, directory)

    async def list_tool_names(self, directory: str | None) -> tuple[set[str], set[str]]:
        return await model_selection.list_tool_names(self.opencode, directory)

    # Files, branches, worktrees

    async def list_files(self, directory: str | None, path: str) -> list[str]:
        return await directories.list_files(self.opencode, directory, path)

    async def find_files(self, query: str, limit: int) -> list[str]:
        return await directories.find_files(self.opencode, query, limit)

    async def read_paths(self, directory: str | None) -> ProjectPath:
        return await directories.read_paths(self.opencode, directory)

    async def read_branch(self, directory: str) -> Branch:
        return await directories.read_branch(self.opencode, directory)

    async def list_uncommitted(self, directory: str) -> list[FileChange]:
        return await directories.list_uncommitted(self.opencode, directory)

    async def diff_files(self, directory: str, base: DiffBase) -> list[FileChange]:
        return await directories.diff_files(self.opencode, directory, base)

    async def apply_patch(self, directory: str, patch: str) -> None:
        directories.refuse_patch(directory)

    async def diff_turn(self, session_id: str, message_id: str) -> list[FileChange]:
        return await directories.diff_turn(self.opencode, session_id, message_id)

    async def list_worktrees(self, directory: str) -> list[str]:
        return await worktrees.list_worktrees(self.opencode, directory)

    async def create_worktree(self, directory: str | None) -> Worktree:
        return await worktrees.create_worktree(self.opencode, directory)

    async def remove_worktree(self, directory: str | None, worktree: str) -> None:
        await worktrees.remove_worktree(self.opencode, directory, worktree)
