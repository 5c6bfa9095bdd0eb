"""What leaves for a client: secrets are replaced, and invisible characters are escaped.

Two mechanisms, kept apart:

- exact (`redactor.py`): values that this process knows to be secret are replaced wherever they stand;
- structural (`structure.py`): by key and position, only in answers that describe configuration, credentials,
  MCP servers or processes. Content of the project is never rewritten by it.
"""

from .keys import MARKER
from .known import KnownSecrets, credential_files
from .redactor import Redacted, Redactor, count_replaced, part_of, refuse_marker
from .structure import Position

__all__ = [
    "MARKER",
    "KnownSecrets",
    "Position",
    "Redacted",
    "Redactor",
    "count_replaced",
    "credential_files",
    "part_of",
    "refuse_marker",
]
