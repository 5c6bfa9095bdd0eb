"""The generations of OpenCode by number. What differs between them is data that this table leads to."""

from __future__ import annotations

from collections.abc import Mapping

from .generation import Generation
from .opencode1 import OPENCODE_1
from .opencode2 import OPENCODE_2

GENERATIONS: Mapping[int, Generation] = {generation.number: generation for generation in (OPENCODE_1, OPENCODE_2)}
DEFAULT_GENERATION = 1
