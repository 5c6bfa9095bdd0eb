"""`--models` and `--max-cost`: patterns, and the operations that they disable."""

from __future__ import annotations

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.opencode.prompt_policy import PromptPolicy
from opencode_mcp.settings import Settings
from opencode_mcp.tools import select_tools


@pytest.mark.parametrize(
    ("model", "allowed"),
    [("anthropic/claude-5", True), ("openai/gpt-5-mini", True), ("openai/gpt-4", False), ("x/anthropic/y", False)],
)
def test_a_model_is_allowed_by_a_pattern(model: str, allowed: bool) -> None:
    """Patterns are of the whole name; without any, every model is allowed."""
    assert PromptPolicy(("anthropic/*", "openai/gpt-5*")).allows(model) == allowed
    assert PromptPolicy().allows(model)


def test_a_refusal_names_the_nearest_allowed_models() -> None:
    """A provider may have hundreds of models."""
    known = [*(f"many/model-{number}" for number in range(300)), "anthropic/claude-5", "openai/gpt-5"]
    refusal = PromptPolicy(("many/*", "anthropic/*")).refusal("anthropics/claude-5", known)

    assert refusal == (
        "model anthropics/claude-5 is not allowed: --models allows 301 models, such as anthropic/claude-5, "
        "many/model-5, many/model-95, many/model-85; name one of them as `model`. Nothing was sent"
    )
    assert PromptPolicy(("other/*",)).refusal(None, known) == (
        "OpenCode's default model is unknown: --models allows none of the connected models. Nothing was sent"
    )


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "much"])
def test_a_cost_is_a_number_above_zero(text: str) -> None:
    """The error names the flag."""
    with pytest.raises(SettingsError, match=r"--max-cost .* is not a number above 0"):
        Settings.load({"max_cost": text}, {})


def test_a_bridge_that_bounds_prompts_calls_models_in_tasks_only(catalog: Catalog) -> None:
    """What prompts, or changes the model or the limits of a prompt, is disabled, also for the gateway."""
    ids = {operation.id: name for name, operation in catalog.items()}
    selection = select_tools(catalog, bounded="--models")
    unbounded = {ids[operation_id] for operation_id in catalog.generation.annotations.unbounded}

    assert {"run_task", "session_create", "session_messages"} <= selection.listed
    assert not unbounded & (selection.listed | selection.reachable)
    assert {selection.disabled[name] for name in unbounded} == {"--models"}
    assert {"session_prompt", "session_summarize", "experimental_project_copy_generate_name"} <= unbounded
    assert unbounded <= select_tools(catalog).listed


def test_a_bridge_that_bounds_prompts_calls_models_of_opencode_2_in_tasks_only() -> None:
    """There a prompt is one of several operations that wake a session, and the model belongs to the session."""
    selection = select_tools(Catalog.from_snapshot(2), bounded="--max-cost")
    forbidden = {
        *("session_prompt", "session_command", "session_synthetic", "session_switch_model", "session_generate"),
        *("experimental_generate_text", "experimental_voice_session", "session_update", "rpc_call"),
    }

    assert forbidden <= selection.disabled.keys()
    assert not forbidden & (selection.listed | selection.reachable)
    assert {"run_task", "session_create", "session_message_list"} <= selection.listed
