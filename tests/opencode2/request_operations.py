"""The operations of permissions, forms and shell commands."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from .calls import OperationCall, OperationError
from .engine import Engine
from .forms import answer_fault
from .requests import NO_SESSION
from .rules import PendingForm, PendingPermission
from .store import Json, Session, new_id, now
from .tools import SHELL, run_process

KILLED = -9
MOST_OUTPUT = 1024 * 1024
"""Source: how much of a command's output is returned at once, in bytes; here of ASCII."""


def find_permission(call: OperationCall) -> PendingPermission:
    """Return a request of the session that the path names. Facts, permissions: a child's are under its own id."""
    request_id = call.values["requestID"]
    pending = call.engine.requests.permissions.get(request_id)
    if pending is None or pending.request["sessionID"] != call.session.id:
        raise OperationError(
            404, "PermissionNotFoundError", f"Permission request not found: {request_id}", requestID=request_id
        )
    return pending


def list_permissions(call: OperationCall) -> Json:
    """The requests of one session."""
    return {"data": call.engine.requests.pending_permissions(call.session.id)}


def list_requests(call: OperationCall) -> Json:
    """Facts, permissions: all of a directory, those of subagents included; of another directory there are none."""
    sessions = sessions_at(call)
    return call.at_location(
        [request for session in sessions for request in call.engine.requests.pending_permissions(session.id)]
    )


def sessions_at(call: OperationCall) -> list[Session]:
    """Return the sessions of the location."""
    return [session for session in call.engine.store.sessions.values() if session.directory == call.directory]


def get_permission(call: OperationCall) -> Json:
    """One request."""
    return {"data": find_permission(call).request}


def reply_permission(call: OperationCall) -> None:
    """Facts, permissions: a second reply is 404."""
    requests, session = call.engine.requests, call.session
    requests.reply(session, find_permission(call), call.body["decision"], call.body.get("message"))


def create_permission(call: OperationCall) -> Json:
    """Facts, permissions: asks whether something would be allowed; `ask` leaves a request behind."""
    body = call.body
    optional = {"save": body.get("save"), "metadata": body.get("metadata"), "source": body.get("source")}
    request_id = body.get("id") or new_id("per")
    effect, _ = call.engine.requests.evaluate(
        call.session,
        body["action"],
        body["resources"],
        agent=body.get("agent"),
        request_id=request_id,
        **optional,
    )
    return {"data": {"id": request_id, "effect": effect}}


def list_saved(call: OperationCall) -> Json:
    """What was allowed for always."""
    project = call.query.get("projectID")
    return {"data": [item for item in call.engine.store.saved if project in (None, item["projectID"])]}


def remove_saved(call: OperationCall) -> None:
    """Ask again for what was allowed for always."""
    call.engine.store.saved[:] = [item for item in call.engine.store.saved if item["id"] != call.values["id"]]


def find_form(call: OperationCall) -> PendingForm:
    """Return a form of the session that the path names. Source: `global` stands for none, in the location."""
    form_id, session_id = call.values["formID"], call.values["sessionID"]
    form = call.engine.requests.forms.get(form_id)
    owner = session_id if session_id == NO_SESSION else call.session.id
    if form is None or form.detail["sessionID"] != owner or form.directory not in ("", call.directory):
        raise OperationError(404, "FormNotFoundError", f"Form not found: {form_id}", id=form_id)
    return form


def find_open_form(call: OperationCall) -> PendingForm:
    """Return a form that waits. Facts, forms: a settled one is a conflict."""
    form = find_form(call)
    if form.settled.is_set():
        raise OperationError(409, "FormAlreadySettledError", "Form is already settled", id=form.detail["id"])
    return form


def list_session_forms(call: OperationCall) -> Json:
    """The forms of one session that wait."""
    return {"data": call.engine.requests.pending_forms(call.session.id)}


def list_forms(call: OperationCall) -> Json:
    """The forms of a directory that wait."""
    requests = call.engine.requests
    shared = [form.info for form in requests.forms.values() if form.directory == call.directory and form.is_pending]
    return call.at_location(
        [*shared, *(form for session in sessions_at(call) for form in requests.pending_forms(session.id))]
    )


def get_form(call: OperationCall) -> Json:
    """Facts, forms: the state is in the detail only."""
    return {"data": find_form(call).detail}


def create_form(call: OperationCall) -> Json:
    """A form of a plugin."""
    body = call.body
    form = call.engine.requests.create_form(
        call.session, body["title"], body["fields"], body.get("metadata"), body.get("id")
    )
    return {"data": form.info}


