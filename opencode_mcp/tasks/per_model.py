"""One task for several models: the same prompt for each of them, as tasks whose sessions form an answer group."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import sha256

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient

from .json_answer import refuse_invalid_schema
from .metadata import AnswerGroup
from .options import StartTask
from .start import check_options
from .workspace import check_directory

KEY_CHARS = 12


def tasks_for_models(tasks: Sequence[StartTask], models: Sequence[str]) -> list[StartTask]:
    """Return the only task once for each model, each in a worktree of its own.

    With a `request_id` the key follows from it, so that a repeated call continues the group.

    Raises:
        WorkflowError: the arguments contradict each other; nothing was started.
    """
    if len(tasks) != 1:
        raise WorkflowError(
            f"`models` runs one task with each of them, but `tasks` has {len(tasks)}. Nothing was started"
        )
    [task] = tasks
    for name in ("session_id", "model"):
        if getattr(task, name) is not None:
            raise WorkflowError(f"with `models`, the task takes no `{name}`. Nothing was started")
    if not task.worktree and "worktree" in task.model_fields_set:
        raise WorkflowError(
            "with `models`, each answer has a worktree of its own: `worktree` cannot be false. Nothing was started"
        )
    if repeated := next((model for model in models if models.count(model) > 1), None):
        raise WorkflowError(f"`models` names {repeated} more than once. Nothing was started")
    request_id = task.request_id or secrets.token_hex(16)
    key = sha256(f"{task.directory}\n{request_id}".encode()).hexdigest()[:KEY_CHARS]
    return [
        task.for_model(model, AnswerGroup(key=key, number=number, size=len(models)))
        for number, model in enumerate(models, 1)
    ]


async def check_models(opencode: OpenCodeClient, tasks: Sequence[StartTask]) -> None:
    """Check that each model can take its task, before any of them starts.

    Raises:
        WorkflowError: the directory is unknown, the schema invalid, or what `check_options` raises of the first wrong
            model.
    """
    await refuse_invalid_schema(tasks[0].output_schema)
    for task in tasks:
        if task.directory is not None:
            await check_directory(opencode, task.directory)
        await check_options(opencode, task.directory or opencode.directory, task)
