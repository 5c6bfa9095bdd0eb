"""Permissions and questions of OpenCode as elicitation forms, in both protocol eras.

Up to 2025-11-25 the server asks while the call is open. From 2026-07-28 on the call returns the question with a sealed
state, and the client calls again with the answer and that state.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from opencode_mcp.exceptions import InputRequired, WorkflowError
from opencode_mcp.opencode.form_answers import fill_form
from opencode_mcp.opencode.forms import DONE, FormQuestion, FormRequest, name_default
from opencode_mcp.opencode.models import AgentRequest, PermissionRequest, QuestionInfo, StoredPermissionRequest
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


def shows_urls(context: RequestContext) -> bool:
    """Whether the client opens a page for its user."""
    capabilities = context.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and elicitation.url is not None


class PushElicitor:
    """Sends elicitation/create to the client."""

    def __init__(self, context: RequestContext) -> None:
        self._session = context.session
        self._redactor = context.lifespan_context.redactor
        self._request_id = context.request_id
        self._shows_urls = shows_urls(context)

    async def elicit(self, request: AgentRequest, state: Mapping[str, Any]) -> Decision | Undecided:
        """Ask and wait for the user; an error of the client decides nothing."""
        try:
            params = elicitation_params(request, self._redactor, self._shows_urls)
            started = time.monotonic()
            if isinstance(params, types.ElicitRequestURLParams):
                result = await self._session.elicit_url(params.message, params.url, request.id, self._request_id)
            else:
                result = await self._session.elicit_form(params.message, params.requested_schema, self._request_id)
        except MCPError as error:
            log.warning("the client could not ask its user: %s", error)
            return Undecided(f"The client could not ask its user: {error}.")
        return parse_decision(request, result, time.monotonic() - started)


class ResultElicitor:
    """Asks with the result of the call; holds the answers of the previous round. Made when these arrive."""

    def __init__(self, answers: Mapping[str, Any], rounds: int, asked_at: float) -> None:
        self._answers = dict(answers)
        self._rounds = rounds
        self._seconds = abs(time.time() - asked_at)  # now, as OpenCode may be slow to say what is asked

    async def elicit(self, request: AgentRequest, state: Mapping[str, Any]) -> Decision | Undecided:
        """Return the answer that the client sent with the call, or raise InputRequired with the question.

        The state holds the time of asking in seconds since the epoch, as another replica may continue the call.
        """
        answer = self._answers.pop(request.id, None)
        if answer is None:
            raise InputRequired(request, {**state, "rounds": self._rounds + 1, "asked_at": time.time()})
        result = types.ElicitResult.model_validate(answer, from_attributes=True)
        return parse_decision(request, result, self._seconds)


def input_required_result(
    required: InputRequired, redactor: Redactor, opens_pages: bool = False
) -> types.InputRequiredResult:
    """Return the input_required result; a middleware seals its state."""
    params = elicitation_params(required.request, redactor, opens_pages)
    return types.InputRequiredResult(
        input_requests={required.request.id: types.ElicitRequest(params=params)},
        request_state=json.dumps(required.state),
    )


def elicitation_params(
    request: AgentRequest, redactor: Redactor, opens_pages: bool = False
) -> types.ElicitRequestFormParams | types.ElicitRequestURLParams:
    """Return the form for a request, redacted, with invisible characters escaped.

    Where a page is all that it asks for, a client that opens pages gets its URL, unless that holds a secret.
    """
    url = request.only_url if isinstance(request, FormRequest) else ""
    if url and opens_pages and redactor.redact_text(url) == url:
        message = redactor.redact_text(elicitation_message(request))
        return types.ElicitRequestURLParams(message=message, url=url)
    return types.ElicitRequestFormParams(
        message=redactor.redact_text(elicitation_message(request)),
        requested_schema=redactor.redact(form_schema(request)),
    )


def elicitation_message(request: AgentRequest) -> str:
    """Return the message of the form."""
    wants = describe_wish(request)
    if isinstance(request, PermissionRequest):
        lasts = f", {request.always_lasts}" if isinstance(request, StoredPermissionRequest) else ""
        always = f" (always: {', '.join(request.always)}{lasts})" if request.always else ""
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
        if must_fill(question):
            required.append(f"answer_{number}")
    return {"type": "object", "properties": properties, "required": required}


def must_fill(question: QuestionInfo) -> bool:
    """Whether the field of a question must be filled in; the user may answer some in another field, or not at all."""
    if isinstance(question, FormQuestion):
        return question.is_required and not question.field.when and not (question.options and question.custom)
    return not question.custom


def question_fields(name: str, question: QuestionInfo) -> dict[str, Form]:
    """Return the form fields of one question: a choice, and a text field where a custom answer is allowed."""
    if isinstance(question, FormQuestion) and question.field.type not in {"string", "multiselect"}:
        return {name: typed_field(question)}
    labels = [option.label for option in question.options]
    descriptions = "; ".join(
        f"{option.label}: {option.description}" for option in question.options if option.description
    )
    field: Form = {"type": "string", "title": question.question, "description": descriptions}
    if question.multiple:  # the flat forms of older clients have no arrays
        field["description"] = f"One or more of {', '.join(labels)}, separated by commas. {descriptions}"
    elif labels:
        field["enum"] = labels
    if isinstance(question, FormQuestion):
        field = add_limits(field, question)
    if not question.custom or question.multiple or not labels:
        return {name: field}
    return {name: field, f"{name}_other": {"type": "string", "title": f"{question.question} (in your own words)"}}


def typed_field(question: FormQuestion) -> Form:
    """Return the form field of a number, a yes or no, or a page to visit."""
    asked = question.field
    form: Form = {"type": "boolean" if asked.type == "external" else asked.type, "title": question.question}
    details = f"Open {asked.url} first." if asked.type == "external" else question.takes
    return add_limits({**form, **({"description": details} if details else {})}, question)


def add_limits(form: Form, question: FormQuestion) -> Form:
    """Return a form field with what it takes: in words, and as far as a form can hold it to that."""
    asked = question.field
    limits = {
        "format": asked.format,
        "minLength": asked.min_length,
        "maxLength": asked.max_length,
        "minimum": asked.minimum,
        "maximum": asked.maximum,
        "default": name_default(asked),
    }
    described = form.get("description", "")
    if question.takes and question.takes not in described:
        described = ". ".join(text for text in (described.rstrip(". "), question.takes) if text)
    texts = {"description": described} if described else {}
    return {**form, **texts, **{name: limit for name, limit in limits.items() if limit is not None}}


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
    if isinstance(request, FormRequest):
        return parse_form(request, answer.content)
    answers = tuple(chosen_labels(question, f"answer_{n}", content) for n, question in enumerate(request.questions, 1))
    return Decision(answers=answers) if all(answers) else Undecided()


def parse_form(request: FormRequest, content: Mapping[str, Any] | None) -> Decision | Undecided:
    """Parse the answers to a form of OpenCode 2; None is that of a client which has opened the only page.

    What the user left in a field whose conditions do not hold is dropped.
    """
    if content is None:
        return Decision(answers=((DONE,),)) if request.only_url else Undecided()
    named = [(f"answer_{number}", question) for number, question in enumerate(request.questions, 1)]
    texts = tuple(
        chosen_labels(question, name, {key: write_value(value) for key, value in content.items()})
        for name, question in named
    )
    try:
        return Decision(answers=fill_form(request, texts, drops_inactive=True).texts)
    except WorkflowError as error:
        return Undecided(f"The user's answer does not fit: {error}.")


def write_value(value: Any) -> str:
    """Write the value of a field as the text that an answer has."""
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value)))
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def chosen_labels(question: QuestionInfo, name: str, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the answer to one question: the custom text, else the selected options."""
    free_text = str(content.get(f"{name}_other") or "").strip()
    chosen = str(content.get(name) or "").strip()
    if free_text or not chosen:
        return (free_text,) if free_text else ()
    labels = {option.label for option in question.options}
    return tuple(split_labels(chosen, labels)) if question.multiple else (chosen,)


def split_labels(text: str, labels: Collection[str]) -> Iterator[str]:
    """Yield what commas separate in a text; a label with commas stays whole."""
    parts = [part.strip() for part in text.split(",")]
    while parts:
        ends = range(len(parts), 1, -1)
        end = next((end for end in ends if ", ".join(parts[:end]) in labels), 1)
        if label := ", ".join(parts[:end]):
            yield label
        parts = parts[end:]
