"""Models, agents and variants: checked before anything is sent.

OpenCode answers an unknown one with an opaque 500, or with 204 and no run at all, and a bad model
stays with its session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opencode_mcp.exceptions import WorkflowError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Agent, Config, Providers
from opencode_mcp.suggestions import suggest

from .place import located

DEFAULT_AGENT = "build"
"""The agent that OpenCode takes when neither the prompt nor the configuration names one (1.18.33)."""


async def check_choices(
    opencode: OpenCodeClient,
    directory: str | None,
    model: str | None,
    agent: str | None,
    variant: str | None,
    session_model: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the prompt's `model`, `agent` and `variant`, as far as they are given.

    Raises:
        WorkflowError: one is unknown, with the nearest real names; there is no model at all; or a variant is given,
            and which model would be asked is not known.
    """
    location = located(directory)
    models = (await opencode.call_as(Providers, "config_providers", **location)).models
    if not models:
        raise WorkflowError("OpenCode has no model: connect a provider (`opencode auth login`) or configure one")
    chosen: dict[str, Any] = {}
    if model is not None:
        if model not in models:
            raise WorkflowError(unknown("model", model, models))
        provider_id, _, model_id = model.partition("/")
        chosen["model"] = {"providerID": provider_id, "modelID": model_id}
    if agent is not None:
        agents = [one.name for one in await opencode.call_as(list[Agent], "app_agents", **location)]
        if agent not in agents:
            raise WorkflowError(unknown("agent", agent, agents))
        chosen["agent"] = agent
    if variant is not None:
        taken = model or await model_without_choice(opencode, location, agent, session_model)
        if taken not in models:
            raise WorkflowError(f"variant {variant!r} needs `model` as well: the default model is unknown")
        variants = list(models[taken].get("variants") or {})
        if variant not in variants:
            raise WorkflowError(f"{unknown('variant', variant, variants)} (of model {taken})")
        chosen["variant"] = variant
    return chosen


async def model_without_choice(
    opencode: OpenCodeClient, location: Mapping[str, str], agent: str | None, session_model: Mapping[str, Any] | None
) -> str | None:
    """Return the model that OpenCode asks when a prompt names none: the agent's, the session's, the configuration's.

    None when none of them has one: then OpenCode takes the one that was used last on its machine (1.18.33).
    """
    config = await opencode.call_as(Config, "config_get", **location)
    name = agent or config.default_agent or DEFAULT_AGENT
    agents = await opencode.call_as(list[Agent], "app_agents", **location)
    own = next((candidate.model for candidate in agents if candidate.name == name), None)
    if own is not None:
        return f"{own['providerID']}/{own['modelID']}"
    if session_model is not None:
        return f"{session_model['providerID']}/{session_model['id']}"
    return config.model


async def check_session_model(opencode: OpenCodeClient, directory: str, model: dict[str, Any] | None) -> None:
    """Check the model that a session is bound to.

    Raises:
        WorkflowError: the session is bound to a model that does not exist.
    """
    if model is not None:
        await check_choices(opencode, directory, f"{model['providerID']}/{model['id']}", None, None)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that a name is unknown, and name the nearest ones."""
    return f"unknown {kind} {name!r}; nearest: {suggest(name, sorted(known), 10) or 'none'}"
