"""Permissions and questions of OpenCode as elicitation forms, in both protocol eras.

Up to 2025-11-25 the server asks while the call is open. From 2026-07-28 on the call returns the question with a sealed
state, and the client calls again with the answer and that state.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any, cast

import mcp_types as types
from mcp import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from opencode_mcp.exceptions import InputRequired
from opencode_mcp.opencode.models import AgentRequest, PermissionRequest, QuestionInfo
from opencode_mcp.redaction import Redactor
from opencode_mcp.tasks import Decision, Elicitor, Undecided
from opencode_mcp.tasks.pending_requests import describe_wish

from .lifespan import RequestContext

Form = dict[str, Any]

log = logging.getLogger(__name__)

MAX_ROUNDS = 8
"""Clients stop after ten rounds; after this many the report lists the pending requests instead."""

MIN_READING_SECONDS = 1.0
"""A user takes longer to read and decline a form; a client without a user, as in CI, declines in milliseconds."""

DECLINED_AT_ONCE = (
    "The client declined the form at once, as a client without a user does; this is not treated as a rejection."
)


def make_elicitor(
    context: RequestContext, params: types.CallToolRequestParams, request_state: Mapping[str, Any] | None
) -> Elicitor | None:
    """Return the elicitor for this client, or None if the client cannot elicit."""
    if not can_elicit(context):
        return None
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        rounds, asked_at = (request_state or {}).get("rounds", 0), (request_state or {}).get("asked_at", 0.0)
        return ResultElicitor(params.input_responses or {}, rounds, asked_at) if rounds < MAX_ROUNDS else None
    return PushElicitor(context) if context.session.can_send_request else None


def can_elicit(context: RequestContext) -> bool:
    """Whether the client shows forms."""
    capabilities = context.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


class PushElicitor:
    """Sends elicitation/create to the client."""

    def __init__(self, context: RequestContext) -> None:
        self._session = context.session
        self._redactor = context.lifespan_context.redactor
        self._request_id = context.request_id

    async def elicit(self, request: AgentRequest, state: Mapping[str, Any]) -> Decision | Undecided:
        """Ask and wait for the user; an error of the client decides nothing."""
        try:
            params = elicitation_params(request, self._redactor)
            started = time.monotonic()
            result = await self._session.elicit_form(
                params.message, params.requested_schema, related_request_id=self._request_id
            )
        except MCPError as error:
            log.warning("the client could not ask its user: %s", error)
            return Undecided(f"The client could not ask its user: {error}.")
        return parse_decision(request, result, time.monotonic() - started)


class ResultElicitor:
    """Asks with the result of the call; holds the answers of the previous round."""

    def __init__(self, answers: Mapping[str, Any], rounds: int, asked_at: float) -> None:
        self._answers = dict(answers)
        self._rounds = rounds
        self._asked_at = asked_at

    async def elicit(self, request: AgentRequest, state: Mapping[str, Any]) -> Decision | Undecided:
        """Return the answer that the client sent with the call, or raise InputRequired with the question.

        The state holds the time of asking in seconds since the epoch, as another replica may continue the call.
        """
        answer = self._answers.pop(request.id, None)
        if answer is None:
            raise InputRequired(request, {**state, "rounds": self._rounds + 1, "asked_at": time.time()})
        result = types.ElicitResult.model_validate(answer, from_attributes=True)
        return parse_decision(request, result, abs(time.time() - self._asked_at))


def input_required_result(required: InputRequired, redactor: Redactor) -> types.InputRequiredResult:
    """Return the input_required result; a middleware seals its state."""
    params = elicitation_params(required.request, redactor)
    return types.InputRequiredResult(
        input_requests={required.request.id: types.ElicitRequest(params=params)},
        request_state=json.dumps(required.state),
    )


def elicitation_params(request: AgentRequest, redactor: Redactor) -> types.ElicitRequestFormParams:
    """Return the form for a request, redacted, with invisible characters escaped."""
    return types.ElicitRequestFormParams(
        message=redactor.redact_text(elicitation_message(request)),
        requested_schema=redactor.redact(form_schema(request)),
    )


def elicitation_message(request: AgentRequest) -> str:
    """Return the message of the form."""
    wants = describe_wish(request)
    if isinstance(request, PermissionRequest):
        always = f" (always: {', '.join(request.always)})" if request.always else ""
        return f"OpenCode asks for permission: {wants}{always}"
    return f"OpenCode asks: {wants}"


def form_schema(request: AgentRequest) -> Form:
    """Return the form as the flat schema that clients render."""
    if isinstance(request, PermissionRequest):
        reply: Form = {"type": "string", "title": "Allow?", "enum": ["once", "always", "reject"]}
        instruction: Form = {"type": "string", "title": "If rejected: what to do instead"}
        return {"type": "object", "properties": {"reply": reply, "message": instruction}, "required": ["reply"]}
    properties: dict[str, Form] = {}
    required: list[str] = []
    for number, question in enumerate(request.questions, 1):
        properties |= question_fields(f"answer_{number}", question)
        if not question.custom:
            required.append(f"answer_{number}")
    return {"type": "object", "properties": properties, "required": required}


def question_fields(name: str, question: QuestionInfo) -> dict[str, Form]:
    """Return the form fields of one question: a choice, and a text field where a custom answer is allowed."""
    labels = [option.label for option in question.options]
    descriptions = "; ".join(
        f"{option.label}: {option.description}" for option in question.options if option.description
    )
    field: Form = {"type": "string", "title": question.question, "description": descriptions}
    if question.multiple:  # the flat forms of older clients have no arrays
        field["description"] = f"One or more of {', '.join(labels)}, separated by commas. {descriptions}"
    elif labels:
        field["enum"] = labels
    if not question.custom or question.multiple or not labels:
        return {name: field}
    return {name: field, f"{name}_other": {"type": "string", "title": f"{question.question} (in your own words)"}}


def parse_decision(request: AgentRequest, answer: types.ElicitResult, seconds: float) -> Decision | Undecided:
    """Parse the user's answer: `decline` rejects the request; `cancel` and an empty form decide nothing.

    A `decline` within MIN_READING_SECONDS decides nothing either; `seconds` is the time since the form was sent.
    """
    if answer.action == "cancel":
        return Undecided()
    if answer.action == "decline":
        if seconds < MIN_READING_SECONDS:
            return Undecided(DECLINED_AT_ONCE)
        return Decision(reply="reject", answers=None)
    content = answer.content or {}
    if isinstance(request, PermissionRequest):
        reply = content.get("reply")
        if reply not in {"once", "always", "reject"}:
            return Undecided()
        return Decision(reply=cast("Any", reply), message=str(content.get("message") or ""))
    answers = tuple(chosen_labels(question, f"answer_{n}", content) for n, question in enumerate(request.questions, 1))
    return Decision(answers=answers) if all(answers) else Undecided()


def chosen_labels(question: QuestionInfo, name: str, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the answer to one question: the custom text, else the selected options."""
    free_text = str(content.get(f"{name}_other") or "").strip()
    chosen = str(content.get(name) or "").strip()
    if free_text or not chosen:
        return (free_text,) if free_text else ()
    return tuple(part.strip() for part in chosen.split(",") if part.strip()) if question.multiple else (chosen,)
