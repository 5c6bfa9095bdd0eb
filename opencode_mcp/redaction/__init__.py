"""Output for clients: secrets are replaced, and invisible characters are escaped.

Two mechanisms, kept apart:

- exact (`redactor.py`): values that this process knows to be secret are replaced everywhere;
- structural (`structure.py`): by key and position, only in answers that describe configuration, credentials,
  MCP servers or processes. It never changes the project's content.
"""

from .credentials import MARKER
from .known_secrets import KnownSecrets, credential_files
from .redactor import Redacted, Redactor, count_replaced, keep_redaction_count, refuse_marker
from .structure import Position

__all__ = [
    "MARKER",
    "KnownSecrets",
    "Position",
    "Redacted",
    "Redactor",
    "count_replaced",
    "credential_files",
    "keep_redaction_count",
    "refuse_marker",
]
