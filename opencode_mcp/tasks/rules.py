"""What the rules of a prompt make of its task's state: passed its check, beyond a limit, or something left to do.

session's metadata + the sessions of its checks -> status

Any bridge derives the same status, as everything that it depends on is stored in OpenCode.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import engine_of
from opencode_mcp.opencode.models import Session
from opencode_mcp.opencode.prompt_policy import PromptPolicy
from opencode_mcp.redaction import to_one_line

from .ask_timeout import overdue_requests
from .attempts import find_attempt
from .check import CHECK_SECONDS, read_check
from .idempotency import is_same_prompt
from .json_answer import read_answer
from .metadata import Limits, Rules, readable_metadata, task_metadata
from .session_state import SessionSnapshot, TaskStatus, classify, read_newest_messages, unless_deleted
from .shell import is_running, read_script_call
from .turn import TurnFacts, Usage, format_model

KEPT = "; its work is kept, and a prompt with its session_id continues it"

START_SECONDS = 20.0
"""How long a bridge may take between creating the session of a check and running the check in it."""


def rules_of(snapshot: SessionSnapshot) -> Rules | None:
    """Return the rules of a session's newest turn; None if it has none, or if another client sent its prompt."""
    rules = task_metadata(snapshot.session).rules
    return rules if rules is not None and find_attempt(rules.prompt_id, snapshot.prompt_id) else None


def is_newest_turn(snapshot: SessionSnapshot, prompt_id: str) -> bool:
    """Whether a prompt began the newest turn of a session; so did the one whose failed check this turn corrects.

    "" stands for the newest prompt.
    """
    newest, rules = snapshot.newest_message, rules_of(snapshot)
    newest_ids = () if newest is None else (newest.user_message_id, snapshot.prompt_id)
    if newest_ids and (not prompt_id or any(is_same_prompt(newest_id, prompt_id) for newest_id in newest_ids)):
        return True
    return rules is not None and find_attempt(rules.prompt_id, prompt_id) is not None


async def apply_rules(opencode: OpenCodeClient, snapshot: SessionSnapshot, status: TaskStatus) -> TaskStatus:
    """Return the status that the rules of the newest turn make of its own; what is `due` is left to do."""
    rules = rules_of(snapshot)
    if rules is None:
        return status
    if snapshot.busy and overdue_requests(rules, snapshot.pending):
        return replace(status, due="reject")
    if snapshot.busy:
        return await apply_running_check(opencode, snapshot, rules, status) if rules.check else status
    if rules.stopped is not None:
        return TaskStatus("stopped", error=rules.stopped)
    status = await apply_output_schema(snapshot, rules, status)
    return await apply_check(opencode, snapshot, rules, status) if rules.check else status


async def apply_output_schema(snapshot: SessionSnapshot, rules: Rules, status: TaskStatus) -> TaskStatus:
    """Return the status of a turn that ended well by its answer: it fits the schema, must be corrected, or has failed.

    It comes before the check, which so runs on what the last prompt has left.
    """
    newest = snapshot.newest_message
    if rules.output_schema is None or status.state != "completed" or newest is None:
        return status
    answer = await read_answer(rules.output_schema, newest.text)
    if answer.problem is None:
        return replace(status, structured=answer.value)
    attempt = find_attempt(rules.prompt_id, snapshot.prompt_id)
    if attempt is not None and attempt.is_repair:
        return TaskStatus("failed", error=f"the answer does not fit output_schema: {answer.problem}")
    return TaskStatus("running", due="repair")


async def apply_check(
    opencode: OpenCodeClient, snapshot: SessionSnapshot, rules: Rules, status: TaskStatus
) -> TaskStatus:
    """Return the status of a turn that ended well by its check: passed, failed, or still to be run or sent back."""
    if status.state != "completed" or snapshot.newest_message is None:
        return status
    prompt_id = snapshot.prompt_id
    check_session = await find_check(opencode, snapshot.session.id, prompt_id)
    if check_session is None:
        return TaskStatus("running", due="check")
    call = await read_script_call(opencode, check_session)
    if call is None:
        return TaskStatus("running", due="check" if may_begin(check_session) else None)
    if call.state is not None and call.state.time.end is None:  # it began or ended meanwhile, or OpenCode was killed
        if await is_running(opencode, check_session):
            return TaskStatus("running")
        call = await read_script_call(opencode, check_session) or call
    attempt = find_attempt(rules.prompt_id, prompt_id)
    assert attempt is not None
    result = read_check(call, check_session.id, " && ".join(rules.check), attempt.number)
    reason = task_metadata(check_session).stopped
    if result.passed:
        return replace(status, check=result)
    if result.was_aborted and reason is None:
        return TaskStatus("stopped", error=f"aborted during its check{KEPT}", check=result)
    if attempt.number <= rules.check_retries and (result.exit_code is not None or reason is not None):
        return TaskStatus("running", due="retry", check=result)
    return replace(status, state="check_failed", error=reason or result.describe(), check=result)


