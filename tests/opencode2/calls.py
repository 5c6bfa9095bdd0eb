"""A request to an operation, and the errors that it can end in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .store import Json, Session

if TYPE_CHECKING:
    from .engine import Engine


class OperationError(Exception):
    """An error as the document has it: `_tag` names its kind."""

    def __init__(self, status: int, tag: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"_tag": tag, "message": message, **fields}


@dataclass(frozen=True)
class OperationCall:
    """A request: `values` are the parameters of the path, `directory` is the location."""

    engine: Engine
    values: Mapping[str, str]
    query: Mapping[str, str]
    body: Json
    directory: str

    @property
    def session(self) -> Session:
        """The session that the path names.

        Raises:
            OperationError: there is none.
        """
        return self.find_session(self.values["sessionID"])

    def find_session(self, session_id: str) -> Session:
        """Return a session.

        Raises:
            OperationError: there is none.
        """
        session = self.engine.store.sessions.get(session_id)
        if session is None:
            raise OperationError(404, "SessionNotFoundError", f"Session not found: {session_id}", sessionID=session_id)
        return session

    def find_message(self, message_id: str) -> Json:
        """Return a message of the session.

        Raises:
            OperationError: there is none.
        """
        session = self.session
        message = session.find_message(message_id)
        if message is None:
            raise OperationError(
                404,
                "MessageNotFoundError",
                f"Message not found: {message_id}",
                sessionID=session.id,
                messageID=message_id,
            )
        return message

    def at_location(self, data: Any) -> Json:
        """Return an answer about a location."""
        return {"location": {"directory": self.directory}, "data": data}

    def number(self, name: str, default: int) -> int:
        """Return a number of the query."""
        return int(self.query.get(name, default))
