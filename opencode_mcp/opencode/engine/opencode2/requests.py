"""What OpenCode 2 asks the user: permissions, and forms, which are questions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from pydantic import Field

from opencode_mcp.exceptions import APIError
from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.engine.optional import optional
from opencode_mcp.opencode.engine.protocol import PermissionReply
from opencode_mcp.opencode.form_answers import fill_form
from opencode_mcp.opencode.forms import NO_SESSION, FormField, FormRequest, ask_fields
from opencode_mcp.opencode.models import (
    AgentRequest,
    Model,
    PermissionRequest,
    QuestionRequest,
    StoredPermissionRequest,
)

from .pages import read_data, read_pages
from .traits import TRAITS

CONFLICT, NOT_FOUND = 409, 404
REMOVED_DIRECTORY = "LocationNotFoundError"


class PermissionInfo(Model):
    """A tool call that waits for permission. `save` is what the reply `always` stores, for the project and for good."""

    id: str
    session_id: str
    action: str
    resources: tuple[str, ...]
    save: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])

    def to_request(self) -> PermissionRequest:
        """Return it in the terms of `models.py`."""
        return StoredPermissionRequest(
            id=self.id,
            session_id=self.session_id,
            permission=self.action,
            patterns=self.resources,
            metadata=self.metadata,
            always=self.save,
            always_lasts=TRAITS.always_lasts,
        )


class FormInfo(Model):
    """A form that waits for its answer. The question tool's has a `metadata.kind` of its own."""

    id: str
    session_id: str
    title: str
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    fields: tuple[FormField, ...]

    def to_request(self, session_id: str) -> FormRequest:
        """Return it as questions to a session. A question of the model's must be answered, as OpenCode 1 has it."""
        is_question = self.metadata.get("kind") == "question"
        fields = tuple(field.model_copy(update={"required": True}) if is_question else field for field in self.fields)
        return FormRequest(
            id=self.id,
            session_id=session_id,
            questions=ask_fields(fields),
            title="" if is_question else self.title,
            fields=fields,
            owner_id=self.session_id,
        )


async def list_requests(opencode: OpenCodeClient, directory: str) -> list[AgentRequest]:
    """Return the permission requests, then the forms, that wait for an answer in a directory; [] if it was removed."""
    location = {"directory": directory}
    try:
        permissions, forms = await gather(
            partial(read_data, opencode, list[PermissionInfo], "permission_request_list", location=location),
            partial(read_data, opencode, list[FormInfo], "form_list", location=location),
        )
    except APIError as error:
        if error.name != REMOVED_DIRECTORY:
            raise
        return []
    session_id = NO_SESSION
    if any(form.session_id == NO_SESSION for form in forms):
        session_id = await find_only_active_session(opencode, directory) or NO_SESSION
    return [
        *(permission.to_request() for permission in permissions),
        *(form.to_request(session_id if form.session_id == NO_SESSION else form.session_id) for form in forms),
    ]


async def find_only_active_session(opencode: OpenCodeClient, directory: str) -> str | None:
    """Return the session that alone works in a directory, beside those below it: a form without a session is its own.

    None if there are several, as the form may be any one's.
    """
    active, sessions = await gather(
        partial(read_data, opencode, dict[str, Any], "session_active"),
        partial(read_pages, opencode, "session_list", directory=directory),
    )
    working = {session["id"]: session.get("parentID") for session in sessions if session["id"] in active}
    roots = [session_id for session_id, parent_id in working.items() if parent_id not in working]
    return roots[0] if len(roots) == 1 else None


async def reply_to_permission(
    opencode: OpenCodeClient, request: AgentRequest, reply: PermissionReply, message: str
) -> None:
    """Reply to a permission request, which may be a subagent's."""
    ids = {"sessionID": request.session_id, "requestID": request.id}
    await opencode.call("session_permission_reply", **ids, decision=reply, **optional(message=message or None))


async def answer_question(
    opencode: OpenCodeClient,
    directory: str,
    request: QuestionRequest,
    answers: Sequence[Sequence[str]] | None,
    message: str,
) -> None:
    """Answer a form, or cancel it; with a message the model goes on.

    Raises:
        WorkflowError: an answer does not fit its field; nothing was sent.
        APIError: 404, the form was answered or cancelled before.
    """
    assert isinstance(request, FormRequest)
    location = quote(directory, safe="/") if request.owner_id == NO_SESSION else None
    facts = {"sessionID": request.owner_id, "formID": request.id, **optional(directory=location)}
    try:
        if answers is None:
            await opencode.call("session_form_cancel", **facts, **optional(message=message or None))
        else:
            await opencode.call("session_form_reply", **facts, answer=fill_form(request, answers).answer)
    except APIError as error:
        if error.status != CONFLICT:
            raise
        raise APIError(error.operation, NOT_FOUND, error.name, error.message, error.body, error.advice) from error
