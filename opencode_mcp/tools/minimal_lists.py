"""The minimal forms of lists that a model reads to choose from: what each entry is called and what it is for.

`MinimalList.form` names the form of an operation's response; `full: true` returns the response as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from opencode_mcp.catalog.minimal_lists import MinimalForm

Facts = dict[str, Any]
"""A response as an object: `{"result": list}`, or the object that it is, with fields that the bridge adds."""


def minimal_agents(facts: Facts) -> Facts:
    """Keep the name, mode, description and model of agents, without those that OpenCode hides."""
    rows = [
        keep_fields(agent, ("name", "mode", "description", "model"))
        for agent in iter_objects(facts["result"])
        if not agent.get("hidden")
    ]
    return {**facts, "result": rows}


def minimal_models(facts: Facts) -> Facts:
    """List models as `provider/model`, with their names and variants; `provider_defaults` are as OpenCode has them.

    A provider's default is not the model of a prompt that names none: the configuration may set another.
    """
    rows = [
        {
            "model": f"{provider['id']}/{model_id}",
            **keep_fields(model, ("name",)),
            **({"variants": list(variants)} if (variants := model.get("variants")) else {}),
        }
        for provider in iter_objects(facts["providers"])
        for model_id, model in provider["models"].items()
    ]
    others = {name: value for name, value in facts.items() if name not in {"providers", "default"}}
    return {"models": rows, "provider_defaults": facts["default"], **others}


def minimal_sessions(facts: Facts) -> Facts:
    """Keep what a session is called, where it works and when it changed (ISO 8601, UTC)."""
    rows = [
        {
            **keep_fields(session, ("id", "title", "directory", "server")),
            "updated": format_time(session["time"]["updated"]),
            **({"parent_id": session["parentID"]} if session.get("parentID") else {}),
        }
        for session in iter_objects(facts["result"])
    ]
    return {**facts, "result": rows}


def located_agents(facts: Facts) -> Facts:
    """Keep the id, mode, description and model of agents, without those that OpenCode hides."""
    rows = [
        keep_fields(agent, ("id", "mode", "description", "model"))
        for agent in iter_objects(facts["data"])
        if not agent["hidden"]
    ]
    return {**facts, "data": rows}


def located_models(facts: Facts) -> Facts:
    """List the enabled models as `provider/model`, with their names and variants."""
    rows = [
        {
            "model": f"{model['providerID']}/{model['id']}",
            **keep_fields(model, ("name",)),
            **({"variants": variants} if (variants := [variant["id"] for variant in model["variants"]]) else {}),
        }
        for model in iter_objects(facts["data"])
        if model["enabled"]
    ]
    return {**facts, "data": rows}


def located_sessions(facts: Facts) -> Facts:
    """Keep what a session is called, where it works, how it ended and when it changed (ISO 8601, UTC)."""
    rows = [
        {
            **keep_fields(session, ("id", "title", "outcome", "server")),
            "directory": session["location"]["directory"],
            "updated": format_time(session["time"]["updated"]),
            **({"parent_id": session["parentID"]} if session.get("parentID") else {}),
        }
        for session in iter_objects(facts["data"])
    ]
    return {**facts, "data": rows}


MINIMAL_FORMS: Mapping[MinimalForm, Callable[[Facts], Facts]] = {
    "agents": minimal_agents,
    "models": minimal_models,
    "sessions": minimal_sessions,
    "located agents": located_agents,
    "located models": located_models,
    "located sessions": located_sessions,
}


def minimal_list(form: MinimalForm, facts: Facts) -> Facts:
    """Return the minimal form of a response; one that a newer server has changed is returned as it is."""
    try:
        return MINIMAL_FORMS[form](facts)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return facts


def format_time(milliseconds: float) -> str:
    """Return a Unix time as ISO 8601, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def iter_objects(entries: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of a list of objects."""
    yield from cast("list[Mapping[str, Any]]", entries)


def keep_fields(entry: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return these fields of an object, without empty ones."""
    return {name: entry[name] for name in names if entry.get(name) not in (None, "")}
