"""The options of a task, as arguments of the tools that start one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, PrivateAttr

from opencode_mcp.opencode.coerce import ONE_TEXT

from .arguments import Arguments, NonEmpty
from .attachments import WEB_OR_DATA
from .attempts import MAX_RETRIES
from .json_answer import OutputSchema
from .metadata import Access, AnswerGroup, Limits, Permissions
from .permission_map import PermissionMap

MAX_PATH_CHARS = 4_096
"""The longest path that Linux takes."""


def check_path_length(path: str) -> str:
    """Return a path or URL.

    Raises:
        ValueError: no file can have this path.
    """
    if len(path) > MAX_PATH_CHARS and not path.startswith(WEB_OR_DATA):
        raise ValueError(f"the path has {len(path)} characters; the maximum is {MAX_PATH_CHARS}")
    return path


WhenBusy = Literal["refuse", "queue", "interrupt"]
"""What becomes of a prompt to a session that is busy."""

Commands = Annotated[list[NonEmpty], Field(json_schema_extra={ONE_TEXT: True})]
ModelName = Annotated[str, Field(pattern="^[^/]+/.+")]
Attachment = Annotated[str, AfterValidator(check_path_length)]


class StartTask(Arguments):
    """What a task is to do, and how."""

    prompt: str = Field(min_length=1, description="The whole task: goal, files, constraints, how to check it.")
    session_id: str | None = Field(
        None, pattern="^ses", description="Continue this session, with what it knows; default: a new one."
    )
    directory: NonEmpty | None = Field(None, description="Absolute path; default: this server's.")
    worktree: bool = Field(
        False,
        description=(
            "false (default): work in the project's own files. true: in a fresh checkout of the last commit; "
            "collect_changes with apply merges the result."
        ),
    )
    include_uncommitted: bool = Field(
        False, description="With worktree: uncommitted and untracked files too. Default false."
    )
    model: ModelName | None = Field(
        None,
        description="provider/model, from config_providers; default: the session's, or OpenCode's.",
    )
    agent: NonEmpty | None = Field(
        None,
        description="build (edits), plan (reads only) or another of app_agents; default: the session's, or "
        "OpenCode's, mostly build.",
    )
    variant: NonEmpty | None = Field(None, description="Reasoning effort: one of the model's `variants`, such as high.")
    system: NonEmpty | None = Field(None, description="Added to the system prompt.")
    files: list[Attachment] = Field(
        default_factory=list[str],
        description="To attach: paths in the project, absolute or ~ (lines: path:1-20), or URLs.",
    )
    permissions: Permissions | PermissionMap | None = Field(
        None,
        json_schema_extra={"x-shown": {"type": "string"}},
        description=(
            "Permission requests: report = listed in `pending`, you answer; ask = the user is asked; allow / reject; "
            'or rules: {"bash": {"*": "ask", "npm *": "allow"}}. Default: ask where possible, else report.'
        ),
    )
    access: Access | None = Field(None, description="read: no edits, no shell; edit: no shell. Default full.")
    ask_timeout_minutes: float | None = Field(
        None, gt=0, description="After this, a request without an answer is rejected."
    )
    setup: Commands = Field(
        default_factory=list[str],
        description="Shell commands before the prompt of a new session.",
    )
    check: Commands = Field(
        default_factory=list[str],
        description="Shell commands to pass after the turn; else check_failed.",
    )
    check_retries: int = Field(0, ge=0, le=MAX_RETRIES, description="How often a failed check goes back.")
    output_schema: OutputSchema | None = Field(None, description="JSON Schema that the answer must fit: `structured`.")
    limits: Limits = Field(Limits(), description="Stops the task beyond.")
    when_busy: WhenBusy = Field("refuse", description="A busy session: queue after its turn, or interrupt it.")
    request_id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Your own key: calls with the same one start one task.",
    )
    _answer_group: AnswerGroup | None = PrivateAttr(None)

    @property
    def answer_group(self) -> AnswerGroup | None:
        """Which of several answers to one task this task gives."""
        return self._answer_group

    def for_model(self, model: str, group: AnswerGroup) -> StartTask:
        """Return the task for one of several models; it has a worktree, and a request id, of its own."""
        request_id = None if self.request_id is None else f"{self.request_id} {model}"
        task = self.model_copy(update={"model": model, "worktree": True, "request_id": request_id})
        task._answer_group = group
        return task


class QueuedTask(StartTask):
    """A task that is sent later, maybe by another bridge: `models` are the patterns of `--models` of the first."""

    models: tuple[str, ...] = ()


AS_IN_RUN_TASK: Mapping[str, str] = {
    "prompt": "As in run_task.",
    "session_id": "Continue this session; default: a new one.",
    "directory": "Absolute path.",
    "worktree": "As in run_task.",
    "include_uncommitted": "As in run_task.",
    "model": "provider/model, from config_providers.",
    "agent": "As in run_task.",
    "variant": "As in run_task.",
    "files": "As in run_task.",
    "permissions": "As in run_task.",
}
"""By argument: a shorter description, for the second tool that has it."""


LISTED_BY_RUN_TASK = (
    *("access", "ask_timeout_minutes", "setup", "check", "check_retries", "limits", "output_schema", "when_busy"),
    "request_id",
    "system",
)
"""Arguments that start_task and run_tasks take and do not list: each list costs every request of a client."""


SHORT_PERMISSIONS = {"type": "string", "enum": [*get_args(Permissions)]}
"""What start_task and run_tasks list of `permissions`; run_task lists no values: strict clients send a map as JSON."""


def refer_to_run_task(schema: dict[str, Any]) -> None:
    """Replace the descriptions of a schema's properties by those that refer to run_task."""
    leave_to_run_task(schema)
    schema["properties"]["permissions"]["x-shown"] = SHORT_PERMISSIONS
    for name, description in AS_IN_RUN_TASK.items():
        schema["properties"][name]["description"] = description


class StartOneTask(StartTask):
    """Arguments of start_task."""

    model_config = ConfigDict(json_schema_extra=refer_to_run_task)


def leave_to_run_task(schema: dict[str, Any]) -> None:
    """Mark the arguments that only run_task lists."""
    for name in LISTED_BY_RUN_TASK:
        schema["properties"][name]["x-unlisted"] = True


def leave_out_descriptions(schema: dict[str, Any]) -> None:
    """Remove the descriptions of a schema's properties."""
    leave_to_run_task(schema)
    schema["properties"]["permissions"]["x-shown"] = SHORT_PERMISSIONS
    for field in schema["properties"].values():
        field.pop("description", None)


class StartTaskOfSeveral(StartTask):
    """One of the tasks of run_tasks, which names run_task for its fields."""

    model_config = ConfigDict(json_schema_extra=leave_out_descriptions)
