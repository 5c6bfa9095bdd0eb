"""What users say when they want an operation: four to eight phrases each, by operationId, in `phrases.json`.

Only the search reads them: no model sees them, so they cost no tokens. An operation of a newer document has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources


@cache
def load_phrases() -> Mapping[str, Sequence[str]]:
    """Return the phrases by operationId, read at first use."""
    return json.loads(resources.files(__package__ or __name__).joinpath("phrases.json").read_bytes())
