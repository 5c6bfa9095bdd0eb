"""What waits for the user: permissions and forms. Both are in the memory of a process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .rules import REJECTED, PendingForm, PendingPermission, Refused, evaluate
from .store import Json, Session, new_id

if TYPE_CHECKING:
    from .engine import Engine

NO_SESSION = "global"
"""Facts, forms: the session of a form that has none."""


@dataclass(eq=False)
class Requests:
    """The pending permissions and all forms, by id. Facts, forms: a settled form can be read for ten minutes."""

    engine: Engine
    permissions: dict[str, PendingPermission] = field(default_factory=dict[str, PendingPermission])
    forms: dict[str, PendingForm] = field(default_factory=dict[str, PendingForm])

    def rules(self, session: Session, agent: str | None = None) -> list[Json]:
        """Return the rules of an agent, then those of the session. Facts, permissions: an unknown agent has none."""
        project = self.engine.project(session)
        rules = project.rules(agent or session.info.get("agent", "build"))
        if rules is None:
            return [{"action": "*", "resource": "*", "effect": "deny"}]
        return [*rules, *session.info.get("permissions", [])]

    def saved(self, session: Session) -> list[Json]:
        """Return what was allowed for always in the project."""
        return [
            {"action": item["action"], "resource": item["resource"]}
            for item in self.engine.store.saved
            if item["projectID"] == session.info["projectID"]
        ]

    async def ask(
        self, session: Session, action: str, resources: list[str], save: list[str], metadata: Json, source: Json | None
    ) -> None:
        """Return when it is allowed. Source: a request of a call that is interrupted is withdrawn without an event.

        Raises:
            Declined: the user rejected without a message.
            Refused: a rule denies, or the user rejected with a message.
        """
        effect, pending = self.evaluate(session, action, resources, save, metadata, source)
        if effect == "deny":
            raise Refused(f"Permission denied: {action}", REJECTED)
        if pending is None:
            return
        try:
            await pending.settled.wait()
        finally:
            self.permissions.pop(pending.request["id"], None)
        pending.raise_if_rejected()

    def evaluate(
        self,
        session: Session,
        action: str,
        resources: list[str],
        save: list[str] | None = None,
        metadata: Json | None = None,
        source: Json | None = None,
        agent: str | None = None,
        request_id: str | None = None,
    ) -> tuple[str, PendingPermission | None]:
        """Return the effect, and the pending request of `ask`, which is published."""
        effect = evaluate(self.rules(session, agent), action, resources, self.saved(session))
        if effect != "ask":
            return effect, None
        optional = {"save": save, "metadata": metadata, "source": source}
        request: Json = {
            "id": request_id or new_id("per"),
            "sessionID": session.id,
            "action": action,
            "resources": resources,
            **{name: value for name, value in optional.items() if value},
        }
        pending = PendingPermission(request, agent)
        self.permissions[request["id"]] = pending
        self.engine.events.publish("permission.asked", session, **request)
        return effect, pending

    def reply(self, session: Session, pending: PendingPermission, decision: str, message: str | None) -> None:
        """Answer a request. Facts, permissions: `always` settles others that now pass, a rejection all others.

        Source: `always` stores what the request says can be stored, and is `once` where that is nothing.
        """
        self.settle(session, pending, decision, message)
        stores = decision == "always" and bool(pending.request.get("save"))
        if stores:
            self.engine.save_permissions(session, pending.request)
        for other in [*self.permissions.values()]:
            owner = self.engine.store.sessions.get(other.request["sessionID"])
            if owner is None:  # it was removed, and its call is ending
                continue
            if decision == "reject" and owner is session:
                self.settle(owner, other, "reject", message)
            elif stores and self.passes(owner, other):
                self.settle(owner, other, "always", None)

    def passes(self, session: Session, pending: PendingPermission) -> bool:
        """Whether a pending request is allowed by now."""
        request, rules = pending.request, self.rules(session, pending.agent)
        return evaluate(rules, request["action"], request["resources"], self.saved(session)) == "allow"

    def settle(self, session: Session, pending: PendingPermission, decision: str, message: str | None) -> None:
        """Settle a request, and publish that. Facts, events: the event's field is `reply`."""
        self.permissions.pop(pending.request["id"], None)
        pending.settle(decision, message)
        replied = {"sessionID": session.id, "requestID": pending.request["id"], "reply": decision}
        self.engine.events.publish("permission.replied", session, **replied)

    async def show_form(self, session: Session, title: str, fields: list[Json], metadata: Json) -> Json:
        """Show a form, and return its state when it is settled. Source: an interrupt of its call cancels it."""
        form = self.create_form(session, title, fields, metadata)
        try:
            await form.settled.wait()
        finally:
            if not form.settled.is_set() and not self.engine.ended:
                self.settle_form(form, {"status": "cancelled"})
        return form.detail["state"]

    def create_form(
        self, session: Session, title: str, fields: list[Json], metadata: Json | None = None, form_id: str | None = None
    ) -> PendingForm:
        """Add a form, and publish it."""
        detail: Json = {"id": form_id or new_id("frm"), "sessionID": session.id, "title": title, "fields": fields}
        if metadata:
            detail["metadata"] = metadata
        form = PendingForm({**detail, "state": {"status": "pending"}})
        self.forms[detail["id"]] = form
        self.engine.events.publish("form.created", session, form=detail)
        return form

    def create_shared_form(self, directory: str, title: str, fields: list[Json]) -> PendingForm:
        """Add the form of an MCP server that asks its user. Source: it names no session."""
        detail: Json = {"id": new_id("frm"), "sessionID": NO_SESSION, "title": title, "fields": fields}
        form = PendingForm({**detail, "state": {"status": "pending"}}, directory=directory)
        self.forms[detail["id"]] = form
        self.engine.events.publish("form.created", None, directory, form=detail)
        return form

    def settle_form(self, form: PendingForm, state: Json) -> None:
        """Answer or cancel a form, and publish that."""
        form.settle(state)
        session = self.engine.store.sessions.get(form.detail["sessionID"])
        data: dict[str, Any] = {"id": form.detail["id"], "sessionID": form.detail["sessionID"]}
        if state["status"] == "answered":
            self.engine.events.publish("form.replied", session, form.directory or None, **data, answer=state["answer"])
        else:
            self.engine.events.publish("form.cancelled", session, form.directory or None, **data)

    def pending_forms(self, session_id: str) -> list[Json]:
        """Return the forms of a session that wait."""
        return [
            form.info
            for form in self.forms.values()
            if form.detail["sessionID"] == session_id and form.detail["state"]["status"] == "pending"
        ]

    def pending_permissions(self, session_id: str) -> list[Json]:
        """Return the requests of a session that wait. Facts, permissions: a subagent's are under its own id."""
        return [item.request for item in self.permissions.values() if item.request["sessionID"] == session_id]

    def reject_all(self) -> None:
        """Reject and cancel everything. Facts, location: that is what a reload does."""
        for pending in [*self.permissions.values()]:
            self.settle(self.engine.store.sessions[pending.request["sessionID"]], pending, "reject", None)
        for form in self.forms.values():
            if form.detail["state"]["status"] == "pending":
                self.settle_form(form, {"status": "cancelled"})
