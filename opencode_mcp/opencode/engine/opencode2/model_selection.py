"""What a prompt to OpenCode 2 can choose from: agents, models, the configuration's defaults, names of tools."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
from pydantic import Field

from opencode_mcp.opencode.client import OpenCodeClient
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.models import Agent, Config, Model

from .directories import location_argument
from .entries import ModelRef
from .pages import read_data
from .rules import RuleInfo

HOSTED = "opencode"
"""The provider of the models that OpenCode hosts; a free one of them is called where nothing is configured."""

LOADING_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.5)
"""Pauses before the models are read again: right after its start OpenCode lists none (2.0.8)."""


class AgentInfo(Model):
    """An agent. A session names it by its id; its `name` is what a person reads."""

    id: str
    mode: str
    permissions: tuple[RuleInfo, ...]
    description: str | None = None
    model: ModelRef | None = None
    hidden: bool

    def to_agent(self) -> Agent:
        """Return it in the terms of `models.py`."""
        model = None if self.model is None else {"providerID": self.model.provider_id, "modelID": self.model.id}
        rules = tuple(rule.to_rule() for rule in self.permissions)
        return Agent(
            name=self.id,
            mode=self.mode,
            permission=rules,
            description=self.description,
            model=model,
            hidden=self.hidden,
        )


class VariantInfo(Model):
    """A variant of a model."""

    id: str


class ModelInfo(Model):
    """A model, with its provider."""

    id: str
    provider_id: str
    name: str
    variants: tuple[VariantInfo, ...]
    enabled: bool
    limit: dict[str, Any]
    cost: tuple[dict[str, Any], ...]

    @property
    def reference(self) -> str:
        """What names it: `provider/model`."""
        return f"{self.provider_id}/{self.id}"

    def describe(self) -> dict[str, Any]:
        """Return it as OpenCode 1 does: its price is that of a short prompt, if there are others for long ones."""
        prices = [price for price in self.cost if "tier" not in price] or [*self.cost]
        return {
            "name": self.name,
            "variants": {variant.id: {} for variant in self.variants},
            "limit": self.limit,
            **({"cost": prices[0]} if prices else {}),
        }


class Defaults(Model):
    """What a document of the configuration says about prompts."""

    model: str | dict[str, Any] | None = None
    default_agent: str | None = Field(default=None, alias="default_agent")
    snapshots: bool | None = None


NO_DEFAULTS = Defaults.model_validate({})


class ConfigEntry(Model):
    """An entry of the configuration: a document, or a directory, which has no `info`."""

    info: Defaults = NO_DEFAULTS


async def list_agents(opencode: OpenCodeClient, directory: str | None) -> list[Agent]:
    """Return the agents."""
    agents = await read_data(opencode, list[AgentInfo], "agent_list", **location_argument(directory))
    return [agent.to_agent() for agent in agents]


async def list_models(opencode: OpenCodeClient, directory: str | None) -> dict[str, dict[str, Any]]:
    """Return the models that are enabled; a server that has just started gets some time."""
    read = partial(read_data, opencode, list[ModelInfo], "model_list", **location_argument(directory))
    models = await read()
    for pause in LOADING_SECONDS:
        if models:
            break
        await anyio.sleep(pause)
        models = await read()
    return {model.reference: model.describe() for model in models if model.enabled}


async def list_default_models(opencode: OpenCodeClient, directory: str | None) -> set[str]:
    """Return the model that OpenCode calls where none is named, if a user has chosen it."""
    model = (await read_config(opencode, directory)).model
    return set() if model is None else {model}


async def read_config(opencode: OpenCodeClient, directory: str | None) -> Config:
    """Return the defaults of prompts, of several documents each from the last that has it.

    `model` is the one that OpenCode would call, None if that is a model that it hosts and no document has named one.
    """
    entries, default = await gather(
        partial(opencode.call_as, list[ConfigEntry], "config_get", **location_argument(directory)),
        partial(read_data, opencode, ModelInfo | None, "model_default", **location_argument(directory)),
    )
    merged = NO_DEFAULTS
    for entry in entries:
        merged = merged.model_copy(update=entry.info.model_dump(exclude_none=True))
    is_chosen = default is not None and (merged.model is not None or default.provider_id != HOSTED)
    return Config(
        model=default.reference if default is not None and is_chosen else None,
        default_agent=merged.default_agent,
        snapshot=merged.snapshots is not False,
    )


async def list_tool_names(opencode: OpenCodeClient, directory: str | None) -> tuple[set[str], set[str]]:
    """Return no names of tools, as OpenCode 2 lists none, and those of MCP servers."""
    servers = await read_data(opencode, list[dict[str, Any]], "mcp_list", **location_argument(directory))
    return set(), {server["name"] for server in servers}
