"""The protocol of an engine: what tasks need from an OpenCode, in the terms of `models.py`.

The terms are OpenCode 1's, as its answers need no translation. Requests go through the client, so all that is enforced
on operations holds here: the allowlist, --read-only, the limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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

METADATA_KEY = "opencode_mcp"
"""The key in a session's metadata under which bridges store what they must know of a task."""

DEFAULT_AGENT = "build"
"""The agent that runs a prompt where neither the prompt nor the configuration names one."""

PermissionReply = Literal["once", "always", "reject"]
DiffBase = Literal["git", "branch"]
"""What a working tree is compared with: its last commit, or the default branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTraits:
    """What differs between the generations and is the same for all requests.

    - min_version: the oldest version that tasks work with.
    - default_variant: what a session's model has as its variant where its prompt named none.
    - replaces_rules: a session's rules can be replaced; otherwise rules can only be added.
    - shell, subagent: the permissions of shell commands and of subagents.
    - subagents_ask: a subagent asks where the session's rules say so; otherwise it has only what they deny.
    - reading: the permissions of tools that change no file.
    - permissions: all permissions that rules know beside those of plugins and MCP servers.
    - decided_by: tools that have no permission of their own, and the permission that decides about each.
    - always_lasts: how long the reply `always` counts, for a description: "until OpenCode exits".
    - has_system_prompts: a prompt may have a system prompt of its own.
    - has_forms: a question is a form, whose id begins with `frm_`, and whose fields may be empty.
    - lists_tools: the operation that lists what OpenCode knows of tools.
    - needs_model: a prompt needs a model that its caller or the configuration has named, as OpenCode would call one
      that it hosts.
    - words: words of OpenCode 1 in the descriptions of task tools, and what stands for each.
    - has_command_templates: OpenCode says what its commands send to the model.
    - file_operation: the tool name of the operation that returns a file as it is, by its `path`.
    - reading_tools: the tools that read and find files, for a text.
    """

    min_version: str
    default_variant: str | None
    replaces_rules: bool
    shell: str
    subagent: str
    subagents_ask: bool
    reading: Sequence[str]
    permissions: Sequence[str]
    decided_by: Mapping[str, str]
    always_lasts: str
    has_system_prompts: bool
    has_forms: bool
    lists_tools: str
    needs_model: bool
    words: Mapping[str, str]
    has_command_templates: bool
    file_operation: str
    reading_tools: str


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A part of a conversation, oldest first; `earlier` leads to the page before it, None if there is none."""

    messages: Sequence[Message]
    earlier: str | None = None