def reply_form(call: OperationCall) -> None:
    """Facts, forms: a wrong answer is 400, and the form waits on."""
    form = find_open_form(call)
    if fault := answer_fault(form.detail, call.body["answer"]):
        raise OperationError(400, "FormInvalidAnswerError", fault, id=form.detail["id"])
    call.engine.requests.settle_form(form, {"status": "answered", "answer": call.body["answer"]})


def cancel_form(call: OperationCall) -> None:
    """Facts, forms: with a message the model goes on; without, the turn ends."""
    form = find_open_form(call)
    message = {"message": call.query["message"]} if "message" in call.query else {}
    call.engine.requests.settle_form(form, {"status": "cancelled", **message})


@dataclass(eq=False)
class Shell:
    """A command: `info` is as `shell.get` returns it."""

    info: Json
    output: str = ""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def page(self) -> Json:
        """What it has printed. Source: of a long output the beginning."""
        output, size = self.output[:MOST_OUTPUT], len(self.output)
        return {"output": output, "cursor": len(output), "size": size, "truncated": len(output) < size}


def start_shell(engine: Engine, command: str, directory: str, metadata: Json | None = None) -> Shell:
    """Return a command that is to be run."""
    shell = Shell(
        {
            "id": new_id("sh"),
            "status": "running",
            "command": command,
            "cwd": directory,
            "shell": SHELL,
            "file": str(engine.options.folder / "shell-output"),
            "metadata": metadata or {},
            "time": {"started": now()},
        }
    )
    engine.shells[shell.info["id"]] = shell
    return shell


async def run_shell(engine: Engine, shell: Shell, timeout: float | None = None) -> None:
    """Run a command to its end, its time limit or its removal."""
    exit_code, status = KILLED, "killed"
    with shell.scope, anyio.move_on_after(timeout) as limit:
        exit_code, shell.output = await run_process(shell.info["command"], shell.info["cwd"])
        status = "exited"
    shell.info |= {"status": "timeout" if limit.cancelled_caught else status, "exit": exit_code}
    shell.info["time"]["completed"] = now()
    engine.events.publish("shell.exited", None, shell.info["cwd"], **exited(shell))


def exited(shell: Shell) -> Json:
    """Return the fields of the event of a command's end."""
    return {"id": shell.info["id"], "exit": shell.info["exit"], "status": shell.info["status"]}


async def run_session_shell(call: OperationCall) -> None:
    """Facts, traps: it runs unasked. Facts, operations: 204 at once; the result is in a `shell` message."""
    session, engine = call.session, call.engine
    shell = start_shell(engine, call.body["command"], session.directory, {"sessionID": session.id})
    message: Json = {"id": call.body.get("id") or new_id("msg"), "type": "shell", "time": {"created": now()}}
    message |= {"shellID": shell.info["id"], "command": shell.info["command"], "status": "running"}
    session.messages.append(message)
    engine.events.publish("session.shell.started", session, shell=shell.info)

    async def run() -> None:
        await run_shell(engine, shell)
        message["time"]["completed"] = now()
        message.update({"status": shell.info["status"], "exit": shell.info["exit"], "output": shell.page})
        engine.events.publish("session.shell.ended", session, shell=shell.info, output=shell.page)

    engine.tasks.start_soon(run)


def create_shell(call: OperationCall) -> Json:
    """Run a command outside of any session."""
    body, engine = call.body, call.engine
    shell = start_shell(engine, body["command"], body.get("cwd", call.directory), body.get("metadata"))
    engine.events.publish("shell.created", None, call.directory, info=shell.info)
    timeout = body["timeout"] / 1000 if body.get("timeout") else None
    engine.tasks.start_soon(run_shell, engine, shell, timeout)
    return call.at_location(shell.info)


def find_shell(call: OperationCall) -> Shell:
    """Return a command."""
    shell = call.engine.shells.get(call.values["id"])
    if shell is None:
        raise OperationError(404, "ShellNotFoundError", "Shell not found", id=call.values["id"])
    return shell


def get_shell(call: OperationCall) -> Json:
    """The state of a command."""
    return call.at_location(find_shell(call).info)


def list_shells(call: OperationCall) -> Json:
    """The commands that run."""
    return call.at_location([shell.info for shell in call.engine.shells.values() if shell.info["status"] == "running"])


def read_shell(call: OperationCall) -> Json:
    """What a command has printed, from a position on."""
    shell, cursor = find_shell(call), call.number("cursor", 0)
    output = shell.output[cursor : cursor + call.number("limit", MOST_OUTPUT)]
    return call.at_location({**shell.page, "output": output, "cursor": cursor + len(output)})


def remove_shell(call: OperationCall) -> None:
    """End a command."""
    shell = call.engine.shells.pop(call.values["id"], None)
    if shell is not None:
        shell.scope.cancel()
        call.engine.events.publish("shell.deleted", None, call.directory, id=shell.info["id"])
