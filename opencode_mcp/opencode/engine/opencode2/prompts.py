"""Send prompts to OpenCode 2, and stop what they began: agent and model belong to the session, not to a prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.engine.optional import optional
from opencode_mcp.opencode.models import Agent, Session

from .entries import USER_CHARS_KEY, InboxEntry
from .pages import Data, read_data
from .shells import end_commands

DECIDED_STATUSES = frozenset({404, 409})
"""What OpenCode answers about an entry of the inbox that was delivered or cancelled meanwhile."""


ListAgents = Callable[[str], Awaitable[Sequence[Agent]]]
"""Returns the agents of a directory."""


async def send_prompt(
    opencode: OpenCodeClient,
    session: Session,
    parts: Sequence[Mapping[str, Any]],
    selection: Mapping[str, Any],
    message_id: str | None,
    list_agents: ListAgents,
) -> None:
    """Send a prompt, after the session got the agent and the model that the prompt names.

    Raises:
        WorkflowError: it has a system prompt; nothing was sent.
    """
    if "system" in selection:
        raise WorkflowError("OpenCode 2 takes no system prompt with a prompt: write it into the prompt", session.id)
    await select(opencode, session, selection, list_agents)
    texts = [part for part in parts if part["type"] == "text"]
    text = "\n\n".join(part["text"] for part in texts)
    own_text = "\n\n".join(part["text"] for part in texts if not part.get("synthetic"))
    files = [make_file(part) for part in parts if part["type"] == "file"]
    metadata = {USER_CHARS_KEY: len(own_text)} if own_text != text else None
    facts = optional(id=message_id, files=files or None, metadata=metadata)
    await opencode.call("session_prompt", sessionID=session.id, text=text, **facts)


def make_file(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file of a prompt as OpenCode takes it."""
    return {"uri": part["url"], **optional(name=part.get("filename"))}


async def select(
    opencode: OpenCodeClient, session: Session, selection: Mapping[str, Any], list_agents: ListAgents
) -> None:
    """Give a session the agent and the model of a prompt, where it has others.

    As in OpenCode 1 an agent that is named without a model brings its own one; OpenCode 2 would keep the session's.
    """
    agent = selection.get("agent")
    if agent not in {None, session.agent}:
        await opencode.call("session_switch_agent", sessionID=session.id, agent=agent)
    model = await choose_model(opencode, session, selection, list_agents)
    current = {name: value for name, value in (session.model or {}).items() if value is not None}
    if model is not None and model != current:
        await opencode.call("session_switch_model", sessionID=session.id, model=model)


async def choose_model(
    opencode: OpenCodeClient, session: Session, selection: Mapping[str, Any], list_agents: ListAgents
) -> dict[str, Any] | None:
    """Return the model of a prompt with its variant; None: the session's, or OpenCode's choice.

    Raises:
        WorkflowError: it names a variant, and its model is unknown.
    """
    variant = selection.get("variant")
    model: Mapping[str, Any] | None = selection.get("model")
    if model is None and "agent" in selection:
        agents = await list_agents(session.directory)
        model = next((agent.model for agent in agents if agent.name == selection["agent"]), None)
    if model is None and variant is not None:
        model = session.model or await read_default_model(opencode, session.directory)
        if model is None:
            raise WorkflowError(f"variant {variant!r} needs `model` as well: the default model is unknown", session.id)
    if model is None:
        return None
    model_id = model.get("modelID") or model.get("id")
    return {"id": model_id, "providerID": model["providerID"], **optional(variant=variant)}


async def read_default_model(opencode: OpenCodeClient, directory: str) -> dict[str, Any] | None:
    """Return the model that a directory's sessions have before one is chosen."""
    default = await opencode.call_as(Data, "model_default", location={"directory": directory})
    return default.data


async def abort(opencode: OpenCodeClient, session_id: str) -> None:
    """Interrupt a session's turn, drop the prompts in its inbox, and end the commands that clients run there.

    OpenCode keeps what is in the inbox, and would run it after the next prompt.
    """
    await opencode.call("session_interrupt", sessionID=session_id)
    for item in await read_data(opencode, list[InboxEntry], "session_inbox_list", sessionID=session_id):
        try:
            await opencode.call("session_inbox_cancel", sessionID=session_id, inboxID=item.id)
        except APIError as error:
            if error.status not in DECIDED_STATUSES:
                raise
    await end_commands(opencode, session_id)