class Engine(Protocol):
    """Requests of tasks to one OpenCode. A `directory` of None is OpenCode's default.

    Each method raises an APIError if OpenCode refuses (404 for a session, message or request that does not exist), and
    a TransportError if it does not answer.
    """

    @property
    def traits(self) -> EngineTraits:
        """What differs between the generations."""
        ...

    # Sessions

    async def read_session(self, session_id: str) -> Session:
        """Return a session."""
        ...

    async def list_sessions(self, directory: str | None, limit: int) -> list[Session]:
        """Return the newest sessions of the project that a directory belongs to, its worktrees included."""
        ...

    async def list_recent_sessions(self, limit: int) -> list[Session]:
        """Return the newest sessions of OpenCode's default directory, in its worktrees too."""
        ...

    async def list_newest_sessions(self, limit: int) -> list[Session]:
        """Return the newest sessions of OpenCode's default directory, newest first."""
        ...

    async def list_roots(self, limit: int) -> list[Session]:
        """Return the newest sessions of all directories, newest first, without archived ones and those of subagents."""
        ...

    async def show_session(self, session_id: str) -> dict[str, Any]:
        """Return a session as OpenCode has it."""
        ...

    async def list_children(self, session_id: str) -> list[Session]:
        """Return the sessions directly below a session."""
        ...

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
        """Create a session; `rules` come after those of its agent. Shielded: a cancelled request may create it too."""
        ...

    async def update_session(
        self, session_id: str, *, metadata: Mapping[str, Any], rules: Sequence[PermissionRule] | None = None
    ) -> Session:
        """Replace a session's metadata, and replace its rules or add to them (`replaces_rules`); None keeps them."""
        ...

    async def delete_session(self, session_id: str) -> None:
        """Delete a session and those below it."""
        ...

    async def read_statuses(self, directory: str | None) -> dict[str, SessionStatus]:
        """Return the status of each session of a directory that is not idle, by id; others may be among them."""
        ...

    async def list_running(self, directory: str) -> set[str]:
        """Return the sessions that run in a directory or below it."""
        ...

    async def list_active(self) -> dict[str, bool]:
        """Return the sessions that OpenCode knows to run without loading a directory, and whether they can be read."""
        ...

    # Messages

    async def list_messages(self, session_id: str, limit: int | None = None) -> list[Message]:
        """Return a session's newest messages, or all of them, oldest first."""
        ...

    async def read_message_page(self, session_id: str, limit: int, before: str | None) -> MessagePage:
        """Return a session's newest messages, or those that `earlier` of another page leads to."""
        ...

    async def read_message(self, session_id: str, message_id: str) -> Message:
        """Return a message."""
        ...

    async def list_todos(self, session_id: str) -> list[Todo]:
        """Return a session's to-do list, [] where there is none."""
        ...

    async def refuse_unreadable(self, session_id: str) -> None:
        """Refuse a session without messages if another API of OpenCode has some.

        Raises:
            WorkflowError: the message names the tools for it.
        """
        ...

    # Work

    async def send_prompt(
        self,
        session: Session,
        parts: Sequence[Mapping[str, Any]],
        selection: Mapping[str, Any],
        message_id: str | None = None,
    ) -> None:
        """Send a prompt: text and file parts as OpenCode 1 has them.

        `selection` may have `model` {providerID, modelID}, `agent`, `variant` and `system`. OpenCode takes a prompt
        with a `message_id` once.
        """
        ...

    async def run_shell(self, session_id: str, agent: str, command: str) -> None:
        """Run a command in a session's directory until it ends; its output is in the session's messages."""
        ...

    async def abort(self, session_id: str) -> None:
        """Abort a session's turn, and drop the prompts that OpenCode keeps for later."""
        ...

    # Requests

    async def list_requests(self, directory: str) -> list[AgentRequest]:
        """Return the permission requests, then the questions, that wait for an answer in a directory."""
        ...

    async def reply_to_permission(
        self, directory: str, request: AgentRequest, reply: PermissionReply, message: str = ""
    ) -> None:
        """Reply to a permission request; with `reject`, the message tells the model what to do instead."""
        ...

    async def answer_question(
        self, directory: str, request: QuestionRequest, answers: Sequence[Sequence[str]] | None, message: str = ""
    ) -> None:
        """Answer a question with a list of labels or free texts for each part of it; None rejects it.

        A rejection ends the turn; with a message the model goes on, with these words.
        """
        ...

    # What a directory has

    async def read_config(self, directory: str | None) -> Config:
        """Return the defaults of prompts."""
        ...

    async def list_agents(self, directory: str | None) -> list[Agent]:
        """Return the agents."""
        ...

    async def list_models(self, directory: str | None) -> dict[str, dict[str, Any]]:
        """Return the models as `provider/model`, with `name`, `limit`, `cost`, and `variants` by name."""
        ...

    async def list_default_models(self, directory: str | None) -> set[str]:
        """Return the models that a prompt may use when neither it nor its agent names one, as `provider/model`."""
        ...

    async def list_tool_names(self, directory: str | None) -> tuple[set[str], set[str]]:
        """Return the names of the tools that OpenCode offers to models as far as it lists them, and of MCP servers."""
        ...

    async def list_files(self, directory: str | None, path: str) -> list[str]:
        """Return the names in a folder of a directory; an APIError if it does not exist."""
        ...

    async def find_files(self, query: str, limit: int) -> list[str]:
        """Return paths of files below OpenCode's default directory that match a text, by OpenCode's fuzzy search."""
        ...

    async def read_paths(self, directory: str | None) -> ProjectPath:
        """Return where a directory is: the top of its git working tree, and the home folder if OpenCode says it."""
        ...

    async def read_branch(self, directory: str) -> Branch:
        """Return the branches of a working tree."""
        ...

    async def list_uncommitted(self, directory: str) -> list[FileChange]:
        """Return the files that git calls uncommitted, without patches."""
        ...

    async def diff_files(self, directory: str, base: DiffBase) -> list[FileChange]:
        """Return the changes in a working tree, with patches."""
        ...

    async def apply_patch(self, directory: str, patch: str) -> None:
        """Apply a patch to a working tree, all or nothing."""
        ...

    async def diff_turn(self, session_id: str, message_id: str) -> list[FileChange]:
        """Return what a user's message led to, as OpenCode's snapshots show it.

        Raises:
            WorkflowError: OpenCode cannot show it any more; says why.
        """
        ...

    async def list_worktrees(self, directory: str) -> list[str]:
        """Return the worktrees that OpenCode has created for a project."""
        ...

    async def create_worktree(self, directory: str | None) -> Worktree:
        """Create a git worktree of a project. Shielded: a cancelled request may create it too."""
        ...

    async def remove_worktree(self, directory: str | None, worktree: str) -> None:
        """Remove a worktree with its branch, whatever it has."""
        ...
