"""What users say when they want an operation: four to eight phrases each, by operationId, in `phrases.json`.

Only the search reads them: no model sees them, so they cost no tokens. An operation of a newer document has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

Phrases = Mapping[str, Sequence[str]]
"""The phrases by operationId."""


@cache
def load_phrases(package: str) -> Phrases:
    """Return the phrases of a generation, read at first use; `package` has its data."""
    return json.loads(resources.files(package).joinpath("phrases.json").read_bytes())
