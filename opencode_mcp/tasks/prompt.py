"""Send a task's prompt, with the rules that bridges enforce on it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

import anyio
from pydantic import BaseModel, Field

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Message, Session

from .context import Context
from .idempotency import make_prompt_id
from .json_answer import ask_for_json, dump_compact
from .metadata import Limits, Rules, save_task_metadata
from .options import QueuedTask, StartTask
from .turn import Usage

NO_LIMITS = Limits()
NOTHING_USED = Usage()


class SentPrompt(BaseModel):
    """A prompt that was sent: `previous_prompt_id` is the user's message before it, "" when there is none.

    It is None where the prompt may have been sent by another process. `queued_id` is the id of one that is queued, and
    its end that of its message's id later. `note` is what the caller must know. `session` is the session as it was
    before the prompt, where this call has just sent it.
    """

    session_id: str
    previous_prompt_id: str | None = None
    queued_id: str | None = None
    note: str | None = None
    session: Session | None = Field(default=None, exclude=True)


def refuse_system_prompt(opencode: OpenCodeClient, arguments: StartTask) -> None:
    """Refuse a system prompt that OpenCode does not take.

    Raises:
        WorkflowError: says what to do instead.
    """
    if arguments.system is not None and not engine_of(opencode).traits.has_system_prompts:
        raise WorkflowError("this OpenCode takes no system prompt with a prompt: write it into `prompt`, not `system`")


def make_rules(
    context: Context,
    arguments: StartTask,
    prompt_id: str = "",
    used: Usage = NOTHING_USED,
    started: float | None = None,
) -> Rules | None:
    """Return what is enforced on a prompt, None for nothing; `used` is what its session's family has used before.

    `started` is when the task began (seconds since the epoch): now, unless it was set up before.
    """
    policy = context.opencode.prompt_policy
    costs = [cost for cost in (arguments.limits.cost, policy.max_cost) if cost is not None]
    limits = arguments.limits.model_copy(update={"cost": min(costs, default=None)})
    rules = Rules(
        prompt_id=prompt_id,
        started=(started or time.time()) * 1000,
        cost=used.cost,
        tokens=used.tokens,
        limits=limits,
        check=tuple(arguments.check),
        check_retries=arguments.check_retries,
        output_schema=dump_compact(arguments.output_schema) if arguments.output_schema is not None else None,
        ask_timeout_minutes=arguments.ask_timeout_minutes,
        models=policy.models or (arguments.models if isinstance(arguments, QueuedTask) else ()),
    )
    has_any = rules.check or rules.output_schema or rules.ask_timeout_minutes or limits != NO_LIMITS or rules.models
    return rules if has_any else None


async def send_prompt(
    context: Context,
    session: Session,
    arguments: StartTask,
    selection: Mapping[str, Any],
    newest: Message | None,
    attachments: list[dict[str, Any]],
    used: Usage = NOTHING_USED,
    started: float | None = None,
) -> None:
    """Send the prompt after the newest message, with its rules; the caller follows it (`follower.py`).

    With a `request_id`, or with rules, its ids are derived from a key; else they are OpenCode's. `used` is what the
    session's family has used before, `started` when the task began.
    """
    opencode = context.opencode
    parts: list[dict[str, Any]] = [{"type": "text", "text": arguments.prompt}, *attachments]
    if arguments.output_schema is not None:
        parts.append({"type": "text", "text": ask_for_json(dump_compact(arguments.output_schema)), "synthetic": True})
    selected = {**selection, **({} if arguments.system is None else {"system": arguments.system})}
    message_id: str | None = None
    is_ruled = make_rules(context, arguments) is not None
    if arguments.request_id is not None or is_ruled:
        bare_id = make_prompt_id(session, newest, arguments.request_id or secrets.token_hex(16))
        if is_ruled:
            rules = make_rules(context, arguments, f"msg_{bare_id}", used, started)
            await save_task_metadata(opencode, session.id, rules=rules)
        message_id = f"msg_{bare_id}"
    with anyio.CancelScope(shield=True):  # a request cut off midway may have been accepted
        await engine_of(opencode).send_prompt(session, parts, selected, message_id)
