"""`--models` and `--max-cost`: which models tasks may call, and what one prompt may cost. No argument widens them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from opencode_mcp.suggestions import suggest

SHOWN_MODELS = 10


@dataclass(frozen=True)
class PromptPolicy:
    """`models` are patterns of `provider/model`, none for all; `max_cost` is in US dollars."""

    models: tuple[str, ...] = ()
    max_cost: float | None = None

    def allows(self, model: str) -> bool:
        """Whether a model, as `provider/model`, may be called."""
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def refusal(self, model: str | None, known: Iterable[str]) -> str:
        """Say that a model is not allowed, or not known, and which known ones are allowed, of many the nearest."""
        allowed = [name for name in sorted(known) if self.allows(name)]
        shown = ", ".join(allowed)
        if len(allowed) > SHOWN_MODELS:
            shown = f"{len(allowed)} models, such as {suggest(model or '', allowed, SHOWN_MODELS)}"
        subject = "OpenCode's default model is unknown:" if model is None else f"model {model} is not allowed:"
        if not allowed:
            return f"{subject} --models allows none of the connected models. Nothing was sent"
        return f"{subject} --models allows {shown}; name one of them as `model`. Nothing was sent"