async def apply_running_check(
    opencode: OpenCodeClient, snapshot: SessionSnapshot, rules: Rules, status: TaskStatus
) -> TaskStatus:
    """Return the status of a busy session: a running check is its activity, and due to be ended after a time."""
    if snapshot.session.id in snapshot.statuses:
        return status
    check_session = await find_check(opencode, snapshot.session.id, snapshot.prompt_id)
    if check_session is None or check_session.id not in snapshot.statuses:
        return status
    is_over_time = time.time() - check_session.time.created / 1000 > CHECK_SECONDS + START_SECONDS
    activity = f"running the check: {to_one_line(' && '.join(rules.check))}"
    return replace(status, activity=activity, due="end_check" if is_over_time else None)


def may_begin(check_session: Session) -> bool:
    """Whether a check that has not begun may be: the bridge that created its session has had the time to."""
    return time.time() - check_session.time.created / 1000 > START_SECONDS


async def find_check(opencode: OpenCodeClient, session_id: str, prompt_id: str) -> Session | None:
    """Return the session that runs the check of a prompt: the first, if two bridges created one at the same time."""
    children = await engine_of(opencode).list_children(session_id)
    checks = [child for child in children if readable_metadata(child).check_of == prompt_id]
    return min(checks, key=lambda child: (child.time.created, child.id)) if checks else None


async def has_work_left(opencode: OpenCodeClient, snapshot: SessionSnapshot) -> bool:
    """Whether a session that is idle has a check to run, or something to send back."""
    status = classify(snapshot)
    return not snapshot.busy and (await apply_rules(opencode, snapshot, status)).due is not None


async def find_forbidden_model(opencode: OpenCodeClient, snapshot: SessionSnapshot, rules: Rules) -> str | None:
    """Say which model that a task's rules do not allow replies in its family now; None for none.

    What a subagent has replied before the prompt does not count. OpenCode's ids of messages ascend (1.18.33).
    """
    policy = PromptPolicy(rules.models)
    newest = [snapshot.newest_message] if snapshot.newest_message is not None else []
    for member_id in snapshot.family[1:] if rules.models else ():
        newest += await unless_deleted(partial(read_newest_messages, opencode, member_id, limit=1), [])
    replies = [reply for reply in newest if reply.info.role == "assistant" and reply.info.id > rules.prompt_id]
    models = [format_model(reply) for reply in replies]
    forbidden = next((model for model in models if model is not None and not policy.allows(model)), None)
    return None if forbidden is None else f"model {forbidden} answered, which --models does not allow{KEPT}"


def keeps_bounds(policy: PromptPolicy, rules: Rules) -> bool:
    """Whether the rules of a prompt bound it at least as much as `--models` and `--max-cost` of this bridge do."""
    cost = rules.limits.cost
    is_affordable = policy.max_cost is None or (cost is not None and cost <= policy.max_cost)
    return is_affordable and policy.models in {(), rules.models}


def passed_limit(rules: Rules, used: Usage) -> str | None:
    """Say which limit a turn has passed, None for none; `used` is what its family has used since it exists."""
    limits = rules.limits
    if amount := describe_excess(limits, Usage(used.cost - rules.cost, used.tokens - rules.tokens)):
        return f"it passed {amount}{KEPT}"
    minutes = (time.time() * 1000 - rules.started) / 60_000
    if limits.minutes is not None and minutes > limits.minutes:
        return f"it passed its limit of {limits.minutes:g} minutes{KEPT}"
    return None


def describe_excess(limits: Limits, used: Usage) -> str | None:
    """Say which limit is less than what was used, and how much that is; None for none."""
    if limits.cost is not None and used.cost > limits.cost:
        return f"its limit of ${limits.cost:g}: ${used.cost:.4f}"
    if limits.tokens is not None and used.tokens > limits.tokens:
        return f"its limit of {limits.tokens} tokens: {used.tokens}"
    return None


def describe_passed_limit(snapshot: SessionSnapshot, status: TaskStatus, turn: TurnFacts | None) -> str | None:
    """Say which limit a turn has passed with its last call, before it could be stopped; None for none.

    Only the turn's own replies count: what its family has used may be of a later prompt.
    """
    rules = rules_of(snapshot)
    if turn is None or rules is None or status.state not in {"completed", "check_failed"}:
        return None
    excess = describe_excess(rules.limits, turn.usage)
    return f"The turn has ended by itself, but it passed {excess}." if excess else None
