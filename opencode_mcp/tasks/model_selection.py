"""Models, agents and variants: checked before anything is sent.

OpenCode answers an unknown one with an opaque 500, or with 204 and no run at all, and a bad model
stays with its session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import DEFAULT_AGENT, engine_of
from opencode_mcp.opencode.models import Session
from opencode_mcp.suggestions import suggest

SHOWN_MODELS = 3


@dataclass(frozen=True, slots=True)
class Selection:
    """The model (`provider/model`), agent and variant that a prompt names; None: it names none."""

    model: str | None = None
    agent: str | None = None
    variant: str | None = None


async def check_model_selection(
    opencode: OpenCodeClient,
    directory: str | None,
    selection: Selection,
    session_model: Mapping[str, Any] | None = None,
    kept: Collection[str] = (),
) -> dict[str, Any]:
    """Return the `model`, `agent` and `variant` of a prompt, without those that are None.

    `kept` names those of the session's last prompt, so that an error says to pass another.

    Raises:
        WorkflowError: one is unknown, with the nearest names; OpenCode has no model; or `variant` is given and the
            model that OpenCode would use is unknown; or `--models` does not allow the model.
    """
    engine = engine_of(opencode)
    models = await engine.list_models(directory)
    if not models:
        raise WorkflowError("OpenCode has no model: connect a provider (`opencode auth login`) or configure one")
    checked: dict[str, Any] = {}
    if engine.traits.needs_model and selection.model is None:
        named = await require_default_model(opencode, directory, selection.agent, session_model, models)
        selection = replace(selection, model=named)
    if (model := selection.model) is not None:
        if model not in models:
            raise WorkflowError(describe_unknown("model", model, models, kept))
        provider_id, _, model_id = model.partition("/")
        checked["model"] = {"providerID": provider_id, "modelID": model_id}
    if opencode.prompt_policy.models:
        called = model or await default_model(opencode, directory, selection.agent, session_model)
        if called is None or not opencode.prompt_policy.allows(called):
            raise WorkflowError(opencode.prompt_policy.refusal(called, models))
    if (agent := selection.agent) is not None:
        agents = [known_agent.name for known_agent in await engine.list_agents(directory)]
        if agent not in agents:
            raise WorkflowError(describe_unknown("agent", agent, agents, kept))
        checked["agent"] = agent
    if (variant := selection.variant) is not None:
        effective_model = model or await default_model(opencode, directory, agent, session_model)
        if effective_model not in models:
            raise WorkflowError(f"variant {variant!r} needs `model` as well: the default model is unknown")
        variants = list(models[effective_model].get("variants") or {})
        if variant not in variants:
            raise WorkflowError(f"{describe_unknown('variant', variant, variants, kept)} (of model {effective_model})")
        checked["variant"] = variant
    return checked


async def require_default_model(
    opencode: OpenCodeClient,
    directory: str | None,
    agent: str | None,
    session_model: Mapping[str, Any] | None,
    models: Iterable[str],
) -> str:
    """Return the model of a prompt whose caller names none, to be sent with it: what OpenCode would choose can differ.

    Raises:
        WorkflowError: neither the agent, the session nor the configuration names one. OpenCode would choose a model
            itself, such as one that it hosts.
    """
    model = await default_model(opencode, directory, agent, session_model)
    if model is None:
        raise WorkflowError(
            "no model is configured, so OpenCode would send the prompt to a model that it hosts. Nothing was sent: "
            f"name a `model`, such as {', '.join(sorted(models)[:SHOWN_MODELS])}, or set `model` in OpenCode's "
            "configuration"
        )
    return model


async def continue_selection(opencode: OpenCodeClient, session: Session, named: Selection) -> dict[str, Any]:
    """Return the `model`, `agent` and `variant` of a session's next prompt: those that are named, else the agent of its
    last prompt, with its model and variant.

    Without an agent OpenCode would take the default one, so that a follow-up of `plan` edits, and it keeps no variant
    (1.18.33).

    Raises:
        WorkflowError: what `check_model_selection` raises; or the session is bound to a model that does not exist.
    """
    kept = [kind for kind, name in asdict(named).items() if name is None]
    previous = session.model or {}
    previous_model = f"{previous['providerID']}/{previous['id']}" if previous else None
    selection = replace(named, agent=named.agent or session.agent)
    if named.agent is None and named.model is None:
        default = engine_of(opencode).traits.default_variant
        previous_variant = previous.get("variant") if previous.get("variant") != default else None
        selection = replace(selection, model=previous_model, variant=named.variant or previous_variant)
    checked = await check_model_selection(opencode, session.directory, selection, session.model, kept)
    if selection.model is None and previous_model is not None:
        await check_model_selection(opencode, session.directory, Selection(previous_model), kept=kept)
    return checked


async def default_model(
    opencode: OpenCodeClient, directory: str | None, agent: str | None, session_model: Mapping[str, Any] | None
) -> str | None:
    """Return the model that OpenCode uses when a prompt names none: the agent's, the session's, the configuration's.

    None when none of them has one: then OpenCode takes the one that was used last on its machine (1.18.33).
    """
    engine = engine_of(opencode)
    config = await engine.read_config(directory)
    name = agent or config.default_agent or DEFAULT_AGENT
    agents = await engine.list_agents(directory)
    agent_model = next((candidate.model for candidate in agents if candidate.name == name), None)
    if agent_model is not None:
        return f"{agent_model['providerID']}/{agent_model['modelID']}"
    if session_model is not None:
        return f"{session_model['providerID']}/{session_model['id']}"
    return config.model


def describe_unknown(kind: str, name: str, known: Iterable[str], kept: Collection[str]) -> str:
    """Return the error text for an unknown name, with the nearest known ones."""
    source = f", which the session's last prompt had: pass another `{kind}`" if kind in kept else ""
    return f"unknown {kind} {name!r}{source}; nearest: {suggest(name, sorted(known), 10) or 'none'}"
