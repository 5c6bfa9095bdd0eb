"""Sessions of OpenCode 2.

A fork and a subagent's session inherit the metadata of the session that they come from (2.0.21), so all that bridges
store of its task as well. Therefore bridges store whose it is, under OWNER_KEY; what is another session's is left out.

Rules are replaced as a whole. Under RULES_KEY is which of them bridges have made: these are replaced, and those of the
user, or inherited ones, stay before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from pydantic import Field

from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.engine.optional import optional
from opencode_mcp.opencode.engine.protocol import METADATA_KEY
from opencode_mcp.opencode.models import (
    Location,
    Model,
    PermissionRule,
    Revert,
    Session,
    Times,
    Tokens,
    parse_model,
)

from .directories import read_location
from .pages import read_data, read_pages
from .rules import RuleInfo, dump_rules, other_rules

OWNER_KEY = f"{METADATA_KEY}_session"
RULES_KEY = f"{METADATA_KEY}_rules"
NO_VARIANT = "default"


class SessionInfo(Model):
    """A session. `agent`, `model` and `title` are absent until they are set, or used."""

    id: str
    parent_id: str | None = None
    agent: str | None = None
    model: dict[str, Any] | None = None
    cost: float = 0
    tokens: Tokens = Tokens()
    time: Times
    title: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    revert: Revert | None = None
    permissions: tuple[RuleInfo, ...] = ()
    location: Location

    def to_session(self) -> Session:
        """Return it in the terms of `models.py`."""
        facts = self.model_dump(exclude={"location", "metadata", "permissions", "model"})
        return Session(directory=self.location.directory, metadata=self.own_metadata, model=self.chosen_model, **facts)

    @property
    def chosen_model(self) -> dict[str, Any] | None:
        """The model, without the variant that stands for none: 1.18.33's v2 API stores it with each switch."""
        model = self.model or {}
        return {name: value for name, value in model.items() if (name, value) != ("variant", NO_VARIANT)} or None

    @property
    def own_metadata(self) -> dict[str, Any]:
        """The metadata without a task that the session has inherited."""
        is_inherited = self.metadata.get(OWNER_KEY, self.id) != self.id
        inherited = {METADATA_KEY, OWNER_KEY, RULES_KEY} if is_inherited else set[str]()
        return {name: value for name, value in self.metadata.items() if name not in inherited}


async def read_session(opencode: OpenCodeClient, session_id: str) -> Session:
    """Return a session."""
    return (await read_data(opencode, SessionInfo, "session_get", sessionID=session_id)).to_session()


async def list_sessions(opencode: OpenCodeClient, directory: str | None, limit: int) -> list[Session]:
    """Return the newest sessions of the project that a directory belongs to, those in its worktrees too."""
    project = (await read_location(opencode, directory)).project
    return parse_sessions(await read_pages(opencode, "session_list", limit, project=project.id))


async def list_newest_sessions(opencode: OpenCodeClient, limit: int) -> list[Session]:
    """Return the newest sessions of OpenCode's default directory, newest first."""
    return parse_sessions(await read_pages(opencode, "session_list", limit))


async def list_roots(opencode: OpenCodeClient, limit: int) -> list[Session]:
    """Return the newest sessions of all directories, newest first, without archived ones and those of subagents."""
    everywhere = opencode.with_options(directory=None)
    return parse_sessions(await read_pages(everywhere, "session_list", limit, parentID="null"))


async def show_session(opencode: OpenCodeClient, session_id: str) -> dict[str, Any]:
    """Return a session as OpenCode has it."""
    return await read_data(opencode, dict[str, Any], "session_get", sessionID=session_id)


async def list_children(opencode: OpenCodeClient, session_id: str) -> list[Session]:
    """Return the sessions directly below a session, whatever their directories."""
    everywhere = opencode.with_options(directory=None)
    return parse_sessions(await read_pages(everywhere, "session_list", parentID=session_id))


def parse_sessions(entries: list[dict[str, Any]]) -> list[Session]:
    """Parse the entries of a list of sessions."""
    infos = parse_model("the response of session_list", list[SessionInfo], entries)
    return [info.to_session() for info in infos]


async def create_session(
    opencode: OpenCodeClient, directory: str | None, facts: Mapping[str, Any], rules: Sequence[PermissionRule]
) -> Session:
    """Create a session; its metadata are stored again once its id is known. Shielded: a cancelled request may create it
    too."""
    location, permissions = {"directory": directory} if directory is not None else None, dump_rules(rules)
    metadata = {**facts["metadata"], **({RULES_KEY: permissions} if permissions else {})}
    sent = optional(location=location, permissions=permissions or None, **{**facts, "metadata": metadata})
    session: Session | None = None
    with anyio.CancelScope(shield=True):
        session = (await read_data(opencode, SessionInfo, "session_create", **sent)).to_session()
        if METADATA_KEY in metadata:
            session = await update_session(opencode, session.id, metadata, None)
    assert session is not None
    return session


async def update_session(
    opencode: OpenCodeClient, session_id: str, metadata: Mapping[str, Any], rules: Sequence[PermissionRule] | None
) -> Session:
    """Replace a session's metadata, and its rules unless they are None; return what OpenCode has then."""
    owned: dict[str, Any] = {**metadata, OWNER_KEY: session_id}
    permissions: list[dict[str, str]] | None = None
    if rules is not None:
        before = await read_data(opencode, SessionInfo, "session_get", sessionID=session_id)
        owned[RULES_KEY] = dump_rules(rules)
        permissions = [*other_rules(before.permissions, before.own_metadata.get(RULES_KEY)), *owned[RULES_KEY]]
    await opencode.call("session_update", sessionID=session_id, metadata=owned, **optional(permissions=permissions))
    return await read_session(opencode, session_id)


async def delete_session(opencode: OpenCodeClient, session_id: str) -> None:
    """Delete a session and those below it."""
    await opencode.call("session_remove", sessionID=session_id)
