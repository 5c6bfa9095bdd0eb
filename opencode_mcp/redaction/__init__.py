"""Output for clients: secrets are replaced, and invisible characters are escaped.

Two mechanisms, kept apart:

- exact (`redactor.py`): values that this process knows to be secret are replaced everywhere;
- structural (`structure.py`): by key and position, only in answers that describe configuration, credentials,
  MCP servers or processes. It never changes the project's content.
"""

from .credentials import MARKER
from .known_secrets import COMPACT_JSON, KnownSecrets, credential_files, service_files
from .redactor import (
    NO_REDACTION,
    TESTED_POSITIONS,
    Redacted,
    Redactor,
    beginning_of,
    count_replaced,
    end_of,
    keep_redaction_count,
    refuse_marker,
    to_one_line,
)
from .structure import Position, item_positions

__all__ = [
    "COMPACT_JSON",
    "MARKER",
    "NO_REDACTION",
    "TESTED_POSITIONS",
    "KnownSecrets",
    "Position",
    "Redacted",
    "Redactor",
    "beginning_of",
    "count_replaced",
    "credential_files",
    "end_of",
    "item_positions",
    "keep_redaction_count",
    "refuse_marker",
    "service_files",
    "to_one_line",
]
